"""One step of a training: draw a batch, move the weights, move their average.

Input: rows of the crop store and the state of a run. Output: the loss of the step.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.data.crop_store import CROP_PX, CropStore
from components.keypoints import KeypointScheme
from components.model.augment import Batch, augment_batch, softened
from components.model.checkpoint import GREY_LEVELS
from components.model.losses import (
    confidence_loss,
    coordinate_loss,
    heatmap_loss,
    point_weights,
)
from components.model.recombinator import Answer, Recombinator, build_net
from components.params import TrainParams
from components.stopping import Diverged


@dataclass(frozen=True, slots=True)
class EpochSoFar:
    """Where a run was stopped within an epoch: steps done, their losses, the chance to come."""

    steps: int
    losses: list[float]
    random: Tensor


@dataclass(slots=True)
class Training:
    """The state of a run: what a checkpoint holds."""

    net: Recombinator
    average: Recombinator
    optimizer: torch.optim.AdamW
    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0
    skipped: int = 0
    faces_seen: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    so_far: EpochSoFar | None = None


def start(train: TrainParams, num_keypoints: int) -> Training:
    """Fresh weights, and an optimiser that decays matrices and kernels only."""
    net = build_net(train.net, num_keypoints, batch_norm=True)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = build_net(train.net, num_keypoints, batch_norm=True)
    average.load_state_dict(net.state_dict())
    average.eval()  # it is never trained itself
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": train.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=train.learning_rate,
        fused=True,
    )
    return Training(net, average, optimizer)


def learning_rate(done: float, train: TrainParams) -> float:
    """The rate at the fraction ``done`` of the run: linear warm-up, flat, then a half cosine."""
    if done < train.warmup_fraction:
        return train.learning_rate * done / train.warmup_fraction
    flat = min(train.warmup_fraction + train.flat_fraction, 1.0)
    rest = max(done - flat, 0.0) / max(1.0 - flat, 1e-9)
    span = train.learning_rate - train.min_learning_rate
    return train.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


def draw_batch(
    store: CropStore,
    rows: NDArray[np.int64],
    scheme: KeypointScheme,
    train: TrainParams,
    random: torch.Generator,
    done: float = 0.0,
) -> Batch:
    """Augmented views of the faces in ``rows`` (N,) at the fraction ``done`` of the run."""
    chosen = np.sort(rows)
    strength = train.weak_strength if done > 1.0 - train.weak_fraction else 1.0
    batch = augment_batch(
        torch.from_numpy(np.asarray(store.crops[chosen])),
        torch.from_numpy(store.points_store[chosen]),
        torch.from_numpy(store.visible(chosen)),
        scheme,
        softened(train.augment, strength),
        random,
    )
    if train.elt_weight > 0:
        batch = replace(batch, plain=torch.from_numpy(store.images(chosen)).float())
    return batch


def objective(answer: Answer, batch: Batch, scheme: KeypointScheme, train: TrainParams) -> Tensor:
    """What a step makes smaller: the losses that have a weight."""
    labelled = torch.isfinite(batch.points).all(-1)
    counts = labelled & batch.visible if train.mask_hidden else labelled
    weight = point_weights(scheme, counts, train.region_weights)
    loss = coordinate_loss(answer.points, batch.points, weight, train)
    if train.heatmap_weight > 0:
        loss = loss + train.heatmap_weight * heatmap_loss(answer.cells, batch.points, weight, train)
    if train.confidence_weight > 0 and answer.logits is not None:
        right = confidence_loss(answer, batch.points, labelled, batch.visible, train)
        loss = loss + train.confidence_weight * right
    return loss


def equivariance_loss(
    training: Training, answer: Answer, batch: Batch, scheme: KeypointScheme, train: TrainParams
) -> Tensor:
    """Equivariant landmark transformation (Honari 2018, eq. 4): no label is asked for.

    What the averaged net says of the plain crop, moved as the view was, is what the net should say
    of the view; each face has a map of its own. Points that the view moves out do not count.
    """
    assert batch.plain is not None
    assert batch.view is not None
    with torch.no_grad():
        said, _ = training.average(batch.plain / GREY_LEVELS)
        target = batch.view.points(said, CROP_PX, scheme)
    inside = ((target > -0.5) & (target < CROP_PX - 0.5)).all(-1)
    weight = inside.float() / inside.sum().clamp(min=1)
    return coordinate_loss(answer.points, target, weight, train)


def take_step(
    training: Training, batch: Batch, scheme: KeypointScheme, train: TrainParams, rate: float
) -> float | None:
    """One optimiser step at the learning ``rate``; returns its loss.

    Returns:
        None where the loss or its gradient was not finite: the weights and the statistics of the
        batch norm stay as they were.

    Raises:
        Diverged: that happened more than ``max_skipped_steps`` times.
    """
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    images = batch.images.contiguous(memory_format=torch.channels_last) / GREY_LEVELS
    statistics = [buffer.clone() for buffer in training.net.buffers()]
    with torch.autocast("cpu", torch.bfloat16, enabled=_computes_bf16(train)):
        answer = training.net.answer(images)
    loss = objective(answer, batch, scheme, train)
    if train.elt_weight > 0:
        loss = loss + train.elt_weight * equivariance_loss(training, answer, batch, scheme, train)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(training.net.parameters(), train.gradient_clip)
    spread = sum(b.sum() for b in training.net.buffers() if b.is_floating_point())
    if not torch.isfinite(loss + norm + spread):
        training.skipped += 1
        for buffer, before in zip(training.net.buffers(), statistics, strict=True):
            buffer.copy_(before)
        if training.skipped > train.max_skipped_steps:
            raise Diverged(
                f"loss or gradient was not finite in {training.skipped} steps, the last in epoch"
                f" {training.epoch + 1}; train.max_skipped_steps is {train.max_skipped_steps}."
                " The last good checkpoint is kept; try a smaller train.learning_rate"
            )
        return None
    training.optimizer.step()
    training.steps += 1
    # A young average forgets faster, or the first weights would outlive a short run.
    decay = min(train.ema_decay, (1 + training.steps) / (10 + training.steps))
    with torch.no_grad():
        shadow = training.average.state_dict()
        for name, value in training.net.state_dict().items():
            if value.is_floating_point():
                shadow[name].lerp_(value, 1.0 - decay)
            else:
                shadow[name].copy_(value)
    return float(loss.detach())


def _computes_bf16(train: TrainParams) -> bool:
    """Whether to autocast: asked for, or the processor has bf16 instructions."""
    capabilities = torch.backends.cpu.get_cpu_capability()
    has_bf16 = "AMX" in capabilities or torch.cpu._is_avx512_bf16_supported()
    return train.precision == "bf16" or (train.precision == "auto" and has_bf16)
