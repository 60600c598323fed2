"""Any model before the one judge: a bundle, a training, our ONNX file, and other people's."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.deploy.judge.foreign import open_onnx
from fpenet.deploy.judge.judge_models import (
    all_faces_judged,
    compare_models,
    open_model,
    write_evaluation,
)
from fpenet.kpi.predictions import load_predictions, predict_all
from fpenet.kpi.report import KpiReport
from fpenet.params import Params


@pytest.fixture
def store(crop_dir: Path) -> CropStore:
    return open_crops(crop_dir)


@pytest.fixture
def quick(params: Params) -> Any:
    """Section evaluate without what is asked of every model anew."""
    none = {"faces": 0}
    return params.evaluate.model_copy(
        update={
            "robustness": params.evaluate.robustness.model_copy(update=none),
            "temporal": params.evaluate.temporal.model_copy(update=none),
        }
    )


def mean_shape(store: CropStore, num_keypoints: int = 68, scale: float = 1.0) -> np.ndarray:
    """(K, 2) mean of the labels, pixels of the crop."""
    points = store.points_crop(np.arange(len(store.table))).mean(axis=0)
    return np.resize(points, (num_keypoints, 2)) * scale


def write_foreign(
    path: Path,
    points: np.ndarray,
    batch: int | str = "n",
    kind: int = TensorProto.FLOAT,
    side: int = 80,
    outputs: tuple[str, ...] = ("score", "pts"),
    names: tuple[str, str, str] | None = None,
) -> Path:
    """Other people's network: it says ``points`` of every face, moved by the face's mean grey.

    Args:
        names: of the input, the points and the confidence, in the order of our contract.
    """
    count = len(points)
    constants = {
        "shape": np.array([-1, 1, 1], np.int64),
        "points": points.astype(np.float32)[None],
        "share": np.float32(0.001),
        "confident": np.full((1, count), 0.25, np.float32),
        "axes": np.array([2, 3], np.int64),
        "flat": np.array([-1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["face"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["grey"]),
        helper.make_node("Mul", ["grey", "share"], ["moved"]),
        helper.make_node("Add", ["points", "moved"], ["pts"]),
        helper.make_node("Reshape", ["moved", "flat"], ["line"]),
        helper.make_node("Add", ["confident", "line"], ["score"]),
    ]
    shapes = {"score": [batch, count], "pts": [batch, count, 2]}
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("face", kind, [batch, 1, side, side])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    if names:
        renamed = dict(zip(("face", "pts", "score"), names, strict=True))
        for node in graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        by_name = {value.name: value for value in [*graph.input, *graph.output]}
        for name, ours in renamed.items():
            by_name[name].name = ours
        del graph.output[:]
        graph.output.extend([by_name["pts"], by_name["score"]])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_a_bundle_is_judged_as_its_engine_was(
    stages: SimpleNamespace, store: CropStore, params: Params, tmp_path: Path
) -> None:
    kpi = write_evaluation(stages.bundle / "cpu", store, params.evaluate, tmp_path)
    name = open_model(stages.bundle / "cpu", store).name
    before = KpiReport.read(stages.build / f"{name}.kpi.json")
    assert kpi.faces == before.faces
    assert kpi.metrics == pytest.approx(before.metrics, abs=1e-4)
    assert kpi.assumed == ()
    assert kpi.confidence.ece == pytest.approx(before.confidence.ece, abs=1e-6)
    assert kpi.robustness is not None


def test_an_onnx_file_and_the_training_it_came_from_are_worth_the_same(
    stages: SimpleNamespace, store: CropStore, quick: Any, tmp_path: Path
) -> None:
    file = stages.export / "opset17/fp32.onnx"
    ours = write_evaluation(file, store, quick, tmp_path / "onnx")
    trained = write_evaluation(stages.train, store, quick, tmp_path / "torch")
    assert ours.metrics == pytest.approx(trained.metrics, abs=1e-3)
    assert ours.confidence.within_px == trained.confidence.within_px == 4.0
    assert ours.confidence.ece == pytest.approx(trained.confidence.ece, abs=1e-3)
    assert ours.assumed == ("its keypoints are numbered as the labels are",)
    files = {"kpi.json", "kpi_per_point.csv", "kpi_per_region.csv", "kpi.png", "predictions.npz"}
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {*files, "card.md"}


def test_other_peoples_outputs_are_known_by_their_shapes_whatever_they_are_called(
    store: CropStore, quick: Any, tmp_path: Path
) -> None:
    file = write_foreign(tmp_path / "theirs.onnx", mean_shape(store))
    kpi = write_evaluation(file, store, quick, tmp_path / "judged")
    assert kpi.metrics["crop_px/all"] == pytest.approx(_distance(store, tmp_path), abs=1e-4)
    card = (tmp_path / "judged/card.md").read_text()
    assert "its output pts is in pixels of the 80x80 crop" in card
    assert "its crop is 1.2 times the longer side of the face box (crop.box_scale)" in card
    assert card.startswith("# theirs.onnx")
    assert "NME by the square root of the face box's area." in card
    value, faces = (each["nme_interocular/all"] for each in (kpi.metrics, kpi.metric_faces))
    assert re.search(rf"nme_interocular/all: {value:.4g} \[.*\] over {faces} of 4 faces", card)
    assert "n/a: no attribute describes the subjects" in card


def _distance(store: CropStore, tmp_path: Path) -> float:
    """The slow reference: mean over points of the mean distance over judged faces."""
    points = load_predictions(tmp_path / "judged/predictions.npz").points
    rows = store.rows("kpi")
    grey = store.images(rows).mean(axis=(1, 2, 3))
    expected = mean_shape(store)[None] + 0.001 * grey[:, None, None]
    assert points == pytest.approx(expected, abs=1e-3)
    return float(np.linalg.norm(expected - store.points_crop(rows), axis=2).mean(axis=0).mean())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
def test_a_fixed_batch_is_filled_up_and_other_types_are_given(
    store: CropStore, tmp_path: Path, kind: int
) -> None:
    images = store.images(np.arange(10))
    free = open_onnx(write_foreign(tmp_path / "free.onnx", mean_shape(store)), store)
    fixed = open_onnx(write_foreign(tmp_path / "fixed.onnx", mean_shape(store), 4, kind), store)
    assert fixed.max_batch_size == 4
    assert "it takes batches of 4 only; the last batch is padded" in fixed.assumed
    one, other = (predict_all(each.predict, images, 4) for each in (free, fixed))
    assert one[0] == pytest.approx(other[0], abs=0.02)
    assert one[1].shape == other[1].shape == (10, 68)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"side": 96}, r"there must be one input \(N, 1, 80, 80\)"),
        ({"kind": TensorProto.INT32}, r"tensor\(int32\)"),
        ({"outputs": ("score",)}, r"it has 34 keypoints, the faces 68"),
    ],
)
def test_a_file_that_does_not_keep_the_contract_is_named(
    store: CropStore, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    path = write_foreign(tmp_path / "theirs.onnx", mean_shape(store), **wrong)
    with pytest.raises(ValueError, match=rf"theirs\.onnx.*{said}"):
        open_onnx(path, store)


def test_normalised_points_are_refused_and_not_judged_as_pixels(
    store: CropStore, quick: Any, tmp_path: Path
) -> None:
    path = write_foreign(tmp_path / "theirs.onnx", mean_shape(store, scale=1 / 80))
    with pytest.raises(ValueError, match="seem to be normalised"):
        write_evaluation(path, store, quick, tmp_path / "judged")
    assert not (tmp_path / "judged").exists()


def test_a_model_of_80_keypoints_is_judged_on_the_68_of_the_labels(
    store: CropStore, quick: Any, tmp_path: Path
) -> None:
    path = write_foreign(tmp_path / "theirs.onnx", mean_shape(store, 80))
    kpi = write_evaluation(path, store, quick, tmp_path / "judged")
    assert kpi.num_keypoints == 68
    assert "the 80 keypoints of the model and the 68 of the labels share their first 68" in "".join(
        kpi.assumed
    )
    other = write_foreign(tmp_path / "ten.onnx", mean_shape(store, 10))
    with pytest.raises(ValueError, match="it has 10 keypoints, the faces 68"):
        write_evaluation(other, store, quick, tmp_path / "judged")


def test_a_model_made_for_a_larger_box_is_shown_it_and_answers_in_the_same_pixels(
    stages: SimpleNamespace, store: CropStore, params: Params, tmp_path: Path
) -> None:
    """A net that says where the crop's centre lies is right in either box."""
    middle = np.full((68, 2), 39.5)
    path = write_foreign(tmp_path / "theirs.onnx", middle)
    model = onnx.load(path)
    model.metadata_props.add(key="box_scale", value="1.5")
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.array(0, np.float32), "share"))
    onnx.save(model, path)
    own = write_foreign(tmp_path / "own.onnx", middle)
    model.metadata_props[0].value = "1.2"
    onnx.save(model, own)
    rows = compare_models(own, path, store, params.evaluate, params.gate.comparison)
    assert rows[0].metric == "crop_px/all"
    assert rows[0].first == pytest.approx(rows[0].second, abs=1e-4)


