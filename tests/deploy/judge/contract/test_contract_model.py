"""A model with a contract: its points, in whatever frame, are the same points of our crop."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.judge.judge_models import compare_models, write_evaluation
from fpenet.kpi.predictions import load_predictions
from fpenet.params import EvaluateParams, load_params
from tests.conftest import PARAMS
from tests.deploy.judge.foreign_models import write_brightest, write_constant
from tests.deploy.judge.image_faces import write_blobs

OURS = np.array([[10.0, 20.0], [60.5, 30.25], [39.5, 70.0]])
"""Pixels of the 80x80 crop."""
AT_112 = (OURS - 39.5) * 1.4 + 55.5  # the same places of a 112x112 crop


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return open_crops(write_blobs(tmp_path_factory.mktemp("blobs")))


@pytest.fixture
def quick() -> EvaluateParams:
    overrides = {
        "evaluate.interval.resamples": 1000,
        "evaluate.robustness.faces": 2,
        "evaluate.temporal.faces": 2,
    }
    return load_params(PARAMS, overrides=overrides).evaluate


def contract_of(path: Path, **changes: Any) -> Path:
    """A contract of a 112x112 RGB model with flat pixels; ``input_order`` changes input.order."""
    tree: dict[str, Any] = {
        "input": {
            "size": [112, 112],
            "channels": 3,
            "order": "rgb",
            "layout": "nchw",
            "mean": 0,
            "scale": 1,
        },
        "crop_scale": 1.2,
        "output": {"points": "marks", "form": "flat", "units": "pixels"},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            tree[section][name] = value
        else:
            tree[key] = value
    path.write_text(yaml.safe_dump(tree))
    return path


def judged(
    store: CropStore, params: EvaluateParams, model: Path, contract: Path
) -> tuple[Any, np.ndarray]:
    out = model.parent / "judged"
    kpi = write_evaluation(model, store, params, out, contract=contract)
    return kpi, load_predictions(out / "predictions.npz").points


@pytest.mark.parametrize(
    ("output", "changes"),
    [
        (AT_112.ravel(), {}),
        (AT_112, {"output__form": "points"}),
        (np.c_[AT_112, [7, 8, 9]], {"output__form": "points"}),  # a third column: depth
        ((AT_112 / 112).ravel(), {"output__units": "unit"}),
        ((AT_112 / 56 - 1).ravel(), {"output__units": "centred"}),
        ((AT_112 + 0.5).ravel(), {"output__origin": "corner"}),
        (((AT_112 + 0.5) / 112).ravel(), {"output__units": "unit", "output__origin": "corner"}),
    ],
    ids=["flat", "(K, 2)", "(K, 3)", "unit", "centred", "corner", "corner unit"],
)
def test_the_same_points_in_any_form_and_unit_are_the_same_points_of_our_crop(
    store: CropStore,
    quick: EvaluateParams,
    tmp_path: Path,
    output: np.ndarray,
    changes: dict[str, Any],
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", output)
    kpi, points = judged(store, quick, model, contract_of(tmp_path / "c.yaml", **changes))
    assert points == pytest.approx(np.tile(OURS, (6, 1, 1)), abs=1e-4)
    expected = np.linalg.norm(OURS - store.points_crop(np.arange(6)), axis=2).mean()
    assert kpi.metrics["crop_px/all"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        (("n", 112, 112, 3), {"input__layout": "nhwc"}),
        ((1, 3, 112, 112), {}),
        ((4, 3, 112, 112), {"input__order": "bgr"}),
        (("n", 1, 112, 112), {"input__channels": 1, "input__order": None}),
    ],
    ids=["nhwc", "batches of 1", "batches of 4", "grey"],
)
def test_layout_batch_and_colour_do_not_move_the_points(
    store: CropStore,
    quick: EvaluateParams,
    tmp_path: Path,
    shape: tuple[Any, ...],
    changes: dict[str, Any],
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", AT_112.ravel(), shape)
    _, points = judged(store, quick, model, contract_of(tmp_path / "c.yaml", **changes))
    assert points == pytest.approx(np.tile(OURS, (6, 1, 1)), abs=1e-4)


def test_a_larger_crop_and_one_that_is_not_square_are_mapped_into_our_frame(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    """1.8 times the box where ours is 1.2: half as far again from the centre. 96x128 px is the
    middle of 128x128: x is 16 px less."""
    in_128 = (OURS - 39.5) * 1.6 + 63.5
    model = write_constant(tmp_path / "theirs.onnx", (in_128 - [16, 0]).ravel(), ("n", 3, 128, 96))
    changes = {"input__size": [96, 128], "crop_scale": 1.8}
    _, points = judged(store, quick, model, contract_of(tmp_path / "c.yaml", **changes))
    expected = (OURS - 39.5) * 1.5 + 39.5
    assert points == pytest.approx(np.tile(expected, (6, 1, 1)), abs=1e-4)


def blob_contract(path: Path, **changes: Any) -> Path:
    heat = {"output__points": "maps", "output__form": "heatmaps", "output__units": None}
    return contract_of(path, **{"keypoints": [1, None, None], **heat, **changes})


@pytest.mark.parametrize("scale", [1.2, 1.5])
@pytest.mark.parametrize(("order", "blob"), [("rgb", 0), ("bgr", 1)])
def test_a_heat_map_of_the_first_channel_follows_the_blob_of_its_colour(
    store: CropStore,
    quick: EvaluateParams,
    tmp_path: Path,
    order: str,
    blob: int,
    scale: float,
) -> None:
    """The faces are at six places: red is the first channel of rgb, blue that of bgr."""
    model = write_brightest(tmp_path / "theirs.onnx")
    contract = blob_contract(
        tmp_path / "c.yaml",
        keypoints=[1 if k == blob else None for k in range(3)],
        input__order=order,
        crop_scale=scale,
    )
    kpi, points = judged(store, quick, model, contract)
    labels = store.points_crop(np.arange(6))
    assert np.ptp(labels[:, blob], axis=0).min() > 2  # the faces differ
    assert points[:, blob] == pytest.approx(labels[:, blob], abs=0.25)
    assert kpi.metrics["crop_px/all"] < 0.25
    assert kpi.metrics["tight/image_px/all"] < 0.5
    assert kpi.unlabelled == tuple(k for k in range(3) if k != blob)


def test_a_model_without_confidence_is_judged_without_its_metrics(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", AT_112.ravel())
    kpi, _ = judged(store, quick, model, contract_of(tmp_path / "c.yaml"))
    written = json.loads((tmp_path / "judged/kpi.json").read_text())["confidence"]
    assert {key: value for key, value in written.items() if value is not None} == {
        "reliability": []
    }
    assert (kpi.robustness, kpi.temporal) == (None, None)
    assert "robustness and temporal jitter are not measured" in (
        (tmp_path / "judged/card.md").read_text()
    )


def test_a_confidence_output_is_judged(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    labels = store.points_crop(np.arange(6))
    output = ((labels.mean(axis=0) - 39.5) * 1.4 + 55.5) + [[0, 0], [0, 0], [40, 40]]
    model = write_constant(tmp_path / "theirs.onnx", output, confidence=np.array([0.9, 0.8, 0.1]))
    contract = contract_of(tmp_path / "c.yaml", output__form="points", output__confidence="score")
    kpi, _ = judged(store, quick, model, contract)
    assert kpi.confidence.auroc_large_error == 1.0  # only the third point is far away


def test_the_grey_80_px_crop_of_our_scale_needs_no_images(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", OURS.ravel(), ("n", 1, 80, 80))
    contract = contract_of(
        tmp_path / "c.yaml", input__size=[80, 80], input__channels=1, input__order=None
    )
    moved = dataclasses.replace(store, root=tmp_path / "nowhere")
    kpi, points = judged(moved, quick, model, contract)
    assert points == pytest.approx(np.tile(OURS, (6, 1, 1)), abs=1e-4)
    assert kpi.robustness is not None
    assert kpi.robustness.clean.auroc_large_error is None


def test_numbered_otherwise_by_a_mapping_and_by_a_list(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    theirs = AT_112[[2, 0, 1]]  # their 1 is our 3, their 2 our 1, their 3 our 2
    model = write_constant(tmp_path / "theirs.onnx", theirs.ravel())
    _, points = judged(
        store, quick, model, contract_of(tmp_path / "list.yaml", keypoints=[2, 3, 1])
    )
    assert points[0] == pytest.approx(OURS, abs=1e-4)
    kpi, points = judged(
        store, quick, model, contract_of(tmp_path / "map.yaml", keypoints={1: 2, 3: 1})
    )
    assert points[0, [0, 2]] == pytest.approx(OURS[[0, 2]], abs=1e-4)
    assert np.isnan(points[0, 1]).all()
    assert kpi.unlabelled == (1,)
    errors = np.linalg.norm(OURS - store.points_crop(np.arange(6)), axis=2)
    assert kpi.metrics["crop_px/all"] == pytest.approx(errors[:, [0, 2]].mean(), abs=1e-4)
    assert "it does not have the points 2" in "".join(kpi.assumed)


def test_two_models_with_contracts_are_compared_on_the_points_that_both_have(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    good = write_brightest(tmp_path / "good.onnx")
    bad = write_constant(tmp_path / "bad.onnx", AT_112.ravel())
    comparison = load_params(PARAMS).gate.comparison.model_copy(
        update={"metrics": ("crop_px/all",), "slices": {}}
    )
    few = {"slices": quick.slices.model_copy(update={"min_faces": 2, "min_subjects": 2})}
    params = quick.model_copy(update=few)
    contracts = (contract_of(tmp_path / "bad.yaml"), blob_contract(tmp_path / "good.yaml"))
    (row,) = [
        row
        for row in compare_models(bad, good, store, params, comparison, contracts=contracts)
        if row.slice is None
    ]
    errors = np.linalg.norm(OURS[0] - store.points_crop(np.arange(6))[:, 0], axis=1)
    assert row.first == pytest.approx(errors.mean(), abs=1e-4)
    assert row.second is not None
    assert row.second < 0.25
    assert row.verdict() == "better"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input__size": [96, 96]}, r"theirs\.onnx: ONNX Runtime cannot run it on float32 \(1, 3"),
        ({"input__name": "x"}, "input.name is x; its inputs are face"),
        ({"output__points": "dots"}, r"output.points is dots; its outputs are \['marks'\]"),
        ({"output__confidence": "p"}, r"output.confidence is p; its outputs are \['marks'\]"),
        ({"output__form": "points"}, r"is \(N, 6\); with form points it must be \(N, K, 2\)"),
        (
            {"output__form": "heatmaps", "output__units": None},
            r"is \(N, 6\); with form heatmaps it must be \(N, K, h, w\)",
        ),
        ({"keypoints": [1, 2, 4]}, "names point 4 of the model, which has 3 keypoints"),
        ({"keypoints": {5: 1}}, "maps point 5; the labels have 3 keypoints"),
        ({"keypoints": "99->68"}, r"keypoints is '99->68'; the maps with a name are \['106->68'"),
        ({"keypoints": [1, 2]}, "it has 2 keypoints, the faces 3; .*; see keypoints of c.yaml"),
        ({"output__units": "unit"}, "output.units of c.yaml is probably wrong"),
    ],
)
def test_a_contract_that_does_not_fit_the_file_names_its_key(
    store: CropStore,
    quick: EvaluateParams,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", AT_112.ravel())
    with pytest.raises(ValueError, match=message):
        judged(store, quick, model, contract_of(tmp_path / "c.yaml", **changes))


def test_normalised_points_that_a_contract_calls_pixels_are_refused(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", (AT_112 / 112).ravel())
    with pytest.raises(ValueError, match=r"all of its points are within .* is probably wrong"):
        judged(store, quick, model, contract_of(tmp_path / "c.yaml"))


def test_an_image_that_is_no_longer_there_is_named(
    store: CropStore, quick: EvaluateParams, tmp_path: Path
) -> None:
    model = write_constant(tmp_path / "theirs.onnx", AT_112.ravel())
    moved = dataclasses.replace(store, root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"nowhere/0\.png: 0\.png: no such file"):
        judged(moved, quick, model, contract_of(tmp_path / "c.yaml"))
