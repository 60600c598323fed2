"""The state of a training on disk and back, so that a killed run goes on as if it had not been."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.model.checkpoint import load_checkpoint, save_checkpoint
from components.model.ranks import from_first, rank
from components.model.step import EpochSoFar, Training

LOGGER = logging.getLogger(__name__)
_NUMBERS = ("parts", "epoch", "seconds", "skipped", "faces_seen", "curve")


def save_run(training: Training, path: Path) -> None:
    """Write a checkpoint; process 0 does."""
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
    """Put the last checkpoint into ``training``, in every process; whether there was one."""
    found = from_first(load_checkpoint(path) if rank() == 0 else None)
    if found is None:
        return False
    tensors, state = found
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
        # The fused step pairs memory, not indices: a moment must lie as its parameter does.
        laid = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        moments.setdefault(int(index), {})[kind] = laid
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
