"""F29: a corrupted calibration face is found by its digest, a degenerate range by its number."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fpenet.deploy.int8.quantise import quantised_tensors, render_qdq
from fpenet.deploy.int8.quantise_cpu import render_cpu
from fpenet.deploy.onnx.network import read_network
from fpenet.execution import run_stage
from fpenet.params import Params
from fpenet.provenance.manifest import Manifest, seal


def test_a_byte_of_one_face_stops_the_stage_before_it_calibrates(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    inputs = {}
    for name in ("crop", "export"):
        inputs[name] = tmp_path / name
        shutil.copytree(getattr(stages, name), inputs[name])
        seal(inputs[name], Manifest(name, "", {}, {}, "", {}, {}, {}))
    with (inputs["crop"] / "crops.npy").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    with pytest.raises(ValueError, match=r"crops\.npy: SHA-256 is"):
        run_stage("calibrate", tmp_path / "calibrate", inputs, params)
    assert not (tmp_path / "calibrate").exists()


@pytest.mark.parametrize("amax", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("rendered", [render_qdq, render_cpu], ids=["tensorrt", "cpu"])
def test_a_range_that_is_none_is_refused_with_its_tensor(
    stages: SimpleNamespace, amax: float, rendered: object
) -> None:
    assert callable(rendered)
    network = read_network(stages.export / "opset17" / "fp32.onnx")
    ranges = json.loads((stages.calibrate / "ranges.json").read_text())["amax"]
    chosen = quantised_tensors(network)
    broken = chosen[len(chosen) // 2]
    with pytest.raises(ValueError, match=broken.replace("/", "/")):
        rendered(network, ranges | {broken: amax})
    assert np.isfinite(list(ranges.values())).all()
