"""Nets, soft-argmax and losses against published counts and hand values."""

import math
from collections.abc import Callable

import pytest
import torch

from fpenet.keypoints import SCHEMES, scheme_for
from fpenet.model.checkpoint import fold
from fpenet.model.losses import (
    HEATMAP_LOSSES,
    LOSSES,
    confidence_loss,
    coordinate_loss,
    heatmap_loss,
    point_weights,
)
from fpenet.model.nets.read_maps import ReadMaps
from fpenet.model.nets.recombinator import NETS, NetOutput, build_net
from fpenet.model.nets.soft_argmax import SoftArgmax
from fpenet.params import Params, TrainParams


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("base", 576_144), ("release", 510_608), ("public", 571_984), ("base_5x5", 1_096_272)],
)
def test_variants_have_the_original_s_parameter_counts(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in build_net(name, 80).parameters()) == parameters


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("num_keypoints", [10, 68])
def test_every_net_answers_in_crop_pixels(name: str, num_keypoints: int) -> None:
    points, confidence = build_net(name, num_keypoints).eval()(torch.rand(2, 1, 80, 80) * 255)
    assert points.shape == (2, num_keypoints, 2)
    assert bool(((points >= -2.5) & (points <= 81.5)).all())
    assert bool(((confidence >= 0) & (confidence <= 1)).all())


@pytest.mark.parametrize(("size", "stride"), [(80, 1), (40, 2), (20, 4)])
def test_soft_argmax_finds_the_peak(size: int, stride: int) -> None:
    heatmaps = torch.zeros(1, 1, size, size)
    heatmaps[0, 0, 7, 11] = 1000.0  # row 7, column 11
    for unbiased in (False, True):
        points, cells = SoftArgmax(1, size, stride, 1.0, unbiased)(heatmaps)
        assert points[0, 0].tolist() == [(11 + 0.5) * stride - 0.5, (7 + 0.5) * stride - 0.5]
        assert cells.amax().item() == pytest.approx(1.0)


