"""Losses and weights of points against values from a hand's calculation."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fpenet.keypoints import KeypointScheme, scheme_for
from fpenet.model.losses import (
    LOSSES,
    confidence_loss,
    coordinate_loss,
    cross_entropy,
    heatmap_loss,
    js_divergence,
    point_weights,
)
from fpenet.model.nets.recombinator import NetOutput
from fpenet.params import Params, TrainParams

Load = Callable[..., TrainParams]
NAN = math.nan


@pytest.fixture
def train(params_with: Callable[..., Params]) -> Load:
    """params.yaml's section train with some keys changed."""

    def load(**settings: object) -> TrainParams:
        return params_with({f"train.{key}": value for key, value in settings.items()}).train

    return load


# Wing: 10 ln(1 + e / 2) below 10, e - (10 - 10 ln 6) above. Soft Wing: e below 0.5, above it
# 10 ln(1 + e / 2) + 0.5 - 10 ln 1.25.
VALUES = {
    "l1": {0.25: 0.25, 3.0: 3.0, 12.0: 12.0},
    "square_euclidean": {0.25: 0.0625, 3.0: 9.0, 12.0: 144.0},
    "wing": {0.25: 1.177830, 3.0: 9.162907, 12.0: 19.917595},
    "soft_wing": {0.25: 0.25, 3.0: 7.431472, 12.0: 17.727666},
}


@pytest.mark.parametrize("name", VALUES)
def test_each_loss_has_its_formula_s_value(name: str, train: Load) -> None:
    assert VALUES.keys() == LOSSES.keys()
    settings = train(loss=name, wing_w=10.0, wing_epsilon=2.0, wing_inner=0.5)
    errors, known = zip(*VALUES[name].items(), strict=True)
    for sign in (1.0, -1.0):  # on either side of the label
        for error, value in zip(errors, known, strict=True):
            target = torch.full((1, 1, 2), 40.0)
            pred, weight = target + sign * error, torch.ones(1, 1)
            found = coordinate_loss(pred, target, weight, settings).item()
            assert found == pytest.approx(value, abs=1e-5)


def test_a_loss_is_a_mean_over_x_and_y_and_a_weighted_sum_over_points(train: Load) -> None:
    target = torch.tensor([[[10.0, 10.0], [20.0, 20.0], [NAN, NAN]]])
    pred = torch.tensor([[[11.0, 13.0], [20.0, 26.0], [5.0, 5.0]]])
    weight = torch.tensor([[0.75, 0.25, 0.0]])
    value = coordinate_loss(pred, target, weight, train(loss="l1"))
    assert value.item() == pytest.approx(0.75 * (1 + 3) / 2 + 0.25 * (0 + 6) / 2)


def test_divergences_have_their_formula_s_values() -> None:
    half, sure = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    # About the middle (0.75, 0.25): 0.5 ln(2/3) + 0.5 ln 2 = 0.143841, and ln(4/3) = 0.287682.
    assert js_divergence(half, sure).item() == pytest.approx(0.215762, abs=1e-6)
    assert js_divergence(sure, half).item() == pytest.approx(0.215762, abs=1e-6)
    assert js_divergence(sure, 1 - sure).item() == pytest.approx(math.log(2), abs=1e-6)
    pred = torch.tensor([0.25, 0.75])
    assert cross_entropy(pred, sure).item() == pytest.approx(1.386294, abs=1e-6)
    assert cross_entropy(pred, half).item() == pytest.approx(0.836988, abs=1e-6)


def gaussian(center: float, sigma: float, cells: int) -> list[float]:
    """Probabilities of ``cells`` cells of an axis of 80 pixels, by a loop."""
    stride = 80 / cells
    places = [(cell + 0.5) * stride - 0.5 for cell in range(cells)]
    density = [math.exp(-0.5 * ((place - center) / sigma) ** 2) for place in places]
    return [one / sum(density) for one in density]


