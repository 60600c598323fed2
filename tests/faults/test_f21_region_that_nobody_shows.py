"""A region without a visible point: the original says 0.0; ours says n/a, and the gate refuses."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fpenet.data.crops.store import CropStore
from fpenet.kpi.evaluate import evaluate_model
from fpenet.kpi.gate import ChampionResult, ChampionState, JudgedEngine, decide
from fpenet.kpi.report import KpiReport, write_kpi
from fpenet.params import ComparisonParams, EvaluateParams, GateParams

MOUTH = range(48, 68)


def hidden_mouths(store_of: Callable[..., CropStore], evaluate_params: EvaluateParams) -> KpiReport:
    """Twelve faces of 68 points, whose mouths are all hidden; each point is 5 px off."""
    points = np.random.default_rng(0).uniform(10, 70, (12, 68, 2))
    visible = np.ones((12, 68), bool)
    visible[:, MOUTH] = False
    store = store_of(points, [f"s{n // 2}" for n in range(12)], visible=visible)
    off = (points + np.array([3.0, 4.0]), np.ones((12, 68)))
    return evaluate_model(
        lambda images: off, store, evaluate_params.model_copy(update={"batch_size": 12})
    )[0]


def test_f21_a_region_without_a_visible_point_is_not_zero(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams, tmp_path: Path
) -> None:
    kpi = hidden_mouths(store_of, evaluate_params)
    assert kpi.metrics["crop_px_visible/mouth"] is None
    assert kpi.intervals["crop_px_visible/mouth"] is None
    assert kpi.metrics["crop_px_visible/all"] is None  # it has points of which nothing is known
    assert round(kpi.metrics["crop_px_visible/eyes"] or 0, 4) == 5.0
    assert round(kpi.metrics["crop_px/mouth"] or 0, 4) == 5.0
    assert [kpi.per_point["crop_px_visible"][k] for k in MOUTH] == [None] * 20
    assert [kpi.visible_samples[k] for k in MOUTH] == [0] * 20
    write_kpi(kpi, tmp_path)
    with (tmp_path / "kpi_per_region.csv").open(newline="") as file:
        mouth = next(row for row in csv.DictReader(file) if row["region"] == "mouth")
    assert (mouth["crop_px_visible"], mouth["crop_px"]) == ("n/a", "5")
    assert (
        json.loads((tmp_path / "kpi.json").read_text())["metrics"]["crop_px_visible/mouth"] is None
    )


def test_f21_the_gate_fails_closed(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    gate = GateParams(
        champion=None,
        min_faces=10,
        min_subjects=2,
        thresholds={"tiny": {"crop_px/all": 9.0, "crop_px_visible/mouth": 9.0}},
        comparison=ComparisonParams(
            margin=0.1, slice_margin=0.1, metrics=("crop_px/all",), slices={}
        ),
    )
    kpi = hidden_mouths(store_of, evaluate_params)
    engine = JudgedEngine("cpu/fp32", kpi, "build/cpu/fp32.kpi.json", 0.0, 0.1)
    found = decide(kpi, [engine], ChampionResult(ChampionState.FIRST_RELEASE, ""), gate)
    assert not found.passed
    assert found.reasons == (
        "cpu/fp32: crop_px_visible/mouth was not measured; must be below 9"
        " (build/cpu/fp32.kpi.json)",
    )
