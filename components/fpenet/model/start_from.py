"""Initial weights of a training from an earlier training, and the teacher net.

``trainable.safetensors`` holds a net in its training form: with batch norm and temperature, for
grey levels 0..1. ``model.safetensors`` holds its deployed form; for a net without batch norm, a
training can start from that file too.
"""

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fpenet.core.errors import InputError
from fpenet.core.files import write_whole
from fpenet.model.checkpoint import load_net
from fpenet.model.nets.net_description import NET_FILE, NetDescription
from fpenet.model.nets.recombinator import GREY_LEVELS, NETS, Recombinator, first_convolution

LOGGER = logging.getLogger(__name__)
TRAINABLE = "trainable.safetensors"


def save_trainable(net: Recombinator, out_dir: Path) -> None:
    """Write ``trainable.safetensors``, which ``load_weights`` reads."""
    weights = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    write_whole(out_dir / TRAINABLE, save(weights))


def load_weights(net: Recombinator, name: str, folder: Path, new_head: bool) -> list[str]:
    """Load the weights of a finished training, or of an import, into ``net``, a net ``name``.

    Args:
        new_head: keep the initial weights of the convolution of the heat maps.

    Returns:
        The names of the reinitialised tensors.

    Raises:
        InputError: names the folder and every tensor that does not match.
    """
    weights = _read(folder, name)
    initial = net.state_dict()
    fresh = [key for key in initial if new_head and key.startswith("heatmaps.")]
    wrong = [
        f"{key}: {list(weights[key].shape) if key in weights else 'absent'}, must be {list(shape)}"
        for key, shape in ((key, value.shape) for key, value in initial.items())
        if key not in fresh and (key not in weights or weights[key].shape != shape)
    ]
    wrong += [f"{key}: not in net {name}" for key in weights if key not in initial]
    if wrong:
        hint = ""
        if all(line.startswith("heatmaps.") for line in wrong):
            hint = "; train.new_head: true reinitialises these"
        raise InputError(f"train.start_from {folder}: {'; '.join(wrong)}{hint}")
    net.load_state_dict({**initial, **{key: weights[key] for key in initial if key not in fresh}})
    LOGGER.info(
        "started from %s: %d tensors; reinitialised: %s",
        folder,
        len(initial) - len(fresh),
        ", ".join(fresh) or "none",
    )
    return fresh


def load_teacher(folder: Path, num_keypoints: int) -> Recombinator:
    """The net of a finished training, as the teacher of another net.

    Raises:
        InputError: missing, damaged, or with another number of keypoints.
    """
    if not (folder / NET_FILE).is_file():
        raise InputError(f"train.teacher {folder}: no model.json; give a folder of stage train")
    net, about = load_net(folder)
    if about.num_keypoints != num_keypoints:
        raise InputError(
            f"train.teacher {folder}: {about.num_keypoints} keypoints; the data have"
            f" {num_keypoints}"
        )
    return net.requires_grad_(False)


def _read(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights in ``folder`` in the training form of the net ``name``."""
    if not (folder / NET_FILE).is_file():
        raise InputError(
            f"train.start_from {folder}: no model.json; give a folder of stage train or an import"
        )
    about = NetDescription.read(folder / NET_FILE)
    if about.net != name:
        raise InputError(f"train.start_from {folder}: its net is {about.net}; train.net is {name}")
    path = folder / TRAINABLE
    if not path.is_file() and NETS[name].batch_norm:
        raise InputError(f"{path}: missing; deployed weights have no batch norm to train with")
    try:
        if path.is_file():
            return load_file(path)
        net, _ = load_net(folder)
    except SafetensorError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    with torch.no_grad():
        first_convolution(net).weight *= GREY_LEVELS
    return net.state_dict()
