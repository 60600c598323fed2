"""F35: an INT8 engine that is small and fast but loses points fails alone; the other one ships."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx

from fpenet.deploy.bundle.bundle import bundle_targets
from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.judge.judge_release import judge_release
from fpenet.deploy.onnx.onnx_file import KEYPOINTS
from fpenet.kpi.gate import GATE, GateDecision
from fpenet.params import Params
from fpenet.provenance.signing import SigningKey


def test_the_gate_refuses_int8_and_the_bundle_has_the_other_precision(
    stages: SimpleNamespace, params: Params, signing_key: SigningKey, tmp_path: Path
) -> None:
    calibrate_dir = tmp_path / "calibrate"
    shutil.copytree(stages.calibrate, calibrate_dir)
    path = calibrate_dir / "opset17" / "int8_cpu.onnx"
    model = onnx.load(path)
    last = next(node for node in model.graph.node if KEYPOINTS in node.output)
    last.output[:] = ["exact"]
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(25, np.float32), "lost_px")
    )
    model.graph.node.append(onnx.helper.make_node("Add", ["exact", "lost_px"], [KEYPOINTS]))
    path.write_bytes(model.SerializeToString())
    for name in ("build", "gate", "bundle"):
        (tmp_path / name).mkdir()
    golden = params.build.golden
    loose = golden.px.model_copy(update={"int8": 1000.0})  # only the gate shall see it
    changes = {"targets": ("cpu",), "golden": golden.model_copy(update={"px": loose})}
    build = params.build.model_copy(update=changes)
    summary = build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=stages.export,
        calibrate_dir=calibrate_dir,
        build=build,
        evaluate=params.evaluate,
        out_dir=tmp_path / "build",
    )
    assert summary["status"] == {"ready": 2}
    rows = json.loads((tmp_path / "build" / "engines.json").read_text())["engines"]
    lost = {row["precision"]: row["metrics"]["nme_box/all"] for row in rows}
    assert lost["int8"] > 1.05 * lost["fp32"]
    sizes = {row["precision"]: row["size_bytes"] for row in rows}
    assert sizes["int8"] < sizes["fp32"]
    thresholds = {"rendered": {"nme_box/all": 1.02 * lost["fp32"]}}
    judge_release(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        build_dir=tmp_path / "build",
        gate=params.gate.model_copy(update={"thresholds": thresholds}),
        evaluate=params.evaluate,
        trusted=[signing_key.public],
        out_dir=tmp_path / "gate",
    )
    gate = GateDecision.read(tmp_path / "gate" / GATE)
    assert gate.engines == {"cpu/fp32": True, "cpu/int8": False}
    shipped = bundle_targets(
        export_dir=stages.export,
        calibrate_dir=calibrate_dir,
        build_dir=tmp_path / "build",
        benchmark_dir=stages.benchmark,
        gate_dir=tmp_path / "gate",
        bundle=params.bundle,
        build=build,
        signing_key=signing_key,
        out_dir=tmp_path / "bundle",
    )
    assert shipped["targets"] == {"cpu": {"fp32": "ready"}}