@pytest.mark.parametrize("cells", [20, 40])
def test_a_heat_map_is_compared_with_a_gaussian_about_the_label(cells: int, train: Load) -> None:
    generator = torch.Generator().manual_seed(2)
    marginals = torch.rand(1, 2, 2, cells, generator=generator).softmax(-1)
    target = torch.tensor([[[12.3, 60.0], [70.0, 5.5]]])
    weight = torch.tensor([[0.75, 0.25]])
    settings = train(heatmap_loss="cross_entropy", heatmap_sigma_px=3.0)
    known = 0.0
    for point in range(2):
        for axis in range(2):  # across first, then down
            wanted = gaussian(target[0, point, axis].item(), 3.0, cells)
            seen = marginals[0, point, axis].tolist()
            entropy = -sum(w * math.log(p) for w, p in zip(wanted, seen, strict=True))
            known += weight[0, point].item() * entropy / 2
    answer = NetOutput(target, None, marginals.flatten(2))
    assert heatmap_loss(answer, target, weight, settings).item() == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "counts"),
    [
        (-0.4, 40.0, True),
        (79.4, 79.4, True),
        (-0.5, 40.0, False),
        (40.0, -0.5, False),
        (79.5, 40.0, False),
        (40.0, 79.5, False),
    ],
)
def test_a_label_outside_the_crop_has_no_heat_map(
    x: float, y: float, counts: bool, train: Load
) -> None:
    target = torch.tensor([[[x, y]]])
    answer = NetOutput(target, None, torch.full((1, 1, 80), 1 / 40))
    value = heatmap_loss(answer, target, torch.ones(1, 1), train(heatmap_loss="cross_entropy"))
    assert value.item() == pytest.approx(math.log(40) if counts else 0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("away", "visible", "right"),
    [(0.0, True, True), (4.0, True, True), (4.5, True, False), (0.0, False, False)],
)
def test_a_point_is_rightly_placed_within_the_distance_that_is_set(
    away: float, visible: bool, right: bool, train: Load
) -> None:
    points = torch.full((1, 1, 2), 40.0)
    target = points + torch.tensor([0.0, away])
    logits = torch.full((1, 1), 2.0)
    answer = NetOutput(points, logits, torch.zeros(1, 1, 80))
    seen = torch.tensor([[visible]])
    value = confidence_loss(answer, target, 0.5 * torch.ones(1, 1), seen, train(confidence_px=4.0))
    # -ln sigmoid(2) where it is right, -ln sigmoid(-2) where it is not.
    known = math.log1p(math.exp(-2.0)) if right else math.log1p(math.exp(2.0))
    assert value.item() == pytest.approx(0.5 * known, rel=1e-5)


def shares(
    scheme: KeypointScheme, counts: Tensor, weights: dict[str, float]
) -> dict[str, list[float]]:
    """The weights of a batch, by group: one list of all its points' weights."""
    weight = point_weights(scheme, counts, weights)
    return {
        name: weight[:, list(keypoints)].flatten().tolist()
        for name, keypoints in scheme.loss_groups.items()
    }


def test_every_point_that_counts_weighs_alike_without_region_weights() -> None:
    counts = torch.tensor([[True, False, True], [False, False, True]])
    weight = point_weights(scheme_for(3), counts, None)
    known = [[1 / 3, 0.0, 1 / 3], [0.0, 0.0, 1 / 3]]
    torch.testing.assert_close(weight, torch.tensor(known))


# Of 104 points, 1-based as in labels.
GROUPS_104 = {
    "eyes": [*range(37, 49), *range(81, 105)],  # with their contours
    "mouth": [*range(49, 69)],
    "pupil": [*range(69, 77)],
    "face": [*range(1, 37), *range(77, 81)],  # chin, eyebrows, nose, ears
}


def test_eye_contours_weigh_as_eyes_and_every_group_as_it_is_weighted() -> None:
    weights = {"eyes": 0.4, "mouth": 0.3, "pupil": 0.2, "face": 0.1}
    weight = point_weights(scheme_for(104), torch.ones(2, 104).bool(), weights)
    for name, numbers in GROUPS_104.items():
        for number in numbers:
            known = weights[name] / (2 * len(numbers))
            assert weight[0, number - 1].item() == pytest.approx(known), (name, number)
    assert sorted(number for group in GROUPS_104.values() for number in group) == [*range(1, 105)]


def test_a_group_s_share_is_of_the_whole_batch_and_of_the_points_that_count() -> None:
    scheme = scheme_for(68)
    counts = torch.zeros(2, 68).bool()
    counts[0, 36:48] = True  # the eyes of one face
    counts[1, 36:39] = True  # a part of one eye of the other
    counts[:, 48] = True  # one point of both mouths
    found = shares(scheme, counts, {"eyes": 0.6, "mouth": 0.4})
    assert [value for value in found["eyes"] if value] == pytest.approx([0.6 / 15] * 15)
    assert [value for value in found["mouth"] if value] == pytest.approx([0.2, 0.2])
    assert set(found["face"]) == {0.0}


def test_a_group_without_a_point_leaves_its_share_to_the_others() -> None:
    counts = torch.ones(1, 68).bool()
    counts[0, 36:48] = False
    found = shares(scheme_for(68), counts, {"eyes": 0.5, "mouth": 0.3, "face": 0.2})
    assert sum(found["eyes"]) == 0.0
    assert sum(found["mouth"]) == pytest.approx(0.6)
    assert sum(found["face"]) == pytest.approx(0.4)


def test_a_weight_of_nothing_for_a_group_that_is_absent_is_no_error() -> None:
    weight = point_weights(scheme_for(68), torch.ones(1, 68).bool(), {"pupil": 0.0, "face": 1.0})
    assert weight.sum().item() == pytest.approx(1.0)