def test_a_flat_heat_map_points_at_the_crop_s_centre() -> None:
    for unbiased in (False, True):
        points, cells = SoftArgmax(1, 40, 2, 1.0, unbiased)(torch.zeros(1, 1, 40, 40))
        assert points[0, 0].tolist() == pytest.approx([39.5, 39.5], abs=1e-3)
        assert cells.amax().item() == pytest.approx(1 / 1600)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_are_read_in_training_as_by_the_net_that_ships(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    maps = torch.randn(3, 10, 6, 6).contiguous(memory_format=layout)
    weights = torch.randn(3, 5, 12), torch.randn(3, 5)

    def plainly(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cells = maps[:, :5].flatten(2).softmax(2)
        return SoftArgmax(5, 6, 2, 1.0).marginals(cells), (cells * maps[:, 5:].flatten(2)).sum(2)

    seen = []
    for read in (plainly, ReadMaps.apply):
        given = maps.clone(memory_format=torch.preserve_format).requires_grad_()
        said = read(given)
        loss = (said[0] * weights[0]).sum() + (said[1] * weights[1]).sum()
        seen.append((*said, *torch.autograd.grad(loss, given)))
    for mine, wanted in zip(*seen, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["base", "small"])
def test_the_net_says_the_same_to_losses_as_to_users(name: str) -> None:
    torch.manual_seed(0)
    net = build_net(name, 5, batch_norm=True).eval()
    images = torch.rand(2, 1, 80, 80)
    answer = net.outputs(images)
    points, confidence = net(images)
    torch.testing.assert_close(answer.points, points, rtol=1e-4, atol=1e-3)
    if answer.logits is not None:
        torch.testing.assert_close(answer.logits.sigmoid(), confidence, rtol=1e-4, atol=1e-4)


@pytest.fixture
def train(params_with: Callable[..., Params]) -> Callable[..., TrainParams]:
    def load(**overrides: object) -> TrainParams:
        return params_with({f"train.{key}": value for key, value in overrides.items()}).train

    return load


def test_losses_are_the_original_s_over_its_factors(train: Callable[..., TrainParams]) -> None:
    batch, keypoints = 4, 80
    target, pred = torch.ones(batch, keypoints, 2), torch.zeros(batch, keypoints, 2)
    counts = torch.ones(batch, keypoints).bool()
    weight = point_weights(scheme_for(keypoints), counts, None)
    mean = {name: float(coordinate_loss(pred, target, weight, train(loss=name))) for name in LOSSES}
    assert mean["l1"] * batch == pytest.approx(4.0)
    assert mean["square_euclidean"] * batch == pytest.approx(4.0)
    assert mean["wing"] * 2 * keypoints * 0.01 == pytest.approx(6.48744, abs=1e-4)
    # |e| = 1 is above 0.5: 10 ln(1 + 1/2) + 0.5 - 10 ln(1 + 0.5/2)
    assert mean["soft_wing"] == pytest.approx(10 * math.log(1.5) + 0.5 - 10 * math.log(1.25))


@pytest.mark.parametrize(("name", "turn"), [("wing", 10.0), ("soft_wing", 0.5)])
def test_a_loss_of_two_pieces_is_continuous(
    train: Callable[..., TrainParams], name: str, turn: float
) -> None:
    values = LOSSES[name](torch.tensor([turn - 1e-4, turn + 1e-4]), train(loss=name))
    assert values[0] == pytest.approx(values[1].item(), abs=1e-3)
    assert values[0].item() == pytest.approx(
        {"wing": 10 * math.log(6), "soft_wing": 0.5}[name], abs=1e-3
    )


def test_hidden_and_unlabelled_points_give_no_loss_and_no_gradient(
    train: Callable[..., TrainParams],
) -> None:
    pred = torch.zeros(1, 68, 2, requires_grad=True)
    marginals = torch.full((1, 68, 80), 1 / 40, requires_grad=True)
    answer = NetOutput(pred, None, marginals)
    target = torch.full((1, 68, 2), float("nan"))
    weight = point_weights(scheme_for(68), torch.zeros(1, 68).bool(), None)
    for name in LOSSES:
        value = coordinate_loss(pred, target, weight, train(loss=name))
        (gradient,) = torch.autograd.grad(value, pred)
        assert value.item() == 0.0
        assert torch.equal(gradient, torch.zeros_like(gradient))
    for name in HEATMAP_LOSSES:
        value = heatmap_loss(answer, target, weight, train(heatmap_loss=name))
        (gradient,) = torch.autograd.grad(value, marginals)
        assert value.item() == 0.0
        assert torch.equal(gradient, torch.zeros_like(gradient))


def gaussian(x: float, y: float, sigma: float, size: int, stride: int) -> torch.Tensor:
    """(1, 1, size, size) logits of a Gaussian about (x, y), all in crop pixels."""
    places = (torch.arange(size) + 0.5) * stride - 0.5
    across, down = ((places - at) ** 2 / (2 * sigma**2) for at in (x, y))
    return -(down[:, None] + across)[None, None]


@pytest.mark.parametrize(("size", "stride"), [(80, 1), (40, 2), (20, 4)])
@pytest.mark.parametrize("sigma", [2.0, 3.0, 4.0, 6.0])
def test_a_gaussian_at_the_border_is_not_pulled_inside(
    size: int, stride: int, sigma: float
) -> None:
    decode = SoftArgmax(1, size, stride, beta=1.0, unbiased=True)
    plain = SoftArgmax(1, size, stride, beta=1.0)
    pulled, left = 0.0, 0.4 if stride < 4 else 1.3
    for x, y in [(40.2, 33.7), (5.0, 40.0), (1.7, 78.0), (0.0, 0.0), (79.0, 12.3), (76.1, 79.0)]:
        heatmaps, wanted = gaussian(x, y, sigma, size, stride), torch.tensor([x, y])
        found, _ = decode(heatmaps)
        assert (found[0, 0] - wanted).abs().max().item() < left
        pulled = max(pulled, (plain(heatmaps)[0][0, 0] - wanted).abs().max().item())
    assert pulled > 0.5 * sigma  # what the plain mean is off by


def test_heat_map_losses_are_least_at_the_gaussian_that_is_wanted(
    train: Callable[..., TrainParams],
) -> None:
    target, weight = torch.tensor([[[30.3, 51.0]]]), torch.ones(1, 1)
    for name, least in (("js", 0.0), ("cross_entropy", None)):
        params = train(heatmap_loss=name, heatmap_sigma_px=2.5)
        values = []
        for x, sigma in ((30.3, 2.5), (30.3, 3.5), (30.3, 1.5), (33.3, 2.5)):
            cells = gaussian(x, 51.0, sigma, 40, 2).flatten(2).softmax(2)
            answer = NetOutput(target, None, SoftArgmax(1, 40, 2, 1.0).marginals(cells))
            values.append(heatmap_loss(answer, target, weight, params).item())
        assert min(values) == values[0]
        if least is not None:
            assert values[0] == pytest.approx(least, abs=1e-6)
            assert 0.0 < max(values) < math.log(2)


def test_the_confidence_is_asked_for_visible_and_rightly_placed_points(
    train: Callable[..., TrainParams],
) -> None:
    points = torch.tensor([[[10.0, 10.0], [20.0, 20.0], [30.0, 30.0], [40.0, 40.0]]])
    target = torch.tensor([[[13.0, 10.0], [20.0, 25.0], [30.0, 30.0], [math.nan, math.nan]]])
    visible = torch.tensor([[True, True, False, False]])
    logits = torch.tensor([[3.0, -3.0, -3.0, 50.0]])  # right: near; far; hidden; unlabelled
    answer = NetOutput(points, logits, torch.zeros(1, 4, 80))
    labelled = torch.isfinite(target).all(-1)
    weight = labelled / labelled.sum()
    value = confidence_loss(answer, target, weight, visible, train(confidence_px=4.0))
    assert value.item() == pytest.approx(math.log1p(math.exp(-3.0)), abs=1e-6)


@pytest.mark.parametrize(
    "num_keypoints", [count for count, scheme in SCHEMES.items() if scheme.of_fpenet]
)
def test_region_weights_share_the_loss_as_they_say(num_keypoints: int) -> None:
    scheme = scheme_for(num_keypoints)
    shares = {"eyes": 0.5, "mouth": 0.3, "face": 0.2}
    weight = point_weights(scheme, torch.ones(3, num_keypoints).bool(), shares)
    assert weight.sum().item() == pytest.approx(1.0)
    for name, share in shares.items():
        assert weight[:, list(scheme.loss_groups[name])].sum().item() == pytest.approx(share)


def test_a_region_that_the_scheme_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"\['eyes'\]"):
        point_weights(scheme_for(10), torch.ones(1, 10).bool(), {"eyes": 0.5, "face": 0.5})


def test_the_folded_net_gives_the_trained_net_s_points() -> None:
    torch.manual_seed(0)
    net = build_net("small", 12, batch_norm=True).train()
    assert net.log_temperature is not None
    net.log_temperature.data.fill_(0.7)
    images = torch.rand(8, 1, 80, 80)
    net(images)
    net.eval()
    with torch.no_grad():
        expected, sure = net(images)
        found, confidence = fold(net, "small", 12)(images * 255)
    assert torch.allclose(found, expected, atol=1e-3)
    assert torch.allclose(confidence, sure, atol=1e-4)
