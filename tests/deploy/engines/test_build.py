"""The build stage: each engine judged like any other, and a target that fails stops no other."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fpenet.data.crops.store import open_crops
from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.judge.parity import distances
from fpenet.kpi.evaluate import evaluate_model
from fpenet.kpi.predictions import load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.params import Params
from fpenet.provenance.digest import digest_file


def rows_of(build_dir: Path) -> dict[str, dict[str, Any]]:
    rows = json.loads((build_dir / "engines.json").read_text())["engines"]
    return {f"{row['target']}/{row['precision']}": row for row in rows}


def test_every_target_and_precision_has_a_row(stages: SimpleNamespace) -> None:
    statuses = {name: row["status"] for name, row in rows_of(stages.build).items()}
    rtx = statuses.pop("l4/fp16"), statuses.pop("l4/int8")
    assert rtx in {("built_not_judged",) * 2, ("pending",) * 2}  # pending without the rtx extra
    assert statuses == {
        "cpu/fp32": "ready",
        "cpu/int8": "ready",
        "nano/fp16": "pending",
        "xavier-nx/fp16": "pending",
        "xavier-nx/int8": "pending",
        "orin-agx/fp16": "pending",
        "orin-agx/int8": "pending",
        "h200/fp16": "pending",
        "h200/int8": "pending",
    }
    assert stages.summary["build"]["partial"] is True
    assert stages.summary["build"]["parity_lost"] is None


def test_an_engine_is_the_file_its_row_describes(stages: SimpleNamespace) -> None:
    for row in rows_of(stages.build).values():
        if row["file"] is None:
            assert row["status"] == "pending"
            assert row["reason"]
            continue
        path = stages.build / row["file"]
        assert path.stat().st_size == row["size_bytes"]
        assert digest_file(path) == row["sha256"]
    assert not list(stages.build.rglob("*.partial"))


def test_what_ships_is_what_was_judged(stages: SimpleNamespace, params: Params) -> None:
    store = open_crops(stages.crop)
    with np.load(stages.evaluate / "predictions.npz") as predictions:
        torch_points = predictions["points"]
    for name in ("cpu/fp32", "cpu/int8"):
        row = rows_of(stages.build)[name]
        predict = open_engine(stages.build / row["file"])
        kpi, found = evaluate_model(predict, store, params.evaluate)
        assert row["metrics"] == pytest.approx(dict(kpi.metrics))
        assert KpiReport.read(stages.build / row["kpi"]).metrics == row["metrics"]
        kept = load_predictions(stages.build / row["predictions"])
        assert np.array_equal(kept.points, found.points)
        assert kept.faces == kpi.faces
        moved = distances(kept.points, torch_points)
        assert row["parity_px"] == pytest.approx(float(moved.mean()))


def test_every_rendering_and_engine_has_its_parity_check(stages: SimpleNamespace) -> None:
    checks = json.loads((stages.build / "parity.json").read_text())["checks"]
    renderings, engines = ["onnx", "fp16", "int8", "int8_signed"], ["cpu/fp32", "cpu/int8"]
    assert [check["name"] for check in checks] == [*renderings, *engines]
    means = {check["name"]: check["mean_px"] for check in checks}
    assert 0 < means["onnx"] < 0.001 < means["fp16"] < 0.1 < means["int8"] < 5
    assert means["cpu/int8"] == pytest.approx(means["int8"])  # the engine is the rendering itself
    assert {face["face"] for face in checks[0]["worst_faces"]} == {f"{n}.png" for n in range(6, 10)}


def test_one_failing_target_does_not_stop_the_others(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    export_dir = tmp_path / "export"
    shutil.copytree(stages.export, export_dir)
    shutil.rmtree(export_dir / "opset13")
    out_dir = tmp_path / "build"
    out_dir.mkdir()
    build = params.build.model_copy(update={"targets": ("nano", "cpu")})
    summary = build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=export_dir,
        calibrate_dir=stages.calibrate,
        build=build,
        evaluate=params.evaluate,
        out_dir=out_dir,
    )
    rows = rows_of(out_dir)
    assert rows["nano/fp16"]["status"] == "failed"
    assert rows["nano/fp16"]["reason"] == (
        "InputError: export.opsets has no 13, which Jetson Nano needs; the export has ['opset17']"
    )
    assert rows["cpu/fp32"]["status"] == rows["cpu/int8"]["status"] == "ready"
    assert summary["status"] == {"failed": 1, "ready": 2}
    assert summary["partial"] is True


def test_f35_a_parity_check_over_its_budget_is_named_and_the_build_goes_on(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    parity = params.build.parity_px.model_copy(update={"int8": 1e-6})
    build = params.build.model_copy(update={"targets": ("cpu",), "parity_px": parity})
    summary = build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=stages.export,
        calibrate_dir=stages.calibrate,
        build=build,
        evaluate=params.evaluate,
        out_dir=tmp_path,
    )
    assert summary["parity_lost"] == "int8"
    assert summary["status"] == {"ready": 2}
