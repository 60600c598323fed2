"""The exported network as a graph: its body (convolutions) and its tail (soft-argmax).

Input: an FP32 ModelProto. Output: the names of its activations, and the same network in half
precision. The last convolution computes the heat maps; the nodes after it are the tail, which stays
FP32.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fpenet.core.errors import InputError
from fpenet.deploy.onnx.onnx_file import INPUT, read_onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")


def read_network(path: Path) -> ModelProto:
    """The network in an ONNX file, checked.

    Raises:
        InputError: the file is not valid ONNX; the message names it.
    """
    data = read_onnx(path)
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf, checker and shape inference have different errors
        raise InputError(f"{path}: not a valid ONNX model: {_one_line(error)}") from None
    return model


def opset_of(model: ModelProto) -> int:
    """Version of the default operator set."""
    return next(
        int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")
    )


def heatmap_convolution(model: ModelProto) -> NodeProto:
    """The node that computes the heat maps: the last convolution.

    Raises:
        InputError: the network has no convolution.
    """
    nodes: list[NodeProto] = [node for node in model.graph.node if node.op_type in CONVOLUTIONS]
    if not nodes:
        raise InputError("the network has no convolution")
    return nodes[-1]


def tail_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes that follow the heat maps, in order."""
    heatmaps = heatmap_convolution(model)
    after = set(heatmaps.output)
    tail = []
    for node in model.graph.node:
        if after.intersection(node.input):
            after.update(node.output)
            tail.append(node)
    return tail


def body_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes up to the heat maps, in order."""
    tail = {output for node in tail_nodes(model) for output in node.output}
    return [node for node in model.graph.node if not tail.intersection(node.output)]


def float_activations(model: ModelProto) -> list[str]:
    """The input and every float tensor that the network computes, in order."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = inferred.graph
    floats = {
        value.name
        for value in [*graph.value_info, *graph.output]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return [INPUT, *(name for node in graph.node for name in node.output if name in floats)]


def shapes_of(model: ModelProto) -> dict[str, list[int]]:
    """Tensor -> its shape, 0 where it varies (the batch)."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def half_precision(model: ModelProto) -> ModelProto:
    """The same network with weights and arithmetic of its body in FP16, its tail in FP32.

    Inputs and outputs stay FP32: there is one Cast after the input and one after the heat maps.

    Raises:
        InputError: a weight has no finite FP16 value.
    """
    half = ModelProto()
    half.CopyFrom(model)
    body, tail = body_nodes(half), tail_nodes(half)
    weights = {tensor.name: tensor for tensor in half.graph.initializer}
    converted: dict[str, TensorProto] = {}
    for node in body:
        for index, name in enumerate(node.input):
            if name == INPUT:
                node.input[index] = f"{INPUT}/half"
            elif (
                name in weights
                and weights[name].data_type == TensorProto.FLOAT
                and node.op_type != "Resize"  # its scales are FP32 by definition
            ):
                if name not in converted:
                    converted[name] = _half_tensor(weights[name], f"{name}/half")
                node.input[index] = f"{name}/half"
    (heatmaps,) = heatmap_convolution(half).output
    for node in tail:
        for index, name in enumerate(node.input):
            if name == heatmaps:
                node.input[index] = f"{heatmaps}/single"
    nodes = [
        helper.make_node("Cast", [INPUT], [f"{INPUT}/half"], to=TensorProto.FLOAT16),
        *body,
        helper.make_node("Cast", [heatmaps], [f"{heatmaps}/single"], to=TensorProto.FLOAT),
        *tail,
    ]
    return rebuilt(half, nodes, [*half.graph.initializer, *converted.values()])


def _half_tensor(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise InputError(f"weight {tensor.name}: {np.abs(values).max():g} has no finite FP16 value")
    return numpy_helper.from_array(rounded, name)


def rebuilt(
    model: ModelProto, nodes: Iterable[NodeProto], weights: Iterable[TensorProto]
) -> ModelProto:
    """``model`` with new nodes and weights, without unused weights; shapes inferred, checked.

    Raises:
        InputError: the result is not a valid model.
    """
    nodes = [_copied(node) for node in nodes]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        model.graph.name,
        model.graph.input,
        model.graph.output,
        [tensor for tensor in weights if tensor.name in used],
    )
    result = ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(graph)
    # The oldest parser (TensorRT 8.2) reads only the oldest file format that the opset allows.
    result.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    try:
        result = onnx.shape_inference.infer_shapes(result, strict_mode=True)
        onnx.checker.check_model(result, full_check=True)
    except Exception as error:
        raise InputError(f"the rendered network is not valid ONNX: {_one_line(error)}") from None
    return result


def with_weights(model: ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """A copy of the network with new values for ``weights``; names that it lacks are ignored."""
    changed = ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return changed


def weights_of(model: ModelProto) -> dict[str, NDArray[np.float32]]:
    """Weight -> its values."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def set_metadata(model: ModelProto, about: dict[str, str]) -> None:
    """Add ``about`` to the metadata of the file; existing keys are replaced."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, metadata | about)


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
