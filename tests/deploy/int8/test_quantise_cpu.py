"""The CPU's INT8 rendering: the same table as unsigned levels, with exact shortcuts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fpenet.data.crops.store import open_crops
from fpenet.deploy.int8.quantise import quantised_tensors
from fpenet.deploy.int8.quantise_cpu import render_cpu
from fpenet.deploy.onnx.network import heatmap_convolution, read_network
from fpenet.deploy.onnx.onnx_file import CONFIDENCE, INPUT, KEYPOINTS

SIDE = 4


def tiny_network(skip: str) -> ModelProto:
    """Stem, pooling, doubling, a join with ``skip``, and the heat-map convolution as keypoints."""
    nodes = [
        helper.make_node("Conv", [INPUT, "stem"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pool", "small"], ["conv2"]),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node(
            "Resize",
            ["relu2", "", "scales"],
            ["up"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Concat", ["up", skip], ["join"], axis=1),
        helper.make_node("Conv", ["join", "after"], ["conv3"]),
        helper.make_node("Relu", ["conv3"], ["relu3"]),
        helper.make_node("Conv", ["relu3", "heat"], ["heatmaps"]),
        helper.make_node("ReduceMax", ["heatmaps"], [CONFIDENCE], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["heatmaps"], [KEYPOINTS], axes=[1], keepdims=0),
    ]
    weights = {
        "stem": np.ones((1, 1, 1, 1), np.float32),
        "small": np.full((1, 1, 1, 1), 0.25, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "after": np.array([[[[1.0]], [[-0.5]]]], np.float32),
        "heat": np.ones((1, 1, 1, 1), np.float32),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(INPUT, TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [
            value(KEYPOINTS, TensorProto.FLOAT, ["N", SIDE, SIDE]),
            value(CONFIDENCE, TensorProto.FLOAT, ["N", 1]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


AMAX = {"conv": 510.0, "relu": 510.0, "relu2": 51.0, "up": 51.0, "join": 510.0, "relu3": 127.5}


def run(model: ModelProto, image: NDArray[np.float32], optimised: bool) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: NDArray[np.float32] = session.run([KEYPOINTS], {INPUT: image})[0]
    return found


@pytest.mark.parametrize("optimised", [False, True])
def test_doubling_and_joining_by_hand(optimised: bool) -> None:
    # The image is not rounded. relu has steps of 2: 100 -> 100, 40 -> 40. Pooled 100; a quarter is
    # 25, whose step is 0.2: 25.0. Doubled back, joined with relu itself: 25 - 100 / 2 < 0, but
    # where relu is 40: 25 - 20 = 5, in steps of a half. The join has no step of its own: in steps
    # of 2 the 25 would have been 24 or 26.
    image = np.full((1, 1, SIDE, SIDE), 40.0, np.float32)
    image[0, 0, :2, :2] = [[100.0, 40.0], [40.0, 40.0]]
    wanted = np.zeros((SIDE, SIDE))
    wanted[0, 1] = wanted[1, 0] = wanted[1, 1] = 5.0
    found = run(render_cpu(tiny_network("relu"), AMAX), image, optimised)[0]
    assert found == pytest.approx(wanted, abs=0.25 + 0.5 * 100 / 127)  # of the weight -0.5, 1.0


def test_what_is_never_negative_uses_all_levels() -> None:
    model = render_cpu(tiny_network("relu"), AMAX)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert constants["relu/scale"] == np.float32(510.0) / np.float32(255.0)
    assert constants["relu2/scale"] == np.float32(51.0) / np.float32(255.0)
    assert constants["relu/zero"] == constants["relu2/zero"] == constants["join/zero"] == 0
    assert "Resize" not in {node.op_type for node in model.graph.node}


def test_tensors_of_other_zeros_are_joined_as_numbers_and_rounded_anew() -> None:
    model = render_cpu(tiny_network("conv"), AMAX)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert constants["conv/scale"] == np.float32(510.0) / np.float32(127.0)
    assert constants["conv/zero"] == constants["join/zero"] == 128
    assert constants["relu2/zero"] == 0
    (join,) = (node for node in model.graph.node if node.output[0] == "join")
    assert list(join.input) == ["up/dq", "conv/dq"]


def test_what_the_stem_gives_is_pooled_before_it_is_rounded() -> None:
    model = render_cpu(tiny_network("relu"), AMAX)
    (pool,) = (node for node in model.graph.node if node.op_type == "MaxPool")
    assert (pool.input[0], pool.output[0]) == ("relu", "pool")


def test_the_weights_make_up_for_the_steps_of_a_join() -> None:
    model = render_cpu(tiny_network("relu"), AMAX)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    # Steps 0.2 and 2: the join has 2, and the first channel's weight is a tenth.
    assert constants["join/scale"] == np.float32(2.0)
    levels = constants["after/q"].reshape(-1) * constants["after/scale"]
    assert levels == pytest.approx([0.1, -0.5], abs=0.5 / 127)


@pytest.mark.parametrize("opset", [13, 17])
def test_of_a_real_network_the_stem_and_the_heat_maps_stay_in_single(
    stages: SimpleNamespace, opset: int
) -> None:
    model = read_network(stages.calibrate / f"opset{opset}" / "int8_cpu.onnx")
    constants = {t.name: t.data_type for t in model.graph.initializer}
    single = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Conv" and constants.get(node.input[1]) == TensorProto.FLOAT
    ]
    assert single == ["/stem/stem.0/Conv_output_0", heatmap_convolution(model).output[0]]


def test_both_networks_of_the_export_have_the_same_tensors_to_quantise(
    stages: SimpleNamespace,
) -> None:
    one, other = (
        read_network(stages.export / "opset17" / f"{name}.onnx") for name in ("fp32", "fp32_cpu")
    )
    assert quantised_tensors(one) == quantised_tensors(other)
    assert len(quantised_tensors(one)) > 15


def test_onnx_runtime_s_kernels_give_the_points_of_the_plain_operators(
    stages: SimpleNamespace,
) -> None:
    store = open_crops(stages.crop)
    images = store.images(store.rows("kpi")).astype(np.float32)
    model = read_network(Path(stages.calibrate) / "opset17" / "int8_cpu.onnx")
    fast, plain = (run(model, images, optimised) for optimised in (True, False))
    assert np.linalg.norm(fast - plain, axis=2).mean() < 0.05


def test_no_node_is_left_that_nothing_reads(stages: SimpleNamespace) -> None:
    model = read_network(stages.calibrate / "opset17" / "int8_cpu.onnx")
    read = {name for node in model.graph.node for name in node.input}
    read |= {output.name for output in model.graph.output}
    assert [node.name for node in model.graph.node if not read.intersection(node.output)] == []
