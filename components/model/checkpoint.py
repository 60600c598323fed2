"""Weights on disk: safetensors beside JSON; nothing here unpickles anything.

A checkpoint is one safetensors file (net, averaged net, optimiser state) whose metadata holds the
progress and the SHA-256 of the tensors, written to a temporary name, flushed and renamed.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from components.model.recombinator import Recombinator, build_net, first_convolution
from components.provenance.digest import digest_file

GREY_LEVELS = 255.0
"""While training, images are divided by this; the weights that ship take 0..255."""


def fold(net: Recombinator, name: str, num_keypoints: int) -> Recombinator:
    """The net that ships: batch norm, temperature and input scale folded into its convolutions.

    Returns:
        a net without batch norm that gives the same points for grey levels 0..255 as ``net`` gives
        in eval mode for grey levels 0..1.
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
    folded = build_net(name, num_keypoints)
    # Without batch norm the ReLU moves up one place, but convolutions keep theirs.
    folded.load_state_dict(weights)
    with torch.no_grad():
        first_convolution(folded).weight /= GREY_LEVELS
        if net.log_temperature is not None:
            for tensor in folded.heatmaps.parameters():
                tensor[:num_keypoints] *= net.log_temperature.exp()  # the heat maps come first
    return folded.eval()


def save_net(net: Recombinator, about: Mapping[str, Any], out_dir: Path) -> None:
    """Write ``model.safetensors`` (float32) and ``model.json``."""
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(weights, out_dir / "model.safetensors")
    text = json.dumps(dict(about), indent=1, sort_keys=True)
    (out_dir / "model.json").write_text(text + "\n", encoding="utf-8")


def load_net(train_dir: Path) -> tuple[Recombinator, dict[str, Any]]:
    """The trained net in eval mode, and its ``model.json``.

    Raises:
        ValueError: naming the file and what does not fit.
    """
    about: dict[str, Any] = json.loads((train_dir / "model.json").read_text(encoding="utf-8"))
    net = build_net(about["net"], about["num_keypoints"])
    path = train_dir / "model.safetensors"
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return net.eval(), about


def save_checkpoint(tensors: Mapping[str, Tensor], state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and JSON state so that a kill at any moment leaves a whole checkpoint.

    The one before is kept as ``<name>.previous``.
    """
    temporary = path.with_suffix(".writing")
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(contiguous, temporary, metadata={"state": json.dumps(dict(state))})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    _digest_path(temporary).write_text(digest_file(temporary), encoding="utf-8")
    if path.exists():
        os.replace(_digest_path(path), _digest_path(_previous(path)))
        os.replace(path, _previous(path))
    os.replace(_digest_path(temporary), _digest_path(path))
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint at ``path`` or before it; None where there is none."""
    for candidate in (path, _previous(path)):
        digest = _digest_path(candidate)
        if not (candidate.exists() and digest.exists()):
            continue
        if digest_file(candidate) != digest.read_text(encoding="utf-8"):
            continue
        with safe_open(candidate, framework="pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
        return load_file(candidate), state
    return None


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
