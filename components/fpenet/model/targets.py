"""What a training step makes smaller: where the points should be, and who says so.

The labels say it; with ``elt_weight`` the averaged net does too, of the face before it was moved;
with ``teacher_weight`` a larger net does, of the face as it is moved. Weights are shares of the
whole batch, so that parts of it may be answered one after the other, or by several processes.
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
    """Where points should be.

    Attributes:
        points: (N, K, 2) crop pixels; NaN only where the weight is 0.
        weight: (N, K).
        heatmaps: the shape of the heat maps counts too.
    """

    points: Tensor
    weight: Tensor
    heatmaps: bool


@dataclass(frozen=True, slots=True)
class TrainTargets:
    """What is wanted of the answer to a batch.

    Attributes:
        targets: who says where the points are.
        judged: (N, K) share of each labelled point in the loss of the confidence.
        points: (N, K, 2) labels. visible: (N, K) bool.
    """

    targets: tuple[Target, ...]
    judged: Tensor
    points: Tensor
    visible: Tensor

    def of(self, faces: slice) -> "TrainTargets":
        """The same of some faces of the batch."""
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
    """What is wanted of the net for ``batch``; this process has its share of it."""
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
    """Equivariant landmark transformation (Honari 2018, eq. 4): no label is asked for.

    What the averaged net says of the plain crop, moved as the view was, is what the net should say
    of the view; each face has a map of its own. Points that the view moves out do not count.
    """
    assert batch.plain is not None
    assert batch.view is not None
    said, _ = average(batch.plain / GREY_LEVELS)
    target = batch.view.points(said, CROP_PX, scheme)
    return Target(target, _shares(_inside(target), share), heatmaps=False)


def _inside(points: Tensor) -> Tensor:
    return ((points > -0.5) & (points < CROP_PX - 0.5)).all(-1)


def _shares(counts: Tensor, total: float) -> Tensor:
    """(N, K): ``total``, shared by the points of the whole batch that count."""
    return counts * (total / summed(counts.sum()).clamp(min=1))


def objective(answer: NetOutput, expected: TrainTargets, train: TrainParams) -> Tensor:
    """The part that these faces have in the loss of the whole batch."""
    loss = answer.points.new_zeros(())
    for target in expected.targets:
        loss = loss + coordinate_loss(answer.points, target.points, target.weight, train)
        if target.heatmaps and train.heatmap_weight > 0:
            shape = heatmap_loss(answer, target.points, target.weight, train)
            loss = loss + train.heatmap_weight * shape
    if train.confidence_weight > 0 and answer.logits is not None:
        right = confidence_loss(answer, expected.points, expected.judged, expected.visible, train)
        loss = loss + train.confidence_weight * right
    return loss
