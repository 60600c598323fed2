"""Who says where points should be, with which share: small batches with known values."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fpenet.keypoints import scheme_for
from fpenet.model.augment import Batch, View
from fpenet.model.nets.recombinator import NetOutput
from fpenet.model.targets import Target, TrainTargets, targets_of, training_loss
from fpenet.params import Params, TrainParams

Load = Callable[..., TrainParams]
NAN = math.nan


@pytest.fixture
def train(params_with: Callable[..., Params]) -> Load:
    """params.yaml's section train with some keys changed."""

    def load(**settings: object) -> TrainParams:
        return params_with({f"train.{key}": value for key, value in settings.items()}).train

    return load


class PointsByLevel(nn.Module):
    """Points (N, K, 2) that are as far from those given as the image is from its full level."""

    def __init__(self, points: Tensor, full: float) -> None:
        super().__init__()
        self.points, self.full = points, full

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 80, 80) to points and confidence."""
        share = images.mean((1, 2, 3)) / self.full
        return self.points * share[:, None, None], torch.ones(self.points.shape[:2])


def batch_of(
    points: Tensor, visible: Tensor | None = None, view: View | None = None, level: float = 255.0
) -> Batch:
    """Grey images with the labels ``points`` (N, K, 2); with a view, white ones before it."""
    seen = torch.ones(points.shape[:2]).bool() if visible is None else visible
    white = torch.full((len(points), 1, 80, 80), 255.0)
    images = white * (level / 255.0)
    return Batch(images, points, seen, view, None if view is None else white)


def labels_of(batch: Batch, train: TrainParams) -> TrainTargets:
    nobody: Any = None
    return targets_of(batch, nobody, None, scheme_for(batch.points.shape[1]), train)


@pytest.mark.parametrize(
    ("mask_hidden", "weight"),
    [
        (True, [[0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]),
        (False, [[0.25, 0.25, 0.0], [0.25, 0.25, 0.0]]),
    ],
)
def test_labelled_points_share_the_loss_and_hidden_ones_only_where_not_masked(
    mask_hidden: bool, weight: list[list[float]], train: Load
) -> None:
    points = torch.full((2, 3, 2), 20.0)
    points[0, 2, 0] = NAN  # half a label is none
    points[1, 2, 1] = NAN
    visible = torch.tensor([[True, False, True], [True, False, True]])
    wanted = labels_of(batch_of(points, visible), train(mask_hidden=mask_hidden))
    (target,) = wanted.targets
    assert target.weight.tolist() == weight
    assert target.heatmaps
    torch.testing.assert_close(target.points, points, equal_nan=True)
    # The confidence is judged on hidden points too: that they are hidden is what it learns.
    assert wanted.judged.tolist() == [[0.25, 0.25, 0.0], [0.25, 0.25, 0.0]]
    assert torch.equal(wanted.visible, visible)


def test_a_batch_without_labels_has_no_share_and_no_nan(train: Load) -> None:
    wanted = labels_of(batch_of(torch.full((2, 3, 2), NAN)), train())
    assert wanted.targets[0].weight.tolist() == [[0.0] * 3] * 2
    assert wanted.judged.tolist() == [[0.0] * 3] * 2


def test_region_weights_of_the_settings_reach_the_labels(train: Load) -> None:
    shares = {"eyes": 0.6, "face": 0.4}
    points = torch.full((1, 68, 2), 20.0)
    (target,) = labels_of(batch_of(points), train(region_weights=shares)).targets
    assert target.weight[0, 36:48].tolist() == pytest.approx([0.6 / 12] * 12)
    assert target.weight[0, 48:68].tolist() == [0.0] * 20  # the mouth has no weight
    assert target.weight[0, :36].tolist() == pytest.approx([0.4 / 36] * 36)


def test_a_teacher_counts_where_its_points_are_in_the_crop(train: Load) -> None:
    inside, outside = [40.0, 40.0], [[-0.5, 40.0], [79.5, 40.0], [40.0, -0.5], [40.0, 79.5]]
    edge = [[-0.4, 79.4], [79.4, -0.4]]
    said = torch.tensor([[inside, *edge, *outside, [NAN, 40.0]]])
    teacher: Any = PointsByLevel(said, full=255.0)  # as a net that ships: levels 0..255
    nobody: Any = None
    batch = batch_of(torch.full((1, 8, 2), NAN))
    settings = train(teacher_weight=0.6)
    _, target = targets_of(batch, nobody, teacher, scheme_for(8), settings).targets
    torch.testing.assert_close(target.points, said, equal_nan=True)
    assert target.weight[0].tolist() == pytest.approx([0.2, 0.2, 0.2, *[0.0] * 5])
    assert target.heatmaps


def test_the_average_s_points_move_with_the_view_and_count_where_they_stay_inside(
    train: Load,
) -> None:
    said = torch.tensor([[[29.5, 39.5]], [[29.5, 39.5]], [[29.5, 39.5]]])
    average: Any = PointsByLevel(said, full=1.0)  # as a net in training: levels 0..1
    turned = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # a quarter, about the centre
    view = View(
        torch.stack((torch.eye(2), turned, torch.eye(2))),
        torch.tensor([[5.0, 0.0], [0.0, 0.0], [60.0, 0.0]]),
        torch.zeros(3).bool(),
    )
    points = torch.full((3, 1, 2), NAN)
    batch = batch_of(points, view=view, level=100.0)
    settings = train(elt_weight=0.5)
    _, target = targets_of(batch, average, None, scheme_for(1), settings).targets
    known = torch.tensor([[[34.5, 39.5]], [[39.5, 29.5]], [[89.5, 39.5]]])
    torch.testing.assert_close(target.points, known)
    assert target.weight.tolist() == [[0.25], [0.25], [0.0]]
    assert not target.heatmaps


def test_a_flipped_face_s_points_are_renamed_before_they_are_learnt(train: Load) -> None:
    scheme = scheme_for(68)
    assert scheme.flip_map is not None
    said = torch.arange(68.0)[None, :, None] * torch.tensor([1.0, 0.5]) + 5
    average: Any = PointsByLevel(said, full=1.0)
    mirror = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]])
    view = View(mirror, torch.zeros(1, 2), torch.ones(1).bool())
    batch = batch_of(torch.full((1, 68, 2), NAN), view=view, level=100.0)
    _, target = targets_of(batch, average, None, scheme, train(elt_weight=0.5)).targets
    x, y = said[0, scheme.flip_map[36]].tolist()
    assert target.points[0, 36].tolist() == pytest.approx([79 - x, y], abs=1e-4)


def test_the_same_of_some_faces_is_theirs_alone() -> None:
    points = torch.arange(16.0).view(4, 2, 2)
    weight = torch.arange(8.0).view(4, 2)
    visible = torch.tensor([[True, False], [False, False], [True, True], [False, True]])
    targets = (Target(points, weight, True), Target(points + 1, weight + 1, False))
    part = TrainTargets(targets, weight + 2, points + 3, visible).of(slice(1, 3))
    first, second = part.targets
    assert torch.equal(first.points, points[1:3])
    assert torch.equal(first.weight, weight[1:3])
    assert torch.equal(second.points, points[1:3] + 1)
    assert torch.equal(second.weight, weight[1:3] + 1)
    assert (first.heatmaps, second.heatmaps) == (True, False)
    assert torch.equal(part.judged, weight[1:3] + 2)
    assert torch.equal(part.points, points[1:3] + 3)
    assert torch.equal(part.visible, visible[1:3])


@pytest.mark.parametrize(
    ("heatmap_weight", "confidence_weight", "learned"),
    [(10.0, 0.1, True), (0.0, 0.1, True), (10.0, 0.0, True), (2.0, 0.5, False)],
)
def test_the_loss_is_the_sum_of_its_parts_by_their_weights(
    heatmap_weight: float, confidence_weight: float, learned: bool, train: Load
) -> None:
    settings = train(
        loss="l1",
        heatmap_loss="cross_entropy",
        heatmap_weight=heatmap_weight,
        confidence_weight=confidence_weight,
    )
    points = torch.full((1, 2, 2), 40.0)
    # Flat marginals of 40 cells: a cross entropy of ln 40. Logits of 0: one of ln 2.
    marginals = torch.full((1, 2, 80), 1 / 40)
    answer = NetOutput(points, torch.zeros(1, 2) if learned else None, marginals)
    half = torch.full((1, 2), 0.5)
    wanted = TrainTargets(
        (
            Target(points + 3, half, heatmaps=True),
            Target(points - 5, 0.5 * half, heatmaps=False),
            Target(points + 7, 0.25 * half, heatmaps=True),
        ),
        0.25 * half,
        points + 3,
        torch.tensor([[True, False]]),
    )
    errors = 3 + 0.5 * 5 + 0.25 * 7
    shapes = heatmap_weight * (1 + 0.25) * math.log(40)
    right = confidence_weight * 0.25 * math.log(2) if learned else 0.0
    value = training_loss(answer, wanted, settings).item()
    assert value == pytest.approx(errors + shapes + right, rel=1e-5)
