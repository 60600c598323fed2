"""The whole report: against a slow reading of the original's definition, and as it lies on disk."""

import csv
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fpenet.data.crops.geometry import tight_crop_box
from fpenet.data.crops.store import CropStore
from fpenet.keypoints import scheme_for
from fpenet.kpi.evaluate import evaluate_model, judge
from fpenet.kpi.gate import ChampionResult, ChampionState, JudgedEngine, check_kpi
from fpenet.kpi.gate import decide as judge_gate
from fpenet.kpi.metrics import regions_of
from fpenet.kpi.predictions import Predictions, load_predictions, predict_judged
from fpenet.kpi.report import KpiReport, write_kpi
from fpenet.params import EvaluateParams, load_params
from tests.conftest import PARAMS

COUNT = 12


@dataclasses.dataclass(frozen=True)
class Case:
    """Faces, what was said of them on both crops, and who sees what."""

    store: CropStore
    said: Predictions
    tight: list[tuple[int, float]]
    """Face and the side of its tight crop, image pixels."""


@pytest.fixture
def case(store_of: Callable[..., CropStore]) -> Case:
    chance = np.random.default_rng(3)
    points = chance.uniform(10, 70, (COUNT, 80, 2))
    visible = chance.random((COUNT, 80)) < 0.8
    store = store_of(points, [f"s{n // 2}" for n in range(COUNT)], side=200.0, visible=visible)
    image = (points - 39.5) * (200 / 80) + 200
    faces = [n for n in range(COUNT) if n != 4]  # one lies at the frame's edge
    boxes = [tight_crop_box(image[n]) for n in faces]
    table = pa.table(
        {"row": pa.array(faces, pa.int64())}
        | {k: [getattr(box, k) for box in boxes] for k in ("center_x", "center_y", "side")}
    )
    store = dataclasses.replace(
        store,
        tight_crops=np.zeros((len(faces), 80, 80), np.uint8),
        tight_table=table,
        table=store.table.append_column("center_x", pa.array([200.0] * COUNT)).append_column(
            "center_y", pa.array([200.0] * COUNT)
        ),
    )
    tight = store.tight_faces().points_crop
    said = Predictions(
        (points + chance.normal(0, 2, points.shape)).astype(np.float32),
        chance.random((COUNT, 80)).astype(np.float32),
        (tight + chance.normal(0, 3, tight.shape)).astype(np.float32),
        np.arange(COUNT),
        "0" * 64,
    )
    return Case(store, said, [(n, box.side) for n, box in zip(faces, boxes, strict=True)])


def original(case: Case, region: range, visible_only: bool) -> float:
    """docs/fpenet.md, KPI: pixels of the source image, per-point means, then their plain mean."""
    assert case.said.tight_points is not None
    labels = case.store.tight_faces().points_crop
    means = []
    for k in region:
        errors = []
        for place, (face, side) in enumerate(case.tight):
            if visible_only and not case.store.visibility[face, k]:
                continue
            (x, y), (right_x, right_y) = case.said.tight_points[place, k], labels[place, k]
            dx, dy = (x - right_x) * side / 80, (y - right_y) * side / 80
            errors.append(math.sqrt(dx * dx + dy * dy))
        means.append(sum(errors) / len(errors))
    return sum(means) / len(means)


@pytest.mark.parametrize(
    ("region", "points"),
    [
        ("all", range(80)),
        ("eyes", range(36, 48)),
        ("mouth", range(48, 68)),
        ("chin", range(17)),
        ("pupils", range(68, 76)),
        ("ears", range(76, 80)),
    ],
)
def test_the_card_s_numbers_are_those_of_the_original_s_definition(
    case: Case, evaluate_params: EvaluateParams, region: str, points: range
) -> None:
    metrics = judge(case.store, case.said, evaluate_params).metrics
    assert metrics[f"tight/image_px/{region}"] == pytest.approx(original(case, points, False))
    visible = metrics[f"tight/image_px_visible/{region}"]
    assert visible == pytest.approx(original(case, points, True))


def test_points_and_regions_agree_and_name_their_length(
    case: Case, evaluate_params: EvaluateParams
) -> None:
    kpi = judge(case.store, case.said, evaluate_params)
    mouth = kpi.regions["mouth"]
    assert np.mean([kpi.per_point["crop_px"][k] for k in mouth]) == pytest.approx(
        kpi.metrics["crop_px/mouth"]
    )
    assert list(kpi.visible_samples) == case.store.visibility.sum(axis=0).tolist()
    assert kpi.normaliser == "box"
    assert "points 37 and 46" in kpi.normalisers["interocular"]
    assert {name.split("/")[0] for name in kpi.metrics if "nme" in name} >= {
        f"nme_{name}{suffix}"
        for name in ("interocular", "interpupil", "box", "diagonal")
        for suffix in ("", "_visible")
    }
    assert kpi.metrics.keys() == kpi.intervals.keys()


