"""INT8 renderings of one table of ranges: explicit Q/DQ networks and calibration caches.

Input: an FP32 network and tensor -> amax. Output: the network with QuantizeLinear and
DequantizeLinear, or a cache for TensorRT <= 10. Both have the same scales for the same tensors: the
inputs of the convolutions of the body. The weights and the output of the last convolution and the
soft-argmax stay in floating point.

Q/DQ is added to FP32, not to FP16: QuantizeLinear takes FP16 only from opset 19 on, and Jetson
parsers read at most 13 or 17. Biases stay FP32: TensorRT rejects an INT32 DequantizeLinear.
``quantise_cpu`` renders the same table for ONNX Runtime's CPU kernels.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fpenet.core.errors import InputError
from fpenet.deploy.int8.calibration_cache import write_cache
from fpenet.deploy.onnx.network import CONVOLUTIONS, body_nodes, heatmap_convolution, rebuilt
from fpenet.deploy.onnx.onnx_file import INPUT

SELECTING = ("MaxPool", "Resize")  # their output values are input values, so the range is the same
KEEPING_SIGN = (*SELECTING, "Concat")
_INPUT_AMAX = 255.0  # the largest grey level, also where no calibration face has a white pixel


def selected_by(node: NodeProto) -> list[str]:
    """The inputs of a pooling, resizing or concatenating node whose values are in its output."""
    return list(node.input[:1] if node.op_type in SELECTING else node.input)


def quantised_tensors(model: ModelProto, single: Collection[str] = ()) -> list[str]:
    """The activations that are stored as INT8, in order: the inputs of the convolutions.

    The inputs of pooling, resizing and concatenating nodes before a convolution are included, so
    that these nodes run in INT8 too.

    Args:
        single: outputs of the convolutions that stay in floating point.
    """
    producer = {output: node for node in body_nodes(model) for output in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    chosen: set[str] = set()
    pending = [
        node.input[0]
        for node in body_nodes(model)
        if node.op_type in CONVOLUTIONS and node.output[0] not in single
    ]
    while pending:
        name = pending.pop()
        if name in chosen or name in constants or not name:
            continue
        chosen.add(name)
        node = producer.get(name)
        if node is not None and node.op_type in KEEPING_SIGN:
            pending += selected_by(node)
    order = [INPUT, *(name for node in model.graph.node for name in node.output)]
    return [name for name in order if name in chosen]


def final_ranges(
    model: ModelProto, amax: Mapping[str, float], single: Collection[str] = ()
) -> dict[str, float]:
    """``amax`` with 255 for the input, and for the output of a selecting node that of its input.

    Raises:
        InputError: a tensor that is stored as INT8 has no range, or a degenerate one.
    """
    final = dict(amax) | {INPUT: _INPUT_AMAX}
    for node in body_nodes(model):
        if node.op_type in SELECTING and node.input[0] in final:
            final[node.output[0]] = final[node.input[0]]
    for name in quantised_tensors(model, single):
        value = final.get(name)
        if value is None or not (np.isfinite(value) and value > 0):
            raise InputError(
                f"tensor {name}: range is {value}; it must be positive and finite. Either all"
                " activations of its layer are 0, or the calibration crops are not faces"
            )
    return final


def scale_of(amax: float) -> np.float32:
    """The step of signed INT8, in FP32 as in every rendering."""
    return np.float32(np.float32(amax) / np.float32(127.0))


def quantise_weight(
    weight: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric INT8 levels of a weight, with one step for each channel along ``axis``.

    >>> levels, steps = quantise_weight(np.array([[1.0, -127.0], [0.0, 0.0]], np.float32), 0)
    >>> levels.tolist(), steps.tolist()
    ([[1, -127], [0, 0]], [1.0, 1.0])
    """
    reduced = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=reduced, keepdims=True)
    steps = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
    levels = np.clip(np.rint(weight / steps), -127, 127).astype(np.int8)
    return levels, steps.reshape(-1)


