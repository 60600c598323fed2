"""``fpenet import-tao MODEL.onnx``: convert TAO's FPENet to initial weights of a training.

Input: an ONNX file of FPENet (docs/fpenet.md, Network), as TAO 5 exports it. Does: reads its layers
in the order of the graph, whatever their names; chooses our net with the same layers; folds the
image scale, batch norm and the temperature into the convolutions; compares the points of both nets
on random crops. Output: ``model.safetensors`` and ``model.json``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.onnx.network import CONVOLUTIONS, read_network
from fpenet.kpi.evaluate import Predict
from fpenet.model.evaluate import torch_predict
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import NETS
from fpenet.tao.weights import NetLayer, layers_of, net_of, save_import

CANDIDATES = ("public", "base", "release", "base_5x5")
TOLERANCE_PX = 0.05
_CROPS = 8
_NOT_LAYERS = (  # what moves the data about, computes a shape, or is folded into a convolution
    "Transpose",
    "Identity",
    "Cast",
    "Pad",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Concat",
    "Shape",
    "Gather",
    "Constant",
    "Add",
    "Mul",
    "Div",
    "BatchNormalization",
)

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the graph: node name, operator, weight (as PyTorch has it) and bias, or None."""

    name: str
    operator: str
    weight: Array | None = None
    bias: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self.weight is None else self.weight.shape


def import_onnx(path: Path, out_dir: Path) -> dict[str, Any]:
    """Write the weights of the FPENet in ``path`` to the new folder ``out_dir``.

    Returns:
        net, number of keypoints, and the largest difference of a point, px of the 80x80 crop.

    Raises:
        InputError: names the file, and the first layer that no net of ours has; or the points
            differ. Nothing is written.
    """
    if out_dir.exists():
        raise InputError(f"--out {out_dir}: exists; give another folder")
    if path.suffix.lower() != ".onnx":
        raise InputError(
            f"{path}: neither .yaml nor .onnx; a .hdf5, .tlt or .etlt becomes ONNX by TAO 5's own"
            " `tao model fpenet export`"
        )
    model = read_network(path)
    graph = gs.import_onnx(model).fold_constants().toposort()
    layers = read_layers(graph, str(path))
    name, wanted = choose_net(layers, str(path))
    weights: dict[str, Array] = {}
    for layer, (net_path, _, _) in zip(layers, wanted, strict=True):
        if layer.weight is not None:
            weights[f"{net_path}.weight"] = layer.weight
        if layer.bias is not None:
            weights[f"{net_path}.bias"] = layer.bias
    for part in ("weight", "bias"):
        weights[f"heatmaps.{part}"] *= np.float32(_temperature(graph) / NETS[name].beta)
    num_keypoints = len(weights["heatmaps.weight"])
    net = net_of(name, num_keypoints, weights)
    largest = _largest_difference(model.SerializeToString(), path, torch_predict(net))
    if not largest <= TOLERANCE_PX:
        raise InputError(
            f"{path}: its layers are those of {name}, but on random crops its points differ from"
            f" that net's by up to {largest:.3g} px; at most {TOLERANCE_PX} is allowed"
        )
    about = NetDescription(name, num_keypoints)
    save_import(net, about, out_dir)
    return {"net": name, "num_keypoints": num_keypoints, "largest_difference_px": largest}


def read_layers(graph: gs.Graph, source: str) -> list[Layer]:
    """The layers of the graph up to its last convolution, whose output are the heat maps.

    Raises:
        InputError: there is no convolution, or the weights of one are not in the file.
    """
    places = [place for place, node in enumerate(graph.nodes) if node.op in CONVOLUTIONS]
    if not places:
        raise InputError(f"{source}: no convolution; wanted the FPENet that TAO exports")
    layers: list[Layer] = []
    scale = math.prod(_factor(node) for node in graph.nodes[: places[0]])
    for node in graph.nodes[: places[-1] + 1]:
        if node.op in CONVOLUTIONS:
            layers.append(_convolution(node, source, 1.0 if layers else scale))
        elif node.op not in _NOT_LAYERS:
            operator = "Resize" if node.op == "Upsample" else node.op
            layers.append(Layer(_name(node), operator))
    return layers


