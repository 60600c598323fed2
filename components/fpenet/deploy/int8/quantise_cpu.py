"""The INT8 rendering for ONNX Runtime's CPU kernels: the table of ranges as unsigned levels.

Input: an FP32 network and tensor -> amax. Output: a Q/DQ network whose convolutions ONNX Runtime
fuses into UINT8 kernels, with little work between them:

- A tensor that is never negative uses all 256 levels. Any other tensor has its zero at level 128,
  which gives the signed levels of ``quantise``.
- Pooling, nearest upsampling and concatenation operate on the levels. Upsampling is a concatenation
  of a tensor with itself, channels last: it only copies, while Resize computes an index for each
  value.
- Concatenated tensors keep their different steps. The weights of the next convolution compensate
  for the difference, so that a concatenation rounds no value.
- The convolution on the grey levels stays in FP32, because INT8 is slower with one input channel.
  The pooling of its output stays in FP32 too.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from fpenet.deploy.int8.quantise import (
    KEEPING_SIGN,
    Rendering,
    final_ranges,
    quantised_tensors,
    reading_levels,
    scale_of,
    selected_by,
)
from fpenet.deploy.onnx.network import body_nodes, heatmap_convolution, shapes_of
from fpenet.deploy.onnx.onnx_file import INPUT


def render_cpu(
    model: ModelProto, amax: Mapping[str, float], single: Collection[str] = ()
) -> ModelProto:
    """The network in INT8, in the form that is fastest in ONNX Runtime on a CPU.

    Args:
        model: FP32.
        amax: ranges of at least ``quantised_tensors(model)``.
        single: outputs of the convolutions that stay in floating point.

    Raises:
        InputError: a range is missing or degenerate.
    """
    ranges = final_ranges(model, amax, single)
    chosen = set(quantised_tensors(model, single)) - {INPUT}
    positive = _never_negative(model)
    shapes = shapes_of(model)
    single = {heatmap_convolution(model).output[0], *single}
    rendering = Rendering({tensor.name: tensor for tensor in model.graph.initializer})
    steps: dict[str, NDArray[np.float32]] = {}  # tensor -> step of each channel
    computed: set[str] = set()  # tensors that are computed in INT8

    def zero_of(name: str) -> np.uint8:
        return np.uint8(0 if name in positive else 128)

    def acts_on_levels(node: NodeProto, selected: list[str]) -> bool:
        return (
            node.op_type in KEEPING_SIGN
            and chosen.issuperset([node.output[0], *selected])
            and len(set(map(zero_of, selected))) == 1
            and (node.op_type != "Resize" or _doubles(node, shapes))
            and (node.op_type != "MaxPool" or selected[0] in computed)
        )

    for original in model.graph.node:
        name = original.output[0]
        selected = selected_by(original)
        if acts_on_levels(original, selected):
            _act_on_levels(rendering, original, shapes)
            steps[name] = np.concatenate([steps[tensor] for tensor in selected])
            rendering.dequantise(name, steps[name].max(), zero_of(name))
            computed.add(name)
            continue
        pools_single = original.op_type == "MaxPool" and selected[0] not in computed
        node = reading_levels(original, [] if pools_single else chosen)
        if node.op_type == "Conv" and name not in single and original.input[0] in chosen:
            input_steps = steps[original.input[0]]
            rendering.quantise_weight(node, input_steps / input_steps.max())
            computed.add(name)
        elif node.op_type == "Relu" and original.input[0] in computed:
            computed.add(name)
        rendering.nodes.append(node)
        if name in chosen:
            step = scale_of(ranges[name])
            if name in positive:
                step = np.float32(np.float32(ranges[name]) / np.float32(255.0))
            rendering.quantise(name, step, zero_of(name))
            rendering.dequantise(name, step, zero_of(name))
            steps[name] = np.full(shapes[name][1], step)
    return rendering.finished(model)


def _act_on_levels(
    rendering: Rendering, node: NodeProto, shapes: Mapping[str, Sequence[int]]
) -> None:
    """Add a pooling, upsampling or concatenating node that reads the levels of its inputs."""
    name, source = node.output[0], node.input[0]
    if node.op_type != "Resize":
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [f"{tensor}/q" for tensor in node.input]
        copy.output[:] = [f"{name}/q"]
        rendering.nodes.append(copy)
        return
    _, channels, rows, columns = shapes[source]
    last = f"{name}/last"  # channels last
    rendering.add("Transpose", [f"{source}/q"], last, perm=[0, 2, 3, 1])
    rendering.add("Concat", [last, last], f"{last}/wide", axis=3)
    shape = rendering.constant(f"{last}/rows", np.array([-1, rows, 1, 2 * columns * channels]))
    rendering.add("Reshape", [f"{last}/wide", shape], f"{last}/row")
    rendering.add("Concat", [f"{last}/row", f"{last}/row"], f"{last}/high", axis=2)
    shape = rendering.constant(f"{last}/shape", np.array([-1, 2 * rows, 2 * columns, channels]))
    rendering.add("Reshape", [f"{last}/high", shape], f"{last}/both")
    rendering.add("Transpose", [f"{last}/both"], f"{name}/q", perm=[0, 3, 1, 2])


def _doubles(node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether a Resize repeats every row and every column."""
    options = {
        entry.name: entry.s.decode() for entry in node.attribute if entry.type == entry.STRING
    }
    (_, _, rows, columns), (_, _, high, wide) = shapes[node.input[0]], shapes[node.output[0]]
    return (
        options.get("mode") == "nearest"
        and options.get("nearest_mode") == "floor"
        and options.get("coordinate_transformation_mode") == "asymmetric"
        and (high, wide) == (2 * rows, 2 * columns)
    )


def _never_negative(model: ModelProto) -> set[str]:
    """The tensors without negative values.

    These are the input, outputs of ReLUs, and pooled, resized or concatenated tensors of these.
    """
    names = {INPUT}
    for node in body_nodes(model):
        if node.op_type == "Relu" or (
            node.op_type in KEEPING_SIGN and names.issuperset(selected_by(node))
        ):
            names.update(node.output)
    return names
