"""Engines: ONNX Runtime runs them, TensorRT-RTX builds them here, TensorRT waits for its GPU."""

import resource
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fpenet.data.crops.store import open_crops
from fpenet.deploy.engines import onnxruntime_engine, tensorrt_engine, tensorrt_rtx_engine
from fpenet.deploy.engines.cuda_device import clocks, compute_capability, cuda_device
from fpenet.deploy.engines.targets import TARGETS, Built, Network, Pending, Precision
from fpenet.deploy.int8.calibration_cache import write_cache
from fpenet.deploy.onnx.export import onnx_from_net
from fpenet.deploy.onnx.network import half_precision, read_network
from fpenet.model.nets.recombinator import build_net
from fpenet.params import Params, TargetName


def test_a_cpu_engine_takes_any_batch_and_any_number_of_threads(stages: SimpleNamespace) -> None:
    store = open_crops(stages.crop)
    images = store.images(np.arange(10))
    path = stages.build / "cpu" / "fp32.onnx"
    points, confidence = onnxruntime_engine.open_engine(path)(images)
    assert points.shape == (10, 68, 2)
    assert confidence.shape == (10, 68)
    one, _ = onnxruntime_engine.open_engine(path, threads=1)(images[3:4])
    assert np.abs(one[0] - points[3]).max() < 1e-3


def test_a_network_with_other_outputs_is_refused(stages: SimpleNamespace, tmp_path: Path) -> None:
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    del model.graph.output[1]
    (tmp_path / "one.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"one\.onnx: its inputs and outputs are \['input_face"):
        onnxruntime_engine.open_engine(tmp_path / "one.onnx")


def test_f25_a_network_that_onnx_runtime_cannot_read_is_named(
    stages: SimpleNamespace, tmp_path: Path
) -> None:
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    model.opset_import[0].version = 999
    (tmp_path / "new.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"new\.onnx: ONNX Runtime .* refuses it"):
        onnxruntime_engine.open_engine(tmp_path / "new.onnx")


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 20, 1 << 20, 1 << 30], [-1]])
def test_f24_a_weight_that_claims_to_be_huge_is_refused_without_making_room_for_it(
    stages: SimpleNamespace, tmp_path: Path, dims: list[int]
) -> None:
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    (tmp_path / "huge.onnx").write_bytes(model.SerializeToString())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"huge\.onnx: ONNX Runtime .* refuses it"):
        onnxruntime_engine.open_engine(tmp_path / "huge.onnx")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.tensorrt
def test_the_base_net_builds_for_sm_75_in_half_precision(params: Params, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    path = tmp_path / "fp16.onnx"
    single = onnx_from_net(build_net("base", 80).eval(), 17)
    path.write_bytes(half_precision(single).SerializeToString())
    built = tensorrt_rtx_engine.build(Network(path), TARGETS["t4"], "fp16", params.build)
    assert isinstance(built, Built)
    assert len(built.engine_bytes) > 1_000_000
    assert built.runtime_version == "1.7.1.116"


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", ["a100", "a10", "l4", "rtx-blackwell"])
def test_int8_builds_for_what_computes_in_it(
    stages: SimpleNamespace, params: Params, name: TargetName
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    network = Network(stages.calibrate / "opset17" / "int8.onnx")
    built = tensorrt_rtx_engine.build(network, TARGETS[name], "int8", params.build)
    assert isinstance(built, Built)
    assert len(built.engine_bytes) > 200_000


@pytest.mark.tensorrt
def test_f25_what_rtx_cannot_build_is_an_error_with_its_own_words(
    stages: SimpleNamespace, params: Params, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    model.graph.node[3].op_type = "NoSuchOperator"
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"refuses odd\.onnx for L4: .*NoSuchOperator"):
        tensorrt_rtx_engine.build(
            Network(tmp_path / "odd.onnx"), TARGETS["l4"], "fp16", params.build
        )


def test_rtx_without_its_wheel_is_pending(
    stages: SimpleNamespace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_rtx_engine, "find_spec", lambda name: None)
    network = Network(stages.export / "opset17" / "fp16.onnx")
    built = tensorrt_rtx_engine.build(network, TARGETS["l4"], "fp16", params.build)
    assert built == Pending("tensorrt_rtx and polygraphy not installed here (extra rtx)")


def cached(folder: Path, text: str) -> Network:
    path = folder / "cal.cache"
    path.write_text(text)
    return Network(folder / "int8.onnx", folder / "fp32.onnx", ((100300, path),))


def test_a_cache_is_taken_by_its_own_version_and_by_no_other(tmp_path: Path) -> None:
    network = cached(tmp_path, write_cache(100300, {"x": 1.0}))
    chosen = tensorrt_engine.chosen_source
    assert chosen(network, (10, 3, 0)) == (tmp_path / "fp32.onnx", tmp_path / "cal.cache")
    assert chosen(network, (10, 4, 0)) == (tmp_path / "int8.onnx", None)


def test_f34_tensorrt_11_takes_qdq_whatever_caches_there_are(tmp_path: Path) -> None:
    network = cached(tmp_path, write_cache(110000, {"x": 1.0}))
    network = Network(network.onnx, network.unquantised, ((110000, tmp_path / "cal.cache"),))
    assert tensorrt_engine.chosen_source(network, (11, 0, 0)) == (tmp_path / "int8.onnx", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not a calibration cache"), ("TRT-8502-EntropyCalibration2\n", "cache of TensorRT 8502")],
)
def test_f26_a_stale_or_foreign_cache_stops_the_build(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"cal\.cache: .*{message}"):
        tensorrt_engine.chosen_source(cached(tmp_path, text), (10, 3, 0))


def test_this_machine_says_what_gpu_it_has() -> None:
    found = compute_capability()
    if torch.cuda.is_available():
        assert found == torch.cuda.get_device_capability()
    device, speed = cuda_device(), clocks()
    assert (device and device.compute_capability) == found
    assert (speed is None) == (found is None)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_absent_gpu_leaves_the_engine_pending(
    stages: SimpleNamespace, params: Params, precision: Precision
) -> None:
    if compute_capability() is not None:
        pytest.skip("this machine has a CUDA device")
    network = Network(stages.export / "opset17" / "fp16.onnx")
    built = tensorrt_engine.build(network, TARGETS["orin-agx"], precision, params.build)
    assert isinstance(built, Pending)
    assert built.reason.startswith("no CUDA device here; engines for Jetson AGX Orin are built")