def choose_net(layers: Sequence[Layer], source: str) -> tuple[str, list[NetLayer]]:
    """The name of our net with these layers, and its layers.

    Raises:
        InputError: no such net; names the first layer that differs from the most similar net.
    """
    agreed: dict[str, int] = {}
    nets = {name: layers_of(name, layers[-1].shape[0]) for name in CANDIDATES}
    for name, wanted in nets.items():
        pairs = list(zip(layers, wanted, strict=False))
        differs = [(a.operator, a.shape) != (b.operator, b.shape) for a, b in pairs]
        agreed[name] = differs.index(True) if True in differs else len(pairs)
        if agreed[name] == len(layers) == len(wanted):
            return name, wanted
    name = max(CANDIDATES, key=agreed.__getitem__)
    place, wanted = agreed[name], nets[name]
    found, meant = "it ends", "no more"
    if place < len(layers):
        layer = layers[place]
        found = f"layer {layer.name} is {_words(layer.operator, layer.shape)}"
    if place < len(wanted):
        meant = f"{_words(*wanted[place][1:])}, {wanted[place].path}"
    raise InputError(f"{source}: no net of ours; the nearest is {name}: {found}, wanted {meant}")


def _words(operator: str, shape: tuple[int, ...]) -> str:
    return f"{operator} {list(shape)}" if shape else operator


def _name(node: gs.Node) -> str:
    return str(node.name or node.outputs[0].name)


def _convolution(node: gs.Node, source: str, scale: float) -> Layer:
    """A convolution with ``scale`` of its input and the following Add and batch norm folded in."""
    if not all(isinstance(each, gs.Constant) for each in node.inputs[1:]):
        raise InputError(f"{source}: layer {_name(node)}: its weights are not in the file")
    weight, *rest = (np.array(each.values, np.float32) for each in node.inputs[1:])
    weight *= np.float32(scale)
    bias: Array | None = rest[0] if rest else None
    axis = 0 if node.op == "Conv" else 1
    shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
    output = node.outputs[0]
    while len(output.outputs) == 1 and output.outputs[0].op in _NOT_LAYERS:
        after = output.outputs[0]
        constants = [each.values for each in after.inputs if isinstance(each, gs.Constant)]
        if after.op == "Add" and constants and constants[0].size == weight.shape[axis]:
            added = constants[0].reshape(-1).astype(np.float32)
            bias = added if bias is None else bias + added
        elif after.op == "BatchNormalization":
            gamma, beta, mean, variance = constants
            factor = gamma / np.sqrt(variance + after.attrs.get("epsilon", 1e-5))
            weight = (weight * factor.reshape(shape)).astype(np.float32)
            bias = ((0 if bias is None else bias) - mean) * factor + beta
            bias = bias.astype(np.float32)
        elif after.op in ("Concat", "Add"):
            break
        output = after.outputs[0]
    return Layer(_name(node), node.op, weight, bias)


def _temperature(graph: gs.Graph) -> float:
    """The factor of the heat maps between their convolution and the exponential."""
    last = max(place for place, node in enumerate(graph.nodes) if node.op in CONVOLUTIONS)
    temperature = 1.0
    for node in graph.nodes[last:]:
        if node.op in ("Softmax", "Exp"):
            break
        temperature *= _factor(node)
    return temperature


def _factor(node: gs.Node) -> float:
    """The scalar that a Mul or a Div scales by; 1 for any other node."""
    constants = [each.values for each in node.inputs if isinstance(each, gs.Constant)]
    if node.op not in ("Mul", "Div") or len(constants) != 1 or constants[0].size != 1:
        return 1.0
    value = float(constants[0].reshape(-1)[0])
    return 1.0 / value if node.op == "Div" else value


def _largest_difference(content: bytes, path: Path, predict: Predict) -> float:
    """The largest difference of a point on seeded crops of coarse noise, in crop pixels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    coarse = np.random.default_rng(35).integers(0, 256, (_CROPS, 1, 10, 10))
    crops = coarse.repeat(CROP_PX // 10, 2).repeat(CROP_PX // 10, 3).astype(np.uint8)
    points, _ = predict(crops)
    largest = 0.0
    for crop, wanted in zip(crops, points, strict=True):  # a static batch of 1 is allowed
        given = crop[None].astype(np.float32)
        if entry.shape[-1] == 1:  # NHWC
            given = given.transpose(0, 2, 3, 1)
        answers = session.run(None, {entry.name: given})
        said = [one for one in answers if one.shape[-2:] == wanted.shape]
        if len(said) != 1:
            raise InputError(
                f"{path}: outputs of shapes {[list(one.shape) for one in answers]}; wanted one of"
                f" {list(wanted.shape)}"
            )
        largest = max(largest, float(np.abs(said[0].reshape(wanted.shape) - wanted).max()))
    return largest
