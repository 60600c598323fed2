"""Ten keypoints of a scheme file, from the rendering through the gate to bundle and report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fpenet.data.crops.store import open_crops
from fpenet.data.sample import numbers_of
from fpenet.deploy.onnx.onnx_file import INPUT, KEYPOINTS
from fpenet.execution import run_stage
from fpenet.kpi.gate import GATE, ChampionState, GateDecision
from fpenet.kpi.predictions import load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.params import Params, load_params
from fpenet.stages import STAGES
from tests.conftest import DEVELOPMENT_KEY, PARAMS

pytestmark = pytest.mark.slow
TEN = PARAMS.parent / "schemes" / "ten.yaml"
REGIONS = {"eyes": [0, 1, 2, 3], "nose": [4, 5, 6], "mouth": [7, 8]}
SETTINGS: dict[str, Any] = {
    "trust.public_keys": [str(DEVELOPMENT_KEY.with_suffix(".pub"))],
    "trust.signing_key": str(DEVELOPMENT_KEY),
    "synth.scheme": str(TEN),
    "synth.subjects": 8,
    "synth.faces_per_subject": 1,
    "synth.views": ["near-frontal"],
    "train.net": "nano",
    "train.device": "cpu",
    "train.batch_size": 4,
    "train.epochs": 2,
    "train.max_minutes": 1000.0,
    "evaluate.interval.resamples": 1000,
    "evaluate.robustness.faces": 4,
    "evaluate.robustness.levels": {"shift": [0.05]},
    "evaluate.temporal.faces": 1,
    "evaluate.temporal.frames": 2,
    "calibrate.faces": 4,
    "calibrate.draws": 0,
    "calibrate.recovery.budget_px": 50.0,
    "build.targets": ["cpu"],
    "build.parity_px.int8": 50.0,
    "build.golden.px.int8": 50.0,
    "benchmark.warmup_runs": 1,
    "benchmark.timed_runs": 2,
    "benchmark.batch_sizes": [1],
    "gate.champion": None,
    "gate.min_faces": 10,
    "gate.min_subjects": 5,
    "gate.thresholds": {"synthetic-ten": {f"crop_px/{name}": 1e3 for name in ("all", *REGIONS)}},
}
"""A small set and a short training: the points are bad, and every stage does its work."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage's folder but register's, and the labels."""
    root = tmp_path_factory.mktemp("ten")
    params = load_params(PARAMS, overrides={**SETTINGS, "data.labels": str(root / "labels")})
    run_stage("synth", root / "labels", {}, params)
    for name, stage in STAGES.items():
        if name not in ("synth", "register"):
            inputs = {each: root / each for each in stage.inputs}
            manifest = run_stage(name, root / name, inputs, params)
            assert not manifest.summary.get("blocking")
    return root


@pytest.fixture
def gate(root: Path, tmp_path: Path) -> Callable[..., GateDecision]:
    """Run stage gate again with other settings; what ``gate.json`` says."""

    def run(settings: dict[str, Any]) -> GateDecision:
        params: Params = load_params(PARAMS, overrides={**SETTINGS, **settings})
        inputs = {each: root / each for each in STAGES["gate"].inputs}
        run_stage("gate", tmp_path / "gate", inputs, params)
        return GateDecision.read(tmp_path / "gate" / GATE)

    return run


