"""Two ways to change FP32 weights so that INT8 loses less, without training.

Input: a network, and faces. Output: weight -> new values; in FP32 the network gives the same points
(``equalised``), or points moved by what the rounding moves them back (``corrected_biases``).
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from fpenet.deploy.int8.quantise import KEEPING_SIGN, render_qdq, selected_by
from fpenet.deploy.onnx.network import (
    CONVOLUTIONS,
    body_nodes,
    heatmap_convolution,
    shapes_of,
    weights_of,
    with_weights,
)
from fpenet.deploy.onnx.onnx_file import INPUT

Weights = dict[str, NDArray[np.float32]]
_LEAST_RATIO, _LARGEST_RATIO = 1e-3, 1e3


def corrected_biases(
    model: ModelProto,
    amax: Mapping[str, float],
    single: Collection[str],
    images: NDArray[np.float32],
) -> Weights:
    """Biases that give every channel the mean it has in FP32 (Nagel 2019, section 4.2).

    Layer after layer, so that each one sees what those before it were corrected to.

    Args:
        single: what the convolutions give that stay in floating point.
        images: (N, 1, 80, 80) grey levels.
    """
    left_out = {heatmap_convolution(model).output[0], *single}
    layers = [
        node
        for node in body_nodes(model)
        if node.op_type in CONVOLUTIONS and node.output[0] not in left_out and len(node.input) == 3
    ]
    wanted = channel_means(model, [node.output[0] for node in layers], images)
    weights, corrected = weights_of(model), Weights()
    for node in layers:
        (name,) = node.output
        rendered = render_qdq(with_weights(model, corrected), amax, single)
        off = wanted[name] - channel_means(rendered, [name], images)[name]
        corrected[node.input[2]] = weights[node.input[2]] + off.astype(np.float32)
    return corrected


def equalised(model: ModelProto, images: NDArray[np.float32]) -> Weights:
    """Weights that give all channels of an activation like ranges (Nagel 2019, section 4.1).

    A ReLU's channel may be divided by any positive number, if the weights that read it are
    multiplied by it: pooling, upsampling and joining keep that up. With one step an output channel
    a producer's own weights lose nothing; so the channel's largest value is set against the largest
    weight that reads it. An activation that the heat maps or anything else reads stays as it is.

    Args:
        images: (N, 1, 80, 80) grey levels.
    """
    producers, readers, fixed = _flows(model)
    largest = _largest(model, list(producers), images)
    weights, changed = weights_of(model), set[str]()
    for name, producer in producers.items():
        if name in fixed or not readers[name]:
            continue
        channels = len(largest[name])
        read = np.zeros(channels)
        for node, offset in readers[name]:
            part = _input_channels(weights[node.input[1]], node, offset, channels)
            read = np.maximum(read, np.abs(part).max(axis=(1, 2, 3)))
        ratio = np.sqrt(largest[name] / np.maximum(read, 1e-12))
        ratio = np.where((largest[name] > 0) & (read > 0), ratio, 1.0)
        ratio = np.clip(ratio / np.median(ratio), _LEAST_RATIO, _LARGEST_RATIO)
        ratio = ratio.astype(np.float32)
        out = (-1, 1, 1, 1) if producer.op_type == "Conv" else (1, -1, 1, 1)
        weights[producer.input[1]] = weights[producer.input[1]] / ratio.reshape(out)
        if len(producer.input) == 3:
            weights[producer.input[2]] = weights[producer.input[2]] / ratio
        for node, offset in readers[name]:
            weights[node.input[1]] = weights[node.input[1]].copy()
            part = _input_channels(weights[node.input[1]], node, offset, channels)
            part *= ratio.reshape(-1, 1, 1, 1)
            changed.add(node.input[1])
        changed.update(producer.input[1:])
    return {name: weights[name] for name in changed}


def _flows(
    model: ModelProto,
) -> tuple[dict[str, NodeProto], dict[str, list[tuple[NodeProto, int]]], set[str]]:
    """Of each ReLU: the convolution before it; those that read it, with their first input channel
    of it; and which ReLUs something else reads, the heat maps among that.
    """
    shapes = shapes_of(model)
    heatmaps = heatmap_convolution(model).output[0]
    made = {output: node for node in model.graph.node for output in node.output}
    producers: dict[str, NodeProto] = {}
    readers: dict[str, list[tuple[NodeProto, int]]] = {}
    fixed: set[str] = set()
    parts: dict[str, list[tuple[str | None, int]]] = {}  # tensor -> ReLUs and channels in order
    for node in model.graph.node:
        (name, *_), source = node.output, node.input[0]
        if node.op_type == "Relu" and made[source].op_type in CONVOLUTIONS:
            producers[name], readers[name] = made[source], []
            parts[name] = [(name, shapes[name][1])]
        elif node.op_type in KEEPING_SIGN:
            parts[name] = [
                part
                for one in selected_by(node)
                for part in parts.get(one, [(None, shapes[one][1])])
            ]
        else:
            offset = 0
            for relu, channels in parts.get(source, []):
                if relu is not None and node.op_type in CONVOLUTIONS and name != heatmaps:
                    readers[relu].append((node, offset))
                elif relu is not None:
                    fixed.add(relu)
                offset += channels
            fixed.update(r for one in node.input[1:] for r, _ in parts.get(one, []) if r)
    return producers, readers, fixed


def _input_channels(
    weight: NDArray[np.float32], node: NodeProto, offset: int, channels: int
) -> NDArray[np.float32]:
    """A view (channels, outputs, rows, columns) of a convolution's weight."""
    if node.op_type == "Conv":
        weight = weight.swapaxes(0, 1)
    return weight[offset : offset + channels]


def channel_means(
    model: ModelProto, names: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """(C,) mean of each channel of the tensors."""
    found = _activations(model, names, images)
    return {name: value.mean(axis=(0, 2, 3), dtype=np.float64) for name, value in found.items()}


def _largest(
    model: ModelProto, names: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """(C,) largest magnitude in each channel of the tensors."""
    found = _activations(model, names, images)
    return {name: np.abs(value).max(axis=(0, 2, 3)) for name, value in found.items()}


def _activations(
    model: ModelProto, names: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    marked = ModelProto()
    marked.CopyFrom(model)
    for name in names:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        marked.graph.output.append(value)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        marked.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, {INPUT: images}), strict=True))