@dataclass(slots=True)
class Rendering:
    """A quantised network under construction.

    Attributes:
        weights: constants of the FP32 network by name.
        nodes: nodes of the quantised network.
        constants: additional constants by name.
    """

    weights: Mapping[str, TensorProto]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, TensorProto] = field(default_factory=dict)

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        """Add one node."""
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        """Add a constant; returns its name."""
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def quantise(self, name: str, scale: np.float32, zero: np.generic) -> None:
        """Add the node that computes the levels ``name``/q of the tensor ``name``."""
        self.add("QuantizeLinear", [name, *self._steps(name, scale, zero)], f"{name}/q")

    def dequantise(self, name: str, scale: np.float32, zero: np.generic) -> None:
        """Add the node that computes the values ``name``/dq of the levels ``name``/q."""
        steps = self._steps(name, scale, zero)
        self.add("DequantizeLinear", [f"{name}/q", *steps], f"{name}/dq")

    def quantise_weight(self, node: NodeProto, gain: NDArray[np.float32] | None = None) -> None:
        """Store a convolution's weight in INT8, with one step for each output channel.

        Args:
            gain: (input channels,) factors that the weight is multiplied by first.
        """
        name = node.input[1]
        # Output channels are axis 0 of Conv's weight, axis 1 of ConvTranspose's.
        axis = 0 if node.op_type == "Conv" else 1
        weight = numpy_helper.to_array(self.weights[name])
        if gain is not None:
            weight = weight * np.expand_dims(gain, [i for i in range(weight.ndim) if i != 1 - axis])
        stored, steps = quantise_weight(weight, axis)
        self.constant(f"{name}/q", stored)
        parameters = self._steps(name, steps, np.zeros(len(steps), np.int8))
        self.add("DequantizeLinear", [f"{name}/q", *parameters], f"{name}/dq", axis=axis)
        node.input[1] = f"{name}/dq"

    def finished(self, model: ModelProto) -> ModelProto:
        """The network, checked, without unused nodes, which ONNX Runtime would execute."""
        needed = {output.name for output in model.graph.output}
        nodes: list[NodeProto] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.insert(0, node)
                needed.update(node.input)
        return rebuilt(model, nodes, [*self.weights.values(), *self.constants.values()])

    def _steps(
        self,
        name: str,
        scale: NDArray[np.float32] | np.float32,
        zero: NDArray[np.int8] | np.generic,
    ) -> list[str]:
        return [self.constant(f"{name}/scale", scale), self.constant(f"{name}/zero", zero)]


def reading_levels(node: NodeProto, chosen: Collection[str]) -> NodeProto:
    """A copy of the node that reads ``name``/dq in place of each of its ``chosen`` inputs."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [f"{name}/dq" if name in chosen else name for name in node.input]
    return copy


def render_qdq(
    model: ModelProto, amax: Mapping[str, float], single: Collection[str] = ()
) -> ModelProto:
    """The network with Q/DQ after its activations and with its convolution weights in INT8.

    Args:
        model: FP32.
        amax: ranges of at least ``quantised_tensors(model)``; symmetric, one for each activation.
        single: outputs of the convolutions that stay in floating point.

    Raises:
        InputError: a range is missing or degenerate.
    """
    ranges = final_ranges(model, amax, single)
    chosen = quantised_tensors(model, single)
    single = {heatmap_convolution(model).output[0], *single}
    rendering = Rendering({tensor.name: tensor for tensor in model.graph.initializer})

    def store(name: str) -> None:
        rendering.quantise(name, scale_of(ranges[name]), np.int8(0))
        rendering.dequantise(name, scale_of(ranges[name]), np.int8(0))

    if INPUT in chosen:
        store(INPUT)
    for original in model.graph.node:
        node = reading_levels(original, chosen)
        if node.op_type in CONVOLUTIONS and node.output[0] not in single:
            rendering.quantise_weight(node)
        rendering.nodes.append(node)
        for name in original.output:
            if name in chosen:
                store(name)
    return rendering.finished(model)


def render_cache(
    model: ModelProto,
    amax: Mapping[str, float],
    version_number: int,
    single: Collection[str] = (),
) -> str:
    """The calibration cache that TensorRT <= 10 reads in place of a calibration.

    It has the tensors of the Q/DQ rendering, and also the tensors that a following ReLU is fused
    into: without a scale for these TensorRT runs their layers in floating point. A layer whose
    tensors are absent from the cache runs in floating point.

    Args:
        version_number: see ``targets.tensorrt_number``; another version of TensorRT rejects it.

    Raises:
        InputError: a range is missing or degenerate, or a name cannot be written in a cache.
    """
    ranges = final_ranges(model, amax, single)
    chosen = quantised_tensors(model, single)
    fused = [
        node.input[0]
        for node in body_nodes(model)
        if node.op_type == "Relu"
        and node.output[0] in chosen
        and node.input[0] not in {*chosen, *single}
    ]
    return write_cache(
        version_number, {name: float(scale_of(ranges[name])) for name in [*chosen, *fused]}
    )
