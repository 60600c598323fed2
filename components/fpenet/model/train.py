"""Stage train: crops to weights.

Input: the crop store. Does: AdamW on augmented margin crops; learning rate with warm-up, a flat
part and cosine decay over the epochs or the minutes (the shorter limit). The moving average of the
weights is deployed. A checkpoint is saved after each epoch, and at SIGTERM within an epoch: a
killed run resumes from the last checkpoint, on a CPU with the same loss curve. Output:
``model.safetensors``, ``model.json``, ``trainable.safetensors`` and ``curve.jsonl``.
"""

import ctypes
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpenet.core.errors import Diverged, TooFewFaces
from fpenet.core.progress import EpochEnd, notify_epoch, report
from fpenet.core.records import encode
from fpenet.core.stopping import deferred_sigterm
from fpenet.data.crops.store import CropStore, open_crops
from fpenet.keypoints import KeypointScheme
from fpenet.kpi.evaluate import predict_all
from fpenet.kpi.metrics import point_errors
from fpenet.model.augment import check_flips
from fpenet.model.checkpoint import fold, resume_run, save_net, save_run
from fpenet.model.distributed import device_of, from_first, joined, rank, summed
from fpenet.model.evaluate import torch_predict
from fpenet.model.faces import check_visible_points, open_faces
from fpenet.model.losses import point_weights
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.start_from import load_teacher, load_weights, save_trainable
from fpenet.model.step import EpochSoFar, Stepper, Training, start
from fpenet.params import TrainParams

LOGGER = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
_STEPS_BETWEEN_READS = 50  # of the losses from a GPU; each read synchronises with it


def planned_epochs(training: Training, train: TrainParams) -> int:
    """Number of epochs that fit into ``max_minutes`` at the current speed, at most ``epochs``."""
    if training.epoch == 0:
        return train.epochs
    pace = training.seconds / training.epoch
    left = max(0.0, train.max_minutes * 60 - training.seconds)
    return max(training.epoch, min(train.epochs, training.epoch + int(left / pace)))


def train_net(*, crop_dir: Path, train: TrainParams, out_dir: Path) -> dict[str, Any]:
    """Train ``train.net`` on the part ``train``; the error on ``val`` is only recorded.

    Raises:
        InputError: no training face, no point that counts in the loss, flips without a flip map,
            weights for an unknown region, or initial weights that do not match the net.
        Diverged: the loss was not finite in more than ``max_skipped_steps`` steps, or in all steps
            of an epoch; the last good checkpoint is kept.
        Resumable: SIGTERM arrived; a checkpoint of the current step was saved.
    """
    return train_on(open_crops(crop_dir), train, out_dir)


def train_on(store: CropStore, train: TrainParams, out_dir: Path) -> dict[str, Any]:
    """``train_net`` on an open crop store."""
    scheme = store.scheme
    check_flips(scheme, train.augment)
    point_weights(scheme, torch.ones(1, scheme.num_keypoints).bool(), train.region_weights)
    rows = torch.from_numpy(store.rows("train"))
    if len(rows) < train.batch_size:
        raise TooFewFaces(
            f"{len(rows)} training faces are fewer than one batch, train.batch_size"
            f" {train.batch_size}; set it to at most {len(rows)}, or label more faces"
        )
    check_visible_points(store, train)
    device = device_of(train)
    unlabelled = None if train.unlabelled is None else open_crops(Path(train.unlabelled))
    faces = open_faces(store, device, unlabelled)
    rows = torch.cat((rows, torch.arange(len(store.crops), len(faces.points))))
    torch.manual_seed(train.seed)
    with joined(device), freed_memory_kept():
        training, fresh = _begin(store, scheme, train, device)
        checkpoint = out_dir / CHECKPOINT
        resume_run(training, checkpoint)
        if train.compile:
            training.net.outputs = torch.compile(training.net.outputs)  # type: ignore[method-assign]
        stepper = Stepper(training, faces, scheme, train)
        epochs = from_first(planned_epochs(training, train))
        with deferred_sigterm() as received:

            def stopped() -> bool:
                return bool(summed(torch.tensor(float(received()), device=device)) > 0)

            while training.epoch < epochs and not stopped():
                start_time, faces_before = time.monotonic(), training.faces_seen
                loss = _train_epoch(stepper, rows, train, epochs, stopped)
                trained = time.monotonic()
                training.seconds += trained - start_time
                if loss is None:
                    break
                training.epoch += 1
                pace = (training.faces_seen - faces_before) / (trained - start_time)
                if rank() == 0:
                    _note_epoch(training, store, train, loss, pace)
                training.seconds += time.monotonic() - trained
                epochs = from_first(planned_epochs(training, train))
                if training.epoch % train.checkpoint_every_epochs == 0 or training.epoch >= epochs:
                    save_run(training, checkpoint)
            if stopped():
                save_run(training, checkpoint)
        writes = rank() == 0
    return _finish(training, store, train, out_dir) | {"reinitialised": fresh} if writes else {}


def _begin(
    store: CropStore, scheme: KeypointScheme, train: TrainParams, device: torch.device
) -> tuple[Training, list[str]]:
    """The state before the first step, and the tensors that are not from ``start_from``."""
    training = start(train, scheme.num_keypoints, device)
    fresh: list[str] = []
    if train.start_from is not None:
        fresh = load_weights(training.net, train.net, Path(train.start_from), train.new_head)
        training.average.load_state_dict(training.net.state_dict())
    if train.teacher is not None:
        training.teacher = load_teacher(Path(train.teacher), scheme.num_keypoints).to(device)
    return training, fresh


