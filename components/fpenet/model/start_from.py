"""Where a training starts: weights that somebody trained before, and a teacher's.

``trainable.safetensors`` holds a net as it is trained: with batch norm and temperature, for grey
levels 0..1. ``model.safetensors`` holds it as it ships; of a net without batch norm a training can
start from that too.
"""

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fpenet.core.errors import InputError
from fpenet.core.files import write_whole
from fpenet.model.checkpoint import load_net, read_about
from fpenet.model.nets.recombinator import GREY_LEVELS, NETS, Recombinator, first_convolution

LOGGER = logging.getLogger(__name__)
TRAINABLE = "trainable.safetensors"


def save_trainable(net: Recombinator, out_dir: Path) -> None:
    """Write ``trainable.safetensors``: what ``load_weights`` reads."""
    weights = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    write_whole(out_dir / TRAINABLE, save(weights))


def load_weights(net: Recombinator, name: str, folder: Path, new_head: bool) -> list[str]:
    """Put the weights of a finished training, or of an import, into ``net``, a net ``name``.

    Args:
        new_head: keep the fresh weights of the layer that makes the heat maps.

    Returns:
        the tensors that stay fresh.

    Raises:
        InputError: naming the folder and every tensor that does not fit.
    """
    found = _read(folder, name)
    own = net.state_dict()
    fresh = [key for key in own if new_head and key.startswith("heatmaps.")]
    wrong = [
        f"{key}: {list(found[key].shape) if key in found else 'absent'}, wanted {list(shape)}"
        for key, shape in ((key, value.shape) for key, value in own.items())
        if key not in fresh and (key not in found or found[key].shape != shape)
    ]
    wrong += [f"{key}: not in net {name}" for key in found if key not in own]
    if wrong:
        hint = ""
        if all(line.startswith("heatmaps.") for line in wrong):
            hint = "; train.new_head: true makes these anew"
        raise InputError(f"train.start_from {folder}: {'; '.join(wrong)}{hint}")
    net.load_state_dict({**own, **{key: found[key] for key in own if key not in fresh}})
    LOGGER.info(
        "started from %s: %d tensors; made anew: %s",
        folder,
        len(own) - len(fresh),
        ", ".join(fresh) or "none",
    )
    return fresh


def load_teacher(folder: Path, num_keypoints: int) -> Recombinator:
    """The net of a finished training, whose points another net learns.

    Raises:
        InputError: it is not there, is damaged, or knows other keypoints.
    """
    if not (folder / "model.json").is_file():
        raise InputError(f"train.teacher {folder}: no model.json; wanted a folder of stage train")
    net, about = load_net(folder)
    if about["num_keypoints"] != num_keypoints:
        raise InputError(
            f"train.teacher {folder}: {about['num_keypoints']} keypoints; the data have"
            f" {num_keypoints}"
        )
    return net.requires_grad_(False)


def _read(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights in ``folder`` as a net ``name`` is trained with them."""
    if not (folder / "model.json").is_file():
        raise InputError(
            f"train.start_from {folder}: no model.json; wanted a folder of stage train or import"
        )
    about = read_about(folder)
    if about.get("net") != name:
        raise InputError(
            f"train.start_from {folder}: its net is {about.get('net')}; train.net is {name}"
        )
    path = folder / TRAINABLE
    if not path.is_file() and NETS[name].batch_norm:
        raise InputError(f"{path}: absent; weights that ship have no batch norm to go on with")
    try:
        if path.is_file():
            return load_file(path)
        net, _ = load_net(folder)
    except SafetensorError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    with torch.no_grad():
        first_convolution(net).weight *= GREY_LEVELS
    return net.state_dict()
