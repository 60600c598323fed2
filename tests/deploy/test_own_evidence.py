"""Each engine is judged by its own report, parity and comparison with the champion."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from fpenet.data.crops.store import open_crops
from fpenet.data.sample import numbers_of
from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.judge.judge_release import judge_release
from fpenet.deploy.onnx.onnx_file import INPUT, KEYPOINTS
from fpenet.kpi.gate import GATE, GateDecision
from fpenet.params import Params
from fpenet.provenance.signing import SigningKey

LOST_PX = 25.0
OTHER = {"fp32": "int8", "int8": "fp32"}
LOOSE = {"onnx": 1000.0, "fp16": 1000.0, "int8": 1000.0}


def move_points(path: Path) -> None:
    """Add LOST_PX to x and y of every point that the network in ``path`` gives."""
    model = onnx.load(path)
    last = next(node for node in model.graph.node if KEYPOINTS in node.output)
    last.output[:] = ["exact"]
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(LOST_PX, np.float32), "lost_px")
    )
    model.graph.node.append(onnx.helper.make_node("Add", ["exact", "lost_px"], [KEYPOINTS]))
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module", params=["int8", "fp32"])
def lost(request: pytest.FixtureRequest) -> str:
    """The precision of the engine whose points are wrong; the other engine is right."""
    return str(request.param)


@pytest.fixture(scope="module")
def build_dir(
    lost: str,
    stages: SimpleNamespace,
    params: Params,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What stage build makes of both CPU networks, with budgets that neither can miss."""
    root = tmp_path_factory.mktemp(f"lost-{lost}")
    for name in ("export", "calibrate"):
        shutil.copytree(getattr(stages, name), root / name)
    move_points(
        root
        / ("calibrate/opset17/int8_cpu.onnx" if lost == "int8" else "export/opset17/fp32_cpu.onnx")
    )
    golden = params.build.golden
    loose = golden.px.model_copy(update={"fp32": 1000.0, "int8": 1000.0})
    parity = params.build.parity_px.model_copy(update=LOOSE)
    changes = {
        "targets": ("cpu",),
        "golden": golden.model_copy(update={"px": loose}),
        "parity_px": parity,
    }
    (root / "build").mkdir()
    summary = build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=root / "export",
        calibrate_dir=root / "calibrate",
        build=params.build.model_copy(update=changes),
        evaluate=params.evaluate,
        out_dir=root / "build",
    )
    assert summary["status"] == {"ready": 2}
    return root / "build"


@pytest.fixture
def gate(
    build_dir: Path,
    stages: SimpleNamespace,
    params: Params,
    signing_key: SigningKey,
    tmp_path: Path,
) -> Any:
    """Run the stage on the build, ``parity`` pixels allowed; what ``gate.json`` says."""

    def run(**changes: Any) -> GateDecision:
        judge_release(
            crop_dir=stages.crop,
            evaluate_dir=stages.evaluate,
            build_dir=changes.pop("build_dir", build_dir),
            gate=params.gate.model_copy(update=changes),
            evaluate=params.evaluate,
            trusted=[signing_key.public],
            out_dir=tmp_path,
        )
        return GateDecision.read(tmp_path / GATE)

    return run


def nme_of(engine: Path, crop_dir: Path) -> float:
    """The NME by the face box of an ONNX file, asked here: plain, on the four judged faces."""
    store = open_crops(crop_dir)
    rows = store.rows("kpi")
    session = onnxruntime.InferenceSession(engine, providers=["CPUExecutionProvider"])
    (points,) = session.run([KEYPOINTS], {INPUT: store.images(rows).astype(np.float32)})
    distance = np.hypot(*np.moveaxis(points - store.points_crop(rows), 2, 0))  # (4, 68)
    width, height = (numbers_of(store.table, f"box_{side}")[rows] for side in ("width", "height"))
    box = np.sqrt(width * height) * 80 / store.side(rows)
    return float((distance.mean(axis=1) / box).mean())


def failed_checks(verdict: GateDecision) -> list[tuple[str | None, str]]:
    """Engine and name of each check that did not pass."""
    return [(one.engine_id, one.name) for one in verdict.checks if not one.passed]


def test_an_engine_fails_by_its_own_report_and_the_other_one_passes(
    gate: Any, lost: str, build_dir: Path, stages: SimpleNamespace
) -> None:
    errors = {name: nme_of(build_dir / f"cpu/{name}.onnx", stages.crop) for name in OTHER}
    good = OTHER[lost]
    assert errors[lost] > 1.02 * errors[good]
    limit = (errors["fp32"] + errors["int8"]) / 2
    verdict = gate(thresholds={"rendered": {"nme_box/all": limit}})
    assert verdict.engines == {f"cpu/{good}": True, f"cpu/{lost}": False}
    assert failed_checks(verdict) == [(f"cpu/{lost}", "nme_box/all")]
    for precision, error in errors.items():
        (check,) = (
            one
            for one in verdict.checks
            if (one.engine_id, one.name) == (f"cpu/{precision}", "nme_box/all")
        )
        assert check.value == pytest.approx(error, rel=1e-4)
        assert check.evidence == f"build/cpu/{precision}.kpi.json"


def test_an_engine_fails_by_its_own_parity_and_the_other_one_passes(
    gate: Any, lost: str, build_dir: Path, tmp_path: Path
) -> None:
    tight = tmp_path / "build"
    shutil.copytree(build_dir, tight)
    parity = json.loads((tight / "parity.json").read_text())
    for check in parity["checks"]:
        check["budget_px"] = 5.0  # INT8 is 0.1 px off by itself
    (tight / "parity.json").write_text(json.dumps(parity))
    verdict = gate(build_dir=tight)
    assert verdict.engines == {f"cpu/{OTHER[lost]}": True, f"cpu/{lost}": False}
    assert failed_checks(verdict) == [(f"cpu/{lost}", "parity px")]
    values = {one.engine_id: one.value for one in verdict.checks if one.name == "parity px"}
    assert values[f"cpu/{lost}"] == pytest.approx(LOST_PX * 2**0.5, abs=2.0)
    assert values[f"cpu/{OTHER[lost]}"] < 2.0


def test_an_engine_is_compared_with_the_champion_by_its_own_predictions(
    gate: Any, lost: str, stages: SimpleNamespace
) -> None:
    verdict = gate(champion=stages.bundle.as_posix())
    assert verdict.engines == {f"cpu/{OTHER[lost]}": True, f"cpu/{lost}": False}
    assert {engine for engine, _ in failed_checks(verdict)} == {f"cpu/{lost}"}
    assert (f"cpu/{lost}", "crop_px/all relative to the champion") in failed_checks(verdict)
    changes = {
        row.engine_id: row.change
        for row in verdict.comparisons
        if (row.metric, row.slice) == ("crop_px/all", None)
    }
    assert changes[f"cpu/{lost}"] > 0.05
    assert changes[f"cpu/{OTHER[lost]}"] == pytest.approx(0.0, abs=1e-6)
