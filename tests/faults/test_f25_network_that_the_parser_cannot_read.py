"""F25: an opset, an IR version or an operator that a parser does not know: named, the rest kept."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from fpenet.deploy.engines.build import build_engines
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.params import Params


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda model: setattr(model, "ir_version", 99), "IR version"),
        (lambda model: setattr(model.opset_import[0], "version", 999), "opset"),
        (lambda model: setattr(model.graph.node[3], "op_type", "NoSuchThing"), "NoSuchThing"),
    ],
    ids=["ir", "opset", "operator"],
)
def test_what_onnx_runtime_does_not_know_is_named_with_the_file(
    stages: SimpleNamespace, tmp_path: Path, change: object, word: str
) -> None:
    model = onnx.load(stages.export / "opset17" / "fp32.onnx")
    assert callable(change)
    change(model)
    path = tmp_path / "newer.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=rf"newer\.onnx: ONNX Runtime .* refuses it: .*{word}"):
        open_engine(path)


@pytest.mark.tensorrt
def test_what_one_builder_does_not_know_takes_no_other_engine_with_it(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    """``Det`` is an operator of ONNX that ONNX Runtime has and TensorRT-RTX has not."""
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    export_dir = tmp_path / "export"
    shutil.copytree(stages.export, export_dir)
    path = export_dir / "opset17" / "fp16.onnx"
    model = onnx.load(path)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "matrix")
    )
    model.graph.node.insert(0, onnx.helper.make_node("Det", ["matrix"], ["determinant"]))
    path.write_bytes(model.SerializeToString())
    (tmp_path / "build").mkdir()
    changes = {"targets": ("l4", "cpu"), "timing_cache": tmp_path / "timings"}
    summary = build_engines(
        crop_dir=stages.crop,
        evaluate_dir=stages.evaluate,
        export_dir=export_dir,
        calibrate_dir=stages.calibrate,
        build=params.build.model_copy(update=changes),
        evaluate=params.evaluate,
        out_dir=tmp_path / "build",
    )
    assert summary["status"] == {"built_not_judged": 1, "failed": 1, "ready": 2}
    rows = json.loads((tmp_path / "build" / "engines.json").read_text())["engines"]
    failed = next(row for row in rows if row["status"] == "failed")
    assert (failed["target"], failed["precision"]) == ("l4", "fp16")
    assert "Det" in failed["reason"]
    assert not (tmp_path / "build" / "l4" / "fp16.engine").exists()