def test_two_models_are_compared_from_a_bundle_a_file_and_kept_predictions(
    stages: SimpleNamespace, store: CropStore, params: Params, tmp_path: Path
) -> None:
    settings = (store, params.evaluate, params.gate.comparison)
    theirs = write_foreign(tmp_path / "theirs.onnx", mean_shape(store))
    rows = compare_models(stages.bundle / "cpu", theirs, *settings)
    assert rows[0].verdict() == "better"  # than random weights
    same = compare_models(stages.evaluate, stages.train, *settings)
    assert same[0].change == pytest.approx(0.0, abs=1e-6)
    assert same[0].verdict() == "no difference seen"
    assert same[0].cells()[:3] == ("crop_px/all", "all faces", "4")


def test_kept_predictions_of_other_faces_are_refused(
    stages: SimpleNamespace, store: CropStore, params: Params
) -> None:
    everything = all_faces_judged(store)
    assert len(everything.rows("kpi")) == 10
    with pytest.raises(
        ValueError, match=r"predictions\.npz: predictions of the faces .* Name the model"
    ):
        compare_models(
            stages.evaluate, stages.train, everything, params.evaluate, params.gate.comparison
        )


def test_a_folder_that_is_no_model_is_named(store: CropStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}: no bundle"):
        open_model(tmp_path, store)
