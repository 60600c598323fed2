"""Weights and checkpoints on disk: safetensors and JSON, no pickle.

A checkpoint is one safetensors file (net, averaged net, optimiser state). Its metadata holds the
progress, its name its SHA-256. It is written to a temporary name, flushed and renamed.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fpenet.core.errors import InputError
from fpenet.core.files import write_whole
from fpenet.model.distributed import from_first, rank
from fpenet.model.nets.net_description import NET_FILE, NetDescription
from fpenet.model.nets.recombinator import (
    GREY_LEVELS,
    Recombinator,
    build_net,
    first_convolution,
)
from fpenet.model.step import EpochSoFar, Training
from fpenet.provenance.digest import digest_bytes

LOGGER = logging.getLogger(__name__)


def fold(net: Recombinator, name: str, num_keypoints: int) -> Recombinator:
    """The deployed net: batch norm, temperature and input scale folded into the convolutions.

    Returns:
        A net without batch norm. For grey levels 0..255 it gives the same points as ``net`` in eval
        mode for grey levels 0..1.
    """
    weights: dict[str, Tensor] = {}
    modules = dict(net.named_modules())
    for path, module in modules.items():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight, bias = module.weight.detach(), module.bias
            parent, _, index = path.rpartition(".")
            norm = modules.get(f"{parent}.{int(index) + 1}") if index.isdigit() else None
            if isinstance(norm, nn.BatchNorm2d):
                weight, bias = fuse_conv_bn_weights(
                    module.weight,
                    module.bias,
                    norm.running_mean,  # type: ignore[arg-type]
                    norm.running_var,  # type: ignore[arg-type]
                    norm.eps,
                    norm.weight,
                    norm.bias,
                )
            weights[f"{path}.weight"] = weight.detach().clone()
            if bias is not None:
                weights[f"{path}.bias"] = bias.detach().clone()
    weights |= zip(("heatmaps.weight", "heatmaps.bias"), net.heatmap_weights(), strict=True)
    folded = build_net(name, num_keypoints)
    # Without batch norm the index of the ReLU changes, but those of the convolutions do not.
    folded.load_state_dict(weights)
    with torch.no_grad():
        first_convolution(folded).weight /= GREY_LEVELS
    return folded.eval()


def save_net(net: Recombinator, about: NetDescription, out_dir: Path) -> None:
    """Write ``model.safetensors`` (float32) and ``model.json``."""
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    write_whole(out_dir / "model.safetensors", save(weights))
    write_whole(out_dir / NET_FILE, about.text().encode())


def load_net(train_dir: Path) -> tuple[Recombinator, NetDescription]:
    """The trained net in eval mode, and its ``model.json``.

    Raises:
        InputError: names the file and the tensors that do not match.
    """
    about = NetDescription.read(train_dir / NET_FILE)
    net = build_net(about.net, about.num_keypoints)
    path = train_dir / "model.safetensors"
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    return net.eval(), about


def save_checkpoint(tensors: Mapping[str, Tensor], state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and JSON state atomically; a kill at any time leaves a complete checkpoint.

    The file is ``<stem>.<number>.<SHA-256 of its content><suffix>``; a rename makes it valid. The
    previous checkpoint is kept.

    Raises:
        OSError: names the file; earlier checkpoints are kept, no partial file is left.
    """
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    content = save(contiguous, metadata={"state": json.dumps(dict(state))})
    saved = _checkpoints(path)
    number = saved[0][0] + 1 if saved else 1
    name = f"{path.stem}.{number:06d}.{digest_bytes(content)}{path.suffix}"
    write_whole(path.with_name(name), content)
    for _, _, outdated in saved[1:]:
        outdated.unlink()


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest undamaged checkpoint that was saved as ``path``, or None.

    A damaged checkpoint is logged, and renamed to ``<stem>.damaged`` so that it is not read again.
    """
    for number, digest, candidate in _checkpoints(path):
        content = candidate.read_bytes()
        wrong = f"its SHA-256 is {digest_bytes(content)[:16]}..."
        if digest_bytes(content) == digest:
            try:
                header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
                state: dict[str, Any] = json.loads(header["__metadata__"]["state"])
                return load(content), state
            except (ValueError, LookupError, TypeError, SafetensorError):
                wrong = "not a checkpoint, although its SHA-256 is the one in its name"
        LOGGER.warning(
            "%s: damaged: %s; going back to the checkpoint before number %d",
            candidate,
            wrong,
            number,
        )
        candidate.replace(path.with_suffix(".damaged"))
    return None


def _checkpoints(path: Path) -> list[tuple[int, str, Path]]:
    """Number, SHA-256 and file of each checkpoint that was saved as ``path``, the newest first."""
    name = re.compile(rf"{re.escape(path.stem)}\.(\d+)\.([0-9a-f]{{64}}){re.escape(path.suffix)}")
    matches = [(name.fullmatch(file.name), file) for file in path.parent.glob(f"{path.stem}.*")]
    return sorted(((int(m[1]), m[2], file) for m, file in matches if m), reverse=True)


_NUMBERS = ("parts", "epoch", "seconds", "skipped", "faces_seen", "curve")


def save_run(training: Training, path: Path) -> None:
    """Write a checkpoint of the run; only process 0 writes."""
    if rank() > 0:
        return
    tensors = {f"net.{name}": value for name, value in training.net.state_dict().items()}
    tensors |= {f"average.{n}": value for n, value in training.average.state_dict().items()}
    for index, moments in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    state: dict[str, Any] = {name: getattr(training, name) for name in _NUMBERS}
    if training.so_far is not None:
        tensors["random.state"] = training.so_far.random
        state["so_far"] = {"steps": training.so_far.steps, "losses": training.so_far.losses}
    save_checkpoint(tensors, state, path)


def resume_run(training: Training, path: Path) -> bool:
    """Load the last checkpoint into ``training`` in every process; False if there is none."""
    checkpoint = from_first(load_checkpoint(path) if rank() == 0 else None)
    if checkpoint is None:
        return False
    tensors, state = checkpoint
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "optimizer": {}, "random": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    training.net.load_state_dict(parts["net"])
    training.average.load_state_dict(parts["average"])
    moments: dict[int, dict[str, Tensor]] = {}
    trained = [p.detach() for group in training.optimizer.param_groups for p in group["params"]]
    for name, value in parts["optimizer"].items():
        index, _, kind = name.partition(".")
        like = trained[int(index)]
        # The fused step pairs memory, not indices: a moment needs its parameter's memory format.
        moment = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        moments.setdefault(int(index), {})[kind] = moment
    whole = training.optimizer.state_dict()
    training.optimizer.load_state_dict({**whole, "state": moments})
    for group in training.optimizer.param_groups:
        group["lr"] = training.rate  # which loading replaced by a copy
    if so_far := state.pop("so_far", None):
        training.so_far = EpochSoFar(**so_far, random=parts["random"]["state"])
    for name, value in state.items():
        setattr(training, name, value)
    LOGGER.info("resumed after epoch %d", training.epoch)
    return True