def _train_epoch(
    stepper: Stepper,
    rows: Tensor,
    train: TrainParams,
    epochs: int,
    stopped: Callable[[], bool],
) -> float | None:
    """One pass in a seeded order, or the rest of an interrupted pass.

    Returns:
        The mean loss of its steps; None if it was stopped before the last step.

    Raises:
        Diverged: no step had a finite loss, or too many steps did not.
    """
    training, rng = stepper.training, stepper.rng
    seed = train.seed * 1_000_003 + training.epoch
    order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    rng.generator.manual_seed(seed)
    steps = len(rows) // train.batch_size
    batches = order[: steps * train.batch_size].view(steps, -1).sort(dim=1).values
    batches = batches.to(rng.device)
    planned = epochs * steps * train.batch_size
    losses: list[float] = []
    first = 0
    if training.so_far is not None:
        first, losses = training.so_far.steps, training.so_far.losses
        rng.generator.set_state(training.so_far.random)
        training.so_far = None
    training.net.train()
    watched = {k: v for k, v in (training.curve or [{}])[-1].items() if k == "val_crop_px"}
    unread: list[Tensor] = []
    for step in range(first, steps):
        done = (training.epoch + (step + 1) / steps) / epochs
        unread.append(stepper.step(batches[step], done))
        if batches.is_cuda and len(unread) < _STEPS_BETWEEN_READS and step + 1 < steps:
            continue
        values = torch.stack(unread)
        finite = values[torch.isfinite(values)].tolist()
        _count_skipped(training, len(unread) - len(finite), train)
        unread.clear()
        losses += finite
        if finite:
            watched["loss"] = finite[-1]
        if rank() == 0:
            report(training.faces_seen, planned, "faces", **watched)
        if step + 1 < steps and stopped():
            training.so_far = EpochSoFar(step + 1, losses, rng.generator.get_state())
            return None
    if not losses:
        raise Diverged(
            f"no step of epoch {training.epoch + 1} had a finite loss; the last good checkpoint is"
            " kept; try a smaller train.learning_rate"
        )
    return float(np.mean(losses))


def _count_skipped(training: Training, steps: int, train: TrainParams) -> None:
    """Count skipped steps; raise ``Diverged`` if there are more than ``max_skipped_steps``."""
    training.skipped += steps
    if steps and training.skipped > train.max_skipped_steps:
        raise Diverged(
            f"loss or gradient was not finite in {training.skipped} steps, the last in epoch"
            f" {training.epoch + 1}; train.max_skipped_steps is {train.max_skipped_steps}."
            " The last good checkpoint is kept; try a smaller train.learning_rate"
        )


def _note_epoch(
    training: Training, store: CropStore, train: TrainParams, loss: float, pace: float
) -> None:
    """Add one line to the curve: loss, learning rate, and the error on ``val`` in crop pixels."""
    line = {
        "epoch": training.epoch,
        "loss": loss,
        "learning_rate": float(training.rate),
        "seconds": training.seconds,
        "faces_seen": training.faces_seen,
        "faces_per_second": pace,
    }
    watched = store.rows("val")
    images, target = store.images(watched), store.points_crop(watched)
    points = np.empty_like(target)
    if len(watched):
        shipped = fold(training.average, train.net, store.num_keypoints).to(training.rate.device)
        points, _ = predict_all(torch_predict(shipped), images, 128)
        line["val_crop_px"] = float(np.nanmean(point_errors(points, target)))
    training.curve.append(line)
    LOGGER.info("%s", json.dumps(line))
    notify_epoch(EpochEnd(tuple(training.curve), images, points, target))


def _finish(
    training: Training, store: CropStore, train: TrainParams, out_dir: Path
) -> dict[str, Any]:
    net = fold(training.average, train.net, store.num_keypoints)
    about = NetDescription(
        net=train.net,
        num_keypoints=store.num_keypoints,
        regions=dict(store.scheme.regions),
        dataset=store.dataset,
        box_scale=store.box_scale,
        confidence="learned" if net.learned_confidence else "peak",
        confidence_px=train.confidence_px if net.learned_confidence else None,
        parameters=sum(p.numel() for p in net.parameters()),
    )
    save_net(net, about, out_dir)
    save_trainable(training.average, out_dir)
    lines = "".join(json.dumps(line) + "\n" for line in training.curve)
    (out_dir / "curve.jsonl").write_text(lines, encoding="utf-8")
    for leftover in out_dir.glob("checkpoint*"):
        leftover.unlink()
    summary: dict[str, Any] = encode(about)
    return summary | {
        "epochs": training.epoch,
        "faces_seen": training.faces_seen,
        "minutes": training.seconds / 60,
        "skipped_steps": training.skipped,
        "loss": training.curve[-1]["loss"],
        "val_crop_px": training.curve[-1].get("val_crop_px"),
    }


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_ALL = 2**30
_USUAL_MMAP, _USUAL_TRIM = 32 * 2**20, 64 * 2**20  # the largest values that glibc sets itself


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory in the process until the end of the context; only with glibc."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_TRIM_THRESHOLD, _ALL)
    libc.mallopt(_MMAP_THRESHOLD, _ALL)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        libc.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        libc.malloc_trim(0)