def test_the_curve_is_the_share_of_faces_at_or_below_each_error(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    points = np.random.default_rng(0).uniform(10, 70, (4, 3, 2))
    store = store_of(points, list("abcd"))  # face boxes of 40 px of the crop
    off = np.array([0.4, 2.0, 4.0, 8.0])[:, None, None] * np.array([[[1.0, 0.0]]])
    kpi, _ = evaluate_model(lambda images: (points + off, np.ones((4, 3))), store, evaluate_params)
    share = dict(zip(kpi.curve.nme, kpi.curve.share["all"], strict=True))
    assert kpi.curve.normaliser == "box"
    assert [share[x] for x in (0.0, 0.02, 0.06, 0.11, 0.15)] == [0.0, 0.25, 0.5, 0.75, 0.75]
    assert kpi.metrics["failure_rate_box_8/all"] == 0.5


def test_regions_of_one_s_own_stand_beside_the_scheme_s(case: Case) -> None:
    overrides = {
        "evaluate.regions": {"lips": ["49-51", 55]},
        "evaluate.robustness.faces": 0,
        "evaluate.temporal.faces": 0,
    }
    own = load_params(PARAMS, overrides=overrides).evaluate
    kpi = judge(case.store, case.said, own)
    assert kpi.regions["lips"] == (48, 49, 50, 54)
    points = kpi.per_point["image_px"]
    assert kpi.metrics["image_px/lips"] == pytest.approx(
        np.mean([points[k] for k in (48, 49, 50, 54)])
    )
    assert "nme_interocular/lips" in kpi.metrics


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ({"mouth": [1]}, r"evaluate\.regions\.mouth: is a region of 68 keypoints already"),
        ({"far": ["67-70"]}, r"evaluate\.regions\.far: \[69, 70\]; must be keypoints from 1 to 68"),
        ({"none": []}, r"evaluate\.regions\.none: empty"),
    ],
)
def test_a_region_that_cannot_be_is_named(regions: dict[str, Any], said: str) -> None:
    own = load_params(PARAMS, overrides={"evaluate.regions": regions}).evaluate
    with pytest.raises(ValueError, match=said):
        regions_of(scheme_for(68), own)


def test_what_is_written_is_what_was_measured(
    case: Case, evaluate_params: EvaluateParams, tmp_path: Path
) -> None:
    kpi = judge(case.store, case.said, evaluate_params, confidence_px=4.0)
    write_kpi(kpi, tmp_path)
    assert KpiReport.read(tmp_path / "kpi.json") == kpi
    with (tmp_path / "kpi_per_point.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["point"] for row in rows] == [str(k + 1) for k in range(80)]
    assert float(rows[7]["crop_px"]) == pytest.approx(kpi.per_point["crop_px"][7], rel=1e-5)
    with (tmp_path / "kpi_per_region.csv").open(newline="") as file:
        regions = {row["region"]: row for row in csv.DictReader(file)}
    seen = case.store.visibility[:, [36, 45]].all(axis=1).sum()
    assert 0 < seen < COUNT
    assert regions["mouth"]["num_faces_nme_interocular"] == str(seen)
    assert regions["mouth"]["num_faces_nme_box"] == str(COUNT)
    case.said.save(tmp_path / "predictions.npz")
    again = judge(case.store, load_predictions(tmp_path / "predictions.npz"), evaluate_params, 4.0)
    assert again == kpi


def test_a_report_of_an_earlier_format_is_refused_with_both_formats(
    case: Case, evaluate_params: EvaluateParams, tmp_path: Path
) -> None:
    tree = judge(case.store, case.said, evaluate_params).tree()
    assert tree["format"] == 2
    old = {key: tree[key] for key in tree.keys() - {"metric_faces", "spreads"}} | {"format": 1}
    (tmp_path / "kpi.json").write_text(json.dumps(old))
    with pytest.raises(
        ValueError, match=r"kpi\.json: format is 1, this version of fpenet reads format 2 of KpiR"
    ):
        KpiReport.read(tmp_path / "kpi.json")


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '{"dataset": "x"}'])
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "kpi.json").write_text(text)
    with pytest.raises(ValueError, match=r"kpi\.json: (not JSON|format is missing)"):
        KpiReport.read(tmp_path / "kpi.json")
    (tmp_path / "predictions.npz").write_text(text)
    with pytest.raises(ValueError, match=r"predictions\.npz: not the predictions of a model"):
        load_predictions(tmp_path / "predictions.npz")


def test_no_face_and_another_number_of_keypoints_are_said(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    store = store_of(np.zeros((2, 5, 2)), ["a", "b"])
    points = np.zeros((2, 4, 2)), np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"predictions are \(4, 2\) per face; the labels have 5"):
        predict_judged(lambda _: points, store, 8)
    part = store.table.column_names.index("part")
    trained = store.table.set_column(part, "part", pa.array(["train"] * 2))
    with pytest.raises(ValueError, match=r"no face in part 'val'; parts with faces: \['train'\]"):
        predict_judged(lambda _: points, dataclasses.replace(store, table=trained), 8)


def test_multi_pie_meets_the_card_s_bar_on_the_original_s_crop(
    case: Case, evaluate_params: EvaluateParams
) -> None:
    gate = load_params(PARAMS).gate
    assert gate.thresholds["multi_pie"] == {
        "tight/image_px/all": 6.1,
        "tight/image_px/eyes": 3.33,
        "tight/image_px/mouth": 2.96,
    }
    kpi = judge(dataclasses.replace(case.store, dataset="multi_pie"), case.said, evaluate_params)
    checks = check_kpi(JudgedEngine("cpu/fp32", kpi, "kpi.json", 0.0, 0.1), kpi.faces, gate)
    assert [check.limit for check in checks] == [6.1, 3.33, 2.96]
    assert [check.value for check in checks] == [
        kpi.metrics[f"tight/image_px/{region}"] for region in ("all", "eyes", "mouth")
    ]
    just = {"tight/image_px/all": 6.09, "tight/image_px/eyes": 3.33, "tight/image_px/mouth": 2.95}
    at: KpiReport = dataclasses.replace(kpi, metrics=just, num_faces=500, num_subjects=23)
    engine = JudgedEngine("cpu/fp32", at, "kpi.json", 0.0, 0.1)
    found = judge_gate(at, [engine], ChampionResult(ChampionState.FIRST_RELEASE, ""), gate)
    assert [row.name for row in found.checks if not row.passed] == ["tight/image_px/eyes"]
