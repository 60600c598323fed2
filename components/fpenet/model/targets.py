"""Targets of a training step, and its loss.

Target points come from the labels; with ``elt_weight`` also from the averaged net on the crop
before augmentation; with ``teacher_weight`` also from a larger net on the augmented crop. Weights
are fractions of the whole batch, so that its parts can be processed one after the other, or by
several processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fpenet.data.crops.store import CROP_PX
from fpenet.keypoints import KeypointScheme
from fpenet.model.augment import Batch
from fpenet.model.distributed import summed
from fpenet.model.losses import confidence_loss, coordinate_loss, heatmap_loss, point_weights
from fpenet.model.nets.recombinator import GREY_LEVELS, NetOutput, Recombinator
from fpenet.params import TrainParams


@dataclass(frozen=True, slots=True)
class Target:
    """Target points and their weights from one source.

    Attributes:
        points: (N, K, 2) crop pixels; NaN only where the weight is 0.
        weight: (N, K).
        heatmaps: whether the heat-map loss applies too.
    """

    points: Tensor
    weight: Tensor
    heatmaps: bool


@dataclass(frozen=True, slots=True)
class TrainTargets:
    """All targets of a batch.

    Attributes:
        targets: target points of labels, ELT and teacher.
        judged: (N, K) weight of each labelled point in the confidence loss.
        points: (N, K, 2) labels. visible: (N, K) bool.
    """

    targets: tuple[Target, ...]
    judged: Tensor
    points: Tensor
    visible: Tensor

    def of(self, faces: slice) -> "TrainTargets":
        """The targets of a part of the batch."""
        return TrainTargets(
            tuple(Target(t.points[faces], t.weight[faces], t.heatmaps) for t in self.targets),
            self.judged[faces],
            self.points[faces],
            self.visible[faces],
        )


@torch.no_grad()
def targets_of(
    batch: Batch,
    average: Recombinator,
    teacher: Recombinator | None,
    scheme: KeypointScheme,
    train: TrainParams,
) -> TrainTargets:
    """The targets of ``batch``, which is this process's share of the whole batch."""
    labelled = torch.isfinite(batch.points).all(-1)
    counts = labelled & batch.visible if train.mask_hidden else labelled
    weight = point_weights(scheme, counts, train.region_weights)
    targets = [Target(batch.points, weight, heatmaps=True)]
    if train.elt_weight > 0:
        targets.append(_equivariant(batch, average, scheme, train.elt_weight))
    if teacher is not None:
        points, _ = teacher(batch.images)
        targets.append(Target(points, _shares(_inside(points), train.teacher_weight), True))
    return TrainTargets(tuple(targets), _shares(labelled, 1.0), batch.points, batch.visible)


def _equivariant(
    batch: Batch, average: Recombinator, scheme: KeypointScheme, share: float
) -> Target:
    """Equivariant landmark transformation (Honari 2018, eq. 4); needs no labels.

    The target is the averaged net's prediction on the crop without augmentation, mapped by the
    affine map of the view; each face has its own map. Points outside the view have weight 0.
    """
    assert batch.plain is not None
    assert batch.view is not None
    predicted, _ = average(batch.plain / GREY_LEVELS)
    target = batch.view.points(predicted, CROP_PX, scheme)
    return Target(target, _shares(_inside(target), share), heatmaps=False)


def _inside(points: Tensor) -> Tensor:
    return ((points > -0.5) & (points < CROP_PX - 0.5)).all(-1)


def _shares(counts: Tensor, total: float) -> Tensor:
    """(N, K) weights: ``total`` divided equally over the counting points of the whole batch."""
    return counts * (total / summed(counts.sum()).clamp(min=1))


def training_loss(output: NetOutput, targets: TrainTargets, train: TrainParams) -> Tensor:
    """(), the contribution of these faces to the loss of the whole batch."""
    loss = output.points.new_zeros(())
    for target in targets.targets:
        loss = loss + coordinate_loss(output.points, target.points, target.weight, train)
        if target.heatmaps and train.heatmap_weight > 0:
            shape = heatmap_loss(output, target.points, target.weight, train)
            loss = loss + train.heatmap_weight * shape
    if train.confidence_weight > 0 and output.logits is not None:
        confidence = confidence_loss(output, targets.points, targets.judged, targets.visible, train)
        loss = loss + train.confidence_weight * confidence
    return loss
