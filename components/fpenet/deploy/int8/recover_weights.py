"""Two changes of FP32 weights that reduce the error of INT8, without training.

Input: a network, and faces. Output: weight -> new values. With ``equalised`` weights the points of
the FP32 network are unchanged. ``corrected_biases`` shift its activations by the negative of the
mean rounding error, so that the INT8 network has the means of the original FP32 network.
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
    """Biases with which every INT8 channel has its FP32 mean (Nagel 2019, section 4.2).

    The layers are corrected in order: the input of a layer comes from corrected layers.

    Args:
        single: outputs of the convolutions that stay in floating point.
        images: (N, 1, 80, 80) grey levels.
    """
    left_out = {heatmap_convolution(model).output[0], *single}
    layers = [
        node
        for node in body_nodes(model)
        if node.op_type in CONVOLUTIONS and node.output[0] not in left_out and len(node.input) == 3
    ]
    means = channel_means(model, [node.output[0] for node in layers], images)
    weights, corrected = weights_of(model), Weights()
    for node in layers:
        (name,) = node.output
        rendered = render_qdq(with_weights(model, corrected), amax, single)
        difference = means[name] - channel_means(rendered, [name], images)[name]
        corrected[node.input[2]] = weights[node.input[2]] + difference.astype(np.float32)
    return corrected


def equalised(model: ModelProto, images: NDArray[np.float32]) -> Weights:
    """Weights with which all channels of an activation have similar ranges (Nagel 2019, 4.1).

    A channel after a ReLU may be divided by a positive number if the weights that read it are
    multiplied by that number; pooling, upsampling and concatenation do not change this. The weights
    that produce the channel have one step for each output channel, so the division costs them no
    precision. The number is chosen from the channel's largest value and the largest weight that
    reads it. An activation that is not read by convolutions only, or that the heat-map convolution
    reads, is not changed.

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
    """The data flow of the ReLUs.

    Returns:
        ReLU -> the convolution before it; ReLU -> the convolutions that read it, each with its
        first input channel of the ReLU; the ReLUs that another node or the heat-map convolution
        reads.
    """
    shapes = shapes_of(model)
    heatmaps = heatmap_convolution(model).output[0]
    node_of = {output: node for node in model.graph.node for output in node.output}
    producers: dict[str, NodeProto] = {}
    readers: dict[str, list[tuple[NodeProto, int]]] = {}
    fixed: set[str] = set()
    parts: dict[str, list[tuple[str | None, int]]] = {}  # tensor -> ReLUs and channels in order
    for node in model.graph.node:
        (name, *_), source = node.output, node.input[0]
        if node.op_type == "Relu" and node_of[source].op_type in CONVOLUTIONS:
            producers[name], readers[name] = node_of[source], []
            parts[name] = [(name, shapes[name][1])]
        elif node.op_type in KEEPING_SIGN:
            parts[name] = [
                part
                for tensor in selected_by(node)
                for part in parts.get(tensor, [(None, shapes[tensor][1])])
            ]
        else:
            offset = 0
            for relu, channels in parts.get(source, []):
                if relu is not None and node.op_type in CONVOLUTIONS and name != heatmaps:
                    readers[relu].append((node, offset))
                elif relu is not None:
                    fixed.add(relu)
                offset += channels
            fixed.update(r for tensor in node.input[1:] for r, _ in parts.get(tensor, []) if r)
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
    activations = _activations(model, names, images)
    return {
        name: value.mean(axis=(0, 2, 3), dtype=np.float64) for name, value in activations.items()
    }


def _largest(
    model: ModelProto, names: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """(C,) largest magnitude in each channel of the tensors."""
    activations = _activations(model, names, images)
    return {name: np.abs(value).max(axis=(0, 2, 3)) for name, value in activations.items()}


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
