"""The original's nets as lists of layers, and deployed nets from the weights of the layers.

Used by ``tao.onnx`` to compare a graph with our nets, and to write it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fpenet.data.crops.store import CROP_PX
from fpenet.model.checkpoint import save_net
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import Recombinator, build_net

_OPERATORS: dict[type[nn.Module], str] = {
    nn.Conv2d: "Conv",
    nn.ConvTranspose2d: "ConvTranspose",
    nn.MaxPool2d: "MaxPool",
    nn.ReLU: "Relu",
    nn.Upsample: "Resize",
}


class NetLayer(NamedTuple):
    """A layer of a net of ours: its path, ONNX operator, and the shape of its weight or ()."""

    path: str
    operator: str
    shape: tuple[int, ...]


def layers_of(name: str, num_keypoints: int) -> list[NetLayer]:
    """The layers of the net ``name`` in the order of execution, without concatenations."""
    net = build_net(name, num_keypoints)
    ran: list[NetLayer] = []
    for path, module in net.named_modules():
        if operator := _OPERATORS.get(type(module)):
            weight = getattr(module, "weight", None)
            layer = NetLayer(path, operator, () if weight is None else tuple(weight.shape))
            module.register_forward_hook(partial(_note, layer=layer, ran=ran))
    with torch.inference_mode():
        net(torch.zeros(1, 1, CROP_PX, CROP_PX))
    return ran


def _note(*_: object, layer: NetLayer, ran: list[NetLayer]) -> None:
    ran.append(layer)


def net_of(
    name: str, num_keypoints: int, weights: Mapping[str, NDArray[np.float32]]
) -> Recombinator:
    """The deployed net ``name`` with these weights."""
    net = build_net(name, num_keypoints)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return net.eval()


def save_import(net: Recombinator, about: NetDescription, out_dir: Path) -> None:
    """Write a deployed net into the new folder ``out_dir``, for ``train.start_from``."""
    out_dir.mkdir(parents=True)
    save_net(net, about, out_dir)
