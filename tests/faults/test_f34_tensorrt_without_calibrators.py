"""F34: TensorRT 11 and RTX have no calibrators: the plan is explicit Q/DQ, whatever caches are."""

from types import SimpleNamespace

import pytest

from fpenet.deploy.engines.targets import TARGETS, network_for, tensorrt_number
from fpenet.deploy.engines.tensorrt_engine import chosen_source, flags
from fpenet.params import Params, TargetName


@pytest.mark.parametrize("name", ["orin-nx", "thor", "h200"])
def test_each_version_of_a_device_gets_the_path_that_it_has(
    stages: SimpleNamespace, params: Params, name: TargetName
) -> None:
    target = TARGETS[name]
    network = network_for(target, "int8", stages.export, stages.calibrate)
    folder = stages.calibrate / f"opset{target.opset}"
    assert any(version >= (11, 0, 0) for version in target.versions)
    for version in target.versions:
        source, cache = chosen_source(network, version)
        may = flags(target, "int8", params.build, version, cache is not None)
        if version >= (11, 0, 0):
            assert (source, cache) == (folder / "int8.onnx", None)
            assert not {"int8", "fp16", "calibrator"} & may.keys()
        else:
            assert source == folder / "fp32.onnx"
            assert cache is not None
            assert cache.read_text().startswith(f"TRT-{tensorrt_number(version)}-")
            assert may["int8"]
            assert may["fp16"]


def test_rtx_gets_no_cache(stages: SimpleNamespace) -> None:
    network = network_for(TARGETS["l4"], "int8", stages.export, stages.calibrate)
    assert network.caches == ()
    assert network.onnx == stages.calibrate / "opset17" / "int8.onnx"


def test_a_version_without_a_cache_of_its_own_takes_qdq(stages: SimpleNamespace) -> None:
    network = network_for(TARGETS["orin-nx"], "int8", stages.export, stages.calibrate)
    assert chosen_source(network, (10, 4, 0)) == (network.onnx, None)
