"""Stage train: crops to weights.

Input: the crop store. Does: AdamW on augmented margin crops with warm-up and cosine decay fitted to
epochs or minutes, whichever end first; a moving average of the weights is what ships. A checkpoint
an epoch, and one at SIGTERM within the epoch: a killed run goes on from the last one, and on a CPU
its loss curve is the same. Output:
``model.safetensors``, ``model.json`` and ``curve.jsonl``.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.crop_store import CropStore, open_crops
from components.keypoints import KeypointScheme, scheme_for
from components.kpi.evaluate import predict_all
from components.kpi.metrics import point_errors
from components.model.augment import check_flips
from components.model.checkpoint import (
    fold,
    load_checkpoint,
    save_checkpoint,
    save_net,
)
from components.model.judge import torch_predict
from components.model.losses import point_weights
from components.model.step import EpochSoFar, Training, draw_batch, learning_rate, start, take_step
from components.params import TrainParams
from components.progress import EpochEnd, report, tell_epoch
from components.stopping import Diverged, noted_sigterm

LOGGER = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"


def planned_epochs(training: Training, train: TrainParams) -> int:
    """Epochs that fit into ``max_minutes`` at the pace so far, at most ``epochs``."""
    if training.epoch == 0:
        return train.epochs
    pace = training.seconds / training.epoch
    left = max(0.0, train.max_minutes * 60 - training.seconds)
    return max(training.epoch, min(train.epochs, training.epoch + int(left / pace)))


def train_net(*, crop_dir: Path, train: TrainParams, out_dir: Path) -> dict[str, Any]:
    """Train ``train.net`` on the part ``train``; ``val`` is watched, never chosen by.

    Raises:
        ValueError: no training face, flips without a flip map, weights for an unknown region.
        Diverged: the loss was not finite for more than ``max_skipped_steps`` steps, or in no step
            of an epoch; the last good checkpoint stays.
        Resumable: SIGTERM came; a checkpoint of this very step is there.
    """
    return train_on(open_crops(crop_dir), train, out_dir)


def train_on(store: CropStore, train: TrainParams, out_dir: Path) -> dict[str, Any]:
    """``train_net`` on a crop store that is open."""
    scheme = scheme_for(store.num_keypoints)
    check_flips(scheme, train.augment)
    point_weights(scheme, torch.ones(1, scheme.num_keypoints).bool(), train.region_weights)
    rows = store.rows("train")
    if len(rows) < train.batch_size:
        raise ValueError(
            f"{len(rows)} training faces; train.batch_size is {train.batch_size} and needs as many"
        )
    torch.manual_seed(train.seed)
    training = start(train, scheme.num_keypoints)
    checkpoint = out_dir / CHECKPOINT
    _resume(training, checkpoint)
    epochs = planned_epochs(training, train)
    with noted_sigterm() as stopped:
        while training.epoch < epochs and not stopped():
            started, seen = time.monotonic(), training.faces_seen
            loss = _train_epoch(training, store, rows, scheme, train, epochs, stopped)
            trained = time.monotonic()
            training.seconds += trained - started
            if loss is None:
                break
            training.epoch += 1
            pace = (training.faces_seen - seen) / (trained - started)
            _note_epoch(training, store, train, loss, pace)
            training.seconds += time.monotonic() - trained
            epochs = planned_epochs(training, train)
            if training.epoch % train.checkpoint_every_epochs == 0 or training.epoch >= epochs:
                _save(training, checkpoint)
        if stopped():
            _save(training, checkpoint)
    return _finish(training, store, train, out_dir)


def _train_epoch(
    training: Training,
    store: CropStore,
    rows: NDArray[np.int64],
    scheme: KeypointScheme,
    train: TrainParams,
    epochs: int,
    stopped: Callable[[], bool],
) -> float | None:
    """One pass in a seeded order, or what is left of one.

    Returns:
        the mean loss of its steps; None where it was stopped before the last of them.

    Raises:
        Diverged: no step had a finite loss.
    """
    random = torch.Generator().manual_seed(train.seed * 1_000_003 + training.epoch)
    order = torch.randperm(len(rows), generator=random).numpy()
    steps = len(rows) // train.batch_size
    planned = epochs * steps * train.batch_size
    losses: list[float] = []
    first = 0
    if training.so_far is not None:
        first, losses = training.so_far.steps, training.so_far.losses
        random.set_state(training.so_far.random)
        training.so_far = None
    training.net.train()
    watched = {k: v for k, v in (training.curve or [{}])[-1].items() if k == "val_crop_px"}
    for step in range(first, steps):
        chosen = rows[order[step * train.batch_size : (step + 1) * train.batch_size]]
        done = (training.epoch + (step + 1) / steps) / epochs
        batch = draw_batch(store, chosen, scheme, train, random, done)
        rate = learning_rate(done, train)
        loss = take_step(training, batch, scheme, train, rate)
        if loss is not None:
            losses.append(loss)
            watched |= {"loss": loss}
        training.faces_seen += train.batch_size
        report(training.faces_seen, planned, "faces", **watched)
        if stopped() and step + 1 < steps:
            training.so_far = EpochSoFar(step + 1, losses, random.get_state())
            return None
    if not losses:
        raise Diverged(
            f"no step of epoch {training.epoch + 1} had a finite loss; the last good checkpoint is"
            " kept; try a smaller train.learning_rate"
        )
    return float(np.mean(losses))


def _note_epoch(
    training: Training, store: CropStore, train: TrainParams, loss: float, pace: float
) -> None:
    """Add one line to the curve: loss, rate, and the error on the watched part in crop pixels."""
    line = {
        "epoch": training.epoch,
        "loss": loss,
        "learning_rate": training.optimizer.param_groups[0]["lr"],
        "seconds": training.seconds,
        "faces_seen": training.faces_seen,
        "faces_per_second": pace,
    }
    watched = store.rows("val")
    images, target = store.images(watched), store.points_crop(watched)
    points = np.empty_like(target)
    if len(watched):
        shipped = fold(training.average, train.net, store.num_keypoints)
        points, _ = predict_all(torch_predict(shipped), images, 128)
        line["val_crop_px"] = float(np.nanmean(point_errors(points, target)))
    training.curve.append(line)
    LOGGER.info("%s", json.dumps(line))
    tell_epoch(EpochEnd(training.curve, images, points, target))


def _save(training: Training, path: Path) -> None:
    tensors = {f"net.{name}": value for name, value in training.net.state_dict().items()}
    tensors |= {f"average.{n}": value for n, value in training.average.state_dict().items()}
    for index, moments in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    state: dict[str, Any] = {
        name: getattr(training, name)
        for name in ("epoch", "steps", "seconds", "skipped", "faces_seen", "curve")
    }
    if training.so_far is not None:
        tensors["random.state"] = training.so_far.random
        state["so_far"] = {"steps": training.so_far.steps, "losses": training.so_far.losses}
    save_checkpoint(tensors, state, path)


def _resume(training: Training, path: Path) -> None:
    found = load_checkpoint(path)
    if found is None:
        return
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
    if so_far := state.pop("so_far", None):
        training.so_far = EpochSoFar(**so_far, random=parts["random"]["state"])
    for name, value in state.items():
        setattr(training, name, value)
    LOGGER.info("resumed after epoch %d", training.epoch)


def _finish(
    training: Training, store: CropStore, train: TrainParams, out_dir: Path
) -> dict[str, Any]:
    net = fold(training.average, train.net, store.num_keypoints)
    about = {
        "net": train.net,
        "num_keypoints": store.num_keypoints,
        "dataset": store.dataset,
        "box_scale": store.box_scale,
        "confidence": "learned" if net.ours else "peak",
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    save_net(net, about, out_dir)
    lines = "".join(json.dumps(line) + "\n" for line in training.curve)
    (out_dir / "curve.jsonl").write_text(lines, encoding="utf-8")
    for leftover in out_dir.glob("checkpoint*"):
        leftover.unlink()
    return about | {
        "epochs": training.epoch,
        "faces_seen": training.faces_seen,
        "minutes": training.seconds / 60,
        "skipped_steps": training.skipped,
        "loss": training.curve[-1]["loss"],
        "val_crop_px": training.curve[-1].get("val_crop_px"),
    }
