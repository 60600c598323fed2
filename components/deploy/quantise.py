"""INT8 renderings of one table of ranges: explicit Q/DQ networks and calibration caches.

Input: an FP32 network and tensor -> amax. Output: the network with QuantizeLinear and
DequantizeLinear, or a cache as TensorRT <= 10 reads it. Both hold the same scales for the same
tensors: all that the convolutions of the body read. The last convolution's weights and result and
the soft-argmax stay in floating point, so nothing after it is in either.

Q/DQ goes over FP32, not FP16: QuantizeLinear takes FP16 only from opset 19, and Jetson parsers end
at 13 or 17. There are two renderings. ``signed`` (INT8, zero point 0) is what TensorRT takes.
``unsigned`` (UINT8) is what ONNX Runtime's CPU kernels fuse and run fast: a tensor that is never
negative uses all 256 levels, any other has its zero at 128, which gives the signed levels. Biases
stay FP32: TensorRT rejects an INT32 DequantizeLinear.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from components.deploy.calibration_cache import write_cache
from components.deploy.network import CONVOLUTIONS, body_nodes, heatmap_convolution, rebuilt
from components.deploy.onnx_file import INPUT

Levels = Literal["signed", "unsigned"]

_SELECTING = ("MaxPool", "Resize")  # their output holds values of their input, so its range too
_KEEPING_SIGN = (*_SELECTING, "Concat")
_INPUT_AMAX = 255.0  # the input is a grey level; no face need be white for that


def quantised_tensors(model: ModelProto) -> list[str]:
    """The activations that are stored as INT8, in order: what the convolutions read.

    What a pooling, resizing or joining node reads is among them, so that it runs in INT8 too.
    """
    producer = {output: node for node in body_nodes(model) for output in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    chosen: set[str] = set()
    pending = [node.input[0] for node in body_nodes(model) if node.op_type in CONVOLUTIONS]
    while pending:
        name = pending.pop()
        if name in chosen or name in constants or not name:
            continue
        chosen.add(name)
        node = producer.get(name)
        if node is not None and node.op_type in _KEEPING_SIGN:
            pending += node.input if node.op_type == "Concat" else node.input[:1]
    order = [INPUT, *(name for node in model.graph.node for name in node.output)]
    return [name for name in order if name in chosen]


def final_ranges(model: ModelProto, amax: Mapping[str, float]) -> dict[str, float]:
    """``amax`` as it is rendered: the input's is 255, a selecting node's that of what it selects.

    Raises:
        ValueError: a tensor that is stored as INT8 has no range, or a degenerate one.
    """
    final = dict(amax) | {INPUT: _INPUT_AMAX}
    for node in body_nodes(model):
        if node.op_type in _SELECTING and node.input[0] in final:
            final[node.output[0]] = final[node.input[0]]
    for name in quantised_tensors(model):
        value = final.get(name)
        if value is None or not (np.isfinite(value) and value > 0):
            raise ValueError(
                f"tensor {name}: range is {value}; it must be positive and finite. Either its layer"
                " is dead, or the calibration faces are not faces"
            )
    return final


def scale_of(amax: float) -> np.float32:
    """The step of signed INT8, in FP32 as every rendering holds it."""
    return np.float32(np.float32(amax) / np.float32(127.0))


def quantise_weight(
    weight: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric INT8 levels of a weight, one step a channel along ``axis``.

    >>> levels, steps = quantise_weight(np.array([[1.0, -127.0], [0.0, 0.0]], np.float32), 0)
    >>> levels.tolist(), steps.tolist()
    ([[1, -127], [0, 0]], [1.0, 1.0])
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    steps = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
    levels = np.clip(np.rint(weight / steps), -127, 127).astype(np.int8)
    return levels, steps.reshape(-1)


def render_qdq(model: ModelProto, amax: Mapping[str, float], levels: Levels) -> ModelProto:
    """The network with Q/DQ behind its activations and its convolution weights in INT8.

    Args:
        model: FP32.
        amax: of at least ``quantised_tensors(model)``; activations per tensor, symmetric.

    Raises:
        ValueError: a range is missing or degenerate.
    """
    ranges = final_ranges(model, amax)
    chosen = set(quantised_tensors(model))
    positive = _never_negative(model) if levels == "unsigned" else set()
    heatmaps = heatmap_convolution(model).output[0]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    extra: dict[str, TensorProto] = {}

    def add_constant(name: str, value: NDArray[np.generic]) -> str:
        extra[name] = numpy_helper.from_array(value, name)
        return name

    def add_pair(name: str) -> None:
        scale = add_constant(f"{name}/scale", np.asarray(_step(ranges[name], name in positive)))
        zero = np.int8(0) if levels == "signed" else np.uint8(0 if name in positive else 128)
        own = [scale, add_constant(f"{name}/zero", np.asarray(zero))]
        nodes.append(helper.make_node("QuantizeLinear", [name, *own], [f"{name}/q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}/q", *own], [f"{name}/dq"]))

    def add_weight(name: str, axis: int) -> str:
        if f"{name}/q" not in extra:
            stored, steps = quantise_weight(numpy_helper.to_array(weights[name]), axis)
            own = [
                add_constant(f"{name}/q", stored),
                add_constant(f"{name}/scale", steps),
                add_constant(f"{name}/zero", np.zeros(len(steps), np.int8)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", own, [f"{name}/dq"], axis=axis))
        return f"{name}/dq"

    if INPUT in chosen:
        add_pair(INPUT)
    for original in model.graph.node:
        node = NodeProto()
        node.CopyFrom(original)
        for index, name in enumerate(original.input):
            if name in chosen:
                node.input[index] = f"{name}/dq"
        if original.op_type in CONVOLUTIONS and heatmaps not in original.output:
            # Output channels are axis 0 of Conv's weight, axis 1 of ConvTranspose's.
            node.input[1] = add_weight(original.input[1], 0 if original.op_type == "Conv" else 1)
        nodes.append(node)
        for name in original.output:
            if name in chosen:
                add_pair(name)
    return rebuilt(model, nodes, [*model.graph.initializer, *extra.values()])


def render_cache(model: ModelProto, amax: Mapping[str, float], version_number: int) -> str:
    """The calibration cache that TensorRT <= 10 reads in place of calibrating.

    Beside the tensors of the Q/DQ rendering it has those that a following ReLU is fused into, or
    TensorRT would keep their layers in floating point. A tensor that is absent stays so.

    Args:
        version_number: as ``targets.tensorrt_number`` gives it; another version's is rejected.

    Raises:
        ValueError: a range is missing or degenerate, or a name cannot stand in a cache.
    """
    ranges = final_ranges(model, amax)
    chosen = quantised_tensors(model)
    fused = [
        node.input[0]
        for node in body_nodes(model)
        if node.op_type == "Relu" and node.output[0] in chosen and node.input[0] not in chosen
    ]
    return write_cache(
        version_number, {name: float(scale_of(ranges[name])) for name in [*chosen, *fused]}
    )


def _never_negative(model: ModelProto) -> set[str]:
    """The grey levels, what a ReLU gives, and what pooling, resizing and joining make of those."""
    found = {INPUT}
    for node in body_nodes(model):
        inputs = node.input[:1] if node.op_type in _SELECTING else node.input
        if node.op_type == "Relu" or (
            node.op_type in _KEEPING_SIGN and all(name in found for name in inputs)
        ):
            found.update(node.output)
    return found


def _step(amax: float, positive: bool) -> np.float32:
    return np.float32(np.float32(amax) / np.float32(255.0)) if positive else scale_of(amax)
