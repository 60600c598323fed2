"""INT8 renderings: Q/DQ and cache hold one truth, and what they round is what they should."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fpenet.deploy.int8.calibration_cache import read_cache, write_cache
from fpenet.deploy.int8.quantise import (
    final_ranges,
    quantise_weight,
    quantised_tensors,
    render_cache,
    render_qdq,
    scale_of,
)
from fpenet.deploy.onnx.network import heatmap_convolution, read_network, tail_nodes
from fpenet.deploy.onnx.onnx_file import CONFIDENCE, INPUT, KEYPOINTS

TWO_CHANNELS = np.array([[[[1.0]]], [[[-0.5]]]], np.float32)
"""Weight of a 1x1 convolution that gives x and -x/2."""


def tiny_network() -> ModelProto:
    """Convolution, ReLU, pooling, join, the heat-map convolution, then sums as keypoints."""
    nodes = [
        helper.make_node("Conv", [INPUT, "w"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pool", "w2"], ["conv2"]),
        helper.make_node("Concat", ["conv2", "pool"], ["join"], axis=1),
        helper.make_node("Conv", ["join", "heat"], ["heatmaps"]),
        helper.make_node("ReduceMax", ["heatmaps"], [CONFIDENCE], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["heatmaps"], [KEYPOINTS], axes=[3], keepdims=0),
    ]
    weights = {
        "w": TWO_CHANNELS,
        "w2": np.array([[[[1.0]], [[0.0]]], [[[0.0]], [[-2.0]]]], np.float32),
        "heat": np.full((1, 4, 1, 1), 0.3, np.float32),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(INPUT, TensorProto.FLOAT, ["N", 1, 2, 2])],
        [
            value(KEYPOINTS, TensorProto.FLOAT, ["N", 1, 1]),
            value(CONFIDENCE, TensorProto.FLOAT, ["N", 1]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


AMAX = {"conv": 200.0, "relu": 254.0, "pool": 9.0, "conv2": 127.0, "join": 254.0}


def run(model: ModelProto, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[NDArray[np.float32]] = session.run([KEYPOINTS, CONFIDENCE], {INPUT: image})
    return found


def scales_of(model: ModelProto) -> dict[str, np.float32]:
    """Activation -> its scale in a Q/DQ network."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {
        node.input[0]: np.float32(constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def test_what_convolutions_read_is_quantised_and_what_follows_the_heat_maps_is_not() -> None:
    assert quantised_tensors(tiny_network()) == [INPUT, "relu", "pool", "conv2", "join"]


def test_a_pooling_node_shares_the_range_of_what_it_selects() -> None:
    ranges = final_ranges(tiny_network(), AMAX)
    assert (ranges["pool"], ranges["relu"], ranges[INPUT]) == (254.0, 254.0, 255.0)


def test_levels_by_hand() -> None:
    # 100.4 is level 50 of 255/127, that is 100.39; ReLU gives [100.39, 0]; its level of 254/127 = 2
    # is 50, that is 100; conv2 gives [100, 0], whose level of 127/127 = 1 is 100; join has step 2.
    # The heat maps are not rounded: 0.3 * (100 + 0 + 100 + 0) = 60, in FP32.
    image = np.full((1, 1, 2, 2), 100.4, np.float32)
    points, confidence = run(render_qdq(tiny_network(), AMAX), image)
    assert points.item() == pytest.approx(60.0, abs=1e-4)
    assert confidence.item() == pytest.approx(60.0, abs=1e-4)


def test_weights_have_a_step_for_each_output_channel() -> None:
    levels, steps = quantise_weight(TWO_CHANNELS, 0)
    assert levels.reshape(-1).tolist() == [127, -127]
    assert steps.tolist() == [np.float32(1 / 127), np.float32(0.5 / 127)]
    transposed, own = quantise_weight(TWO_CHANNELS.transpose(1, 0, 2, 3), 1)
    assert transposed.reshape(-1).tolist() == [127, -127]
    assert own.tolist() == steps.tolist()


@pytest.mark.parametrize("amax", [0.0, -1.0, float("nan"), float("inf")])
def test_f29_a_degenerate_range_is_an_error_that_names_the_tensor(amax: float) -> None:
    with pytest.raises(ValueError, match="tensor relu: range is"):
        render_qdq(tiny_network(), AMAX | {"relu": amax})
    with pytest.raises(ValueError, match="tensor relu: range is"):
        render_cache(tiny_network(), AMAX | {"relu": amax}, 8502)


def test_a_tensor_without_a_range_is_named() -> None:
    with pytest.raises(ValueError, match="tensor join: range is None"):
        render_qdq(tiny_network(), {k: v for k, v in AMAX.items() if k != "join"})


def test_the_cache_by_hand() -> None:
    assert render_cache(tiny_network(), AMAX, 8502).splitlines() == [
        "TRT-8502-EntropyCalibration2",
        f"{INPUT}: 40008102",  # 255 / 127
        "relu: 40000000",  # 254 / 127
        "pool: 40000000",
        "conv2: 3f800000",
        "join: 40000000",
        "conv: 3fc99326",  # 200 / 127, fused into the ReLU
    ]


@pytest.mark.parametrize(
    "text", ["", "TRT-8502-MinMaxCalibration\n", "GIF89a", "TRT-8502-EntropyCalibration2\nx: zz"]
)
def test_f26_a_foreign_file_is_no_cache(text: str) -> None:
    with pytest.raises(ValueError, match="not a calibration cache"):
        read_cache(text)


def test_a_name_with_a_colon_cannot_stand_in_a_cache() -> None:
    with pytest.raises(ValueError, match="no space and no colon"):
        write_cache(8502, {"a:0": 1.0})


@pytest.mark.parametrize(
    ("cache", "number", "opset"),
    [("trt-8.5.2-opset17", 8502, 17), ("trt-10.3.0-opset17", 100300, 17)],
)
def test_cache_and_qdq_of_a_real_network_agree(
    stages: SimpleNamespace, cache: str, number: int, opset: int
) -> None:
    text = (stages.calibrate / "calibration" / f"{cache}.cache").read_text()
    found, cached = read_cache(text)
    assert found == number
    explicit = scales_of(read_network(stages.calibrate / f"opset{opset}" / "int8.onnx"))
    assert len(explicit) > 15
    assert {name: np.float32(cached[name]) for name in explicit} == explicit
    # The rest of the cache is what a ReLU is fused into; all its names are in that ONNX file.
    network = read_network(stages.export / f"opset{opset}" / "fp32.onnx")
    fused = {n.input[0] for n in network.graph.node if n.op_type == "Relu"}
    assert set(cached) - set(explicit) == fused
    after = {name for node in tail_nodes(network) for name in node.output}
    assert not set(cached) & (after | set(heatmap_convolution(network).output))


@pytest.mark.parametrize("opset", [13, 17])
def test_a_rendered_network_is_int8_but_for_the_heat_maps_and_biases(
    stages: SimpleNamespace, opset: int
) -> None:
    model = read_network(stages.calibrate / f"opset{opset}" / "int8.onnx")
    constants = {t.name: t for t in model.graph.initializer}
    kinds = Counter(
        constants[node.input[0]].data_type
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    )
    convolutions = [n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    assert kinds == {TensorProto.INT8: len(convolutions) - 1}  # no INT32 bias among them
    heatmaps = heatmap_convolution(model)
    assert constants[heatmaps.input[1]].data_type == TensorProto.FLOAT
    zeros = [numpy_helper.to_array(t) for t in constants.values() if t.name.endswith("/zero")]
    assert all(z.dtype == np.int8 and not z.any() for z in zeros)
    single = (stages.export / f"opset{opset}" / "fp32.onnx").stat().st_size
    size = (stages.calibrate / f"opset{opset}" / "int8.onnx").stat().st_size
    assert size < 0.35 * single


def test_the_table_is_one_for_all_targets_and_says_how_it_was_made(
    stages: SimpleNamespace, tmp_path: Path
) -> None:
    import json

    table = json.loads((stages.calibrate / "ranges.json").read_text())
    assert table["method"] == "percentile"
    assert table["faces"] == 5
    assert len(table["faces_sha256"]) == 64
    explicit = scales_of(read_network(stages.calibrate / "opset13" / "int8.onnx"))
    for name in set(explicit) & {n for n in table["amax"] if n.endswith("Relu_output_0")}:
        assert explicit[name] == scale_of(table["amax"][name])