def test_the_kpi_is_of_the_ten_and_of_the_regions_of_their_scheme(root: Path) -> None:
    kpi = KpiReport.read(root / "evaluate/kpi.json")
    assert (kpi.dataset, kpi.num_keypoints, kpi.normaliser) == ("synthetic-ten", 10, "box")
    assert {name: list(own) for name, own in kpi.regions.items()} == {
        "all": list(range(10)),
        **REGIONS,
    }
    store = open_crops(root / "crop")
    found = load_predictions(root / "evaluate/predictions.npz")
    labels = store.points_crop(store.rows("kpi"))
    assert found.points.shape == labels.shape == (kpi.num_faces, 10, 2)
    distance = np.hypot(*np.moveaxis(found.points - labels, 2, 0))  # (N, 10)
    for region, own in REGIONS.items():
        expected = np.nanmean(distance[:, own], axis=0).mean()
        assert kpi.metrics[f"crop_px/{region}"] == pytest.approx(expected, rel=1e-5)
    rows = store.rows("kpi")
    scale = 80 / store.side(rows)
    width, height = (numbers_of(store.table, f"box_{of}")[rows] for of in ("width", "height"))
    ratios = np.nanmean(distance, axis=1) / (np.sqrt(width * height) * scale)
    assert kpi.metrics["nme_box/all"] == pytest.approx(np.nanmean(ratios), rel=1e-5)
    corners = labels[:, 0] - labels[:, 3]  # of the eyes: points 1 and 4 of the scheme
    seen = store.visible(rows)[:, [0, 3]].all(axis=1)
    yaw = np.array([float(value or 0.0) for value in store.attribute("yaw", rows)])
    near = seen & np.isfinite(corners).all(axis=1) & (np.abs(yaw) <= 60.0)
    ratios = np.nanmean(distance, axis=1)[near] / np.hypot(corners[near, 0], corners[near, 1])
    assert kpi.metrics["nme_interocular/all"] == pytest.approx(ratios.mean(), rel=1e-5)
    assert kpi.metric_faces["nme_interocular/all"] == near.sum()


def test_the_gate_judges_each_engine_on_the_ten(root: Path) -> None:
    verdict = GateDecision.read(root / "gate" / GATE)
    assert verdict.passed, verdict.reasons
    assert verdict.engines == {"cpu/fp32": True, "cpu/int8": True}
    checked = {one.name for one in verdict.checks if one.engine_id == "cpu/int8"}
    assert checked == {"parity px", *(f"crop_px/{name}" for name in ("all", *REGIONS))}
    for precision in ("fp32", "int8"):
        points = load_predictions(root / f"build/cpu/{precision}.predictions.npz").points
        assert points.shape[1:] == (10, 2)


def test_the_gate_refuses_an_engine_whose_mouth_is_at_the_limit(
    root: Path, gate: Callable[..., GateDecision]
) -> None:
    mouths = {
        name: KpiReport.read(root / f"build/cpu/{name}.kpi.json").metrics["crop_px/mouth"]
        for name in ("fp32", "int8")
    }
    assert None not in mouths.values()
    limit = min(value for value in mouths.values() if value is not None)
    verdict = gate({"gate.thresholds": {"synthetic-ten": {"crop_px/mouth": limit}}})
    assert verdict.engines == {"cpu/fp32": False, "cpu/int8": False}
    assert not verdict.passed
    assert all("crop_px/mouth is " in reason for reason in verdict.reasons)


def test_the_gate_compares_the_ten_with_a_champion_of_ten(
    root: Path, gate: Callable[..., GateDecision]
) -> None:
    comparison: dict[str, Any] = {"gate.comparison.slices": {"other": []}}
    verdict = gate({"gate.champion": str(root / "bundle"), **comparison})
    assert verdict.passed, verdict.reasons
    assert verdict.champion.state is ChampionState.COMPARED
    rows = [row for row in verdict.comparisons if row.slice is None]
    assert {(row.engine_id, row.metric) for row in rows} == {
        (f"cpu/{precision}", f"crop_px/{region}")
        for precision in ("fp32", "int8")
        for region in ("all", "eyes", "mouth")
    }
    assert all(row.change is not None and abs(row.change) < 1e-6 for row in rows)


def test_the_bundle_and_the_report_are_of_the_ten(root: Path) -> None:
    (engine,) = (root / "bundle").rglob("fp32.onnx")
    session = onnxruntime.InferenceSession(engine, providers=["CPUExecutionProvider"])
    (points,) = session.run([KEYPOINTS], {INPUT: np.zeros((3, 1, 80, 80), np.float32)})
    assert points.shape == (3, 10, 2)
    model = json.loads((root / "bundle/cpu/model.json").read_text())
    assert model["num_keypoints"] == 10
    page = (root / "report/report.html").read_text()
    assert "10 keypoints" in page
    for region in REGIONS:
        assert f"<th>{region}</th>" in page
