"""Nets, soft-argmax and losses against published counts and hand values."""

import math

import pytest
import torch

from components.keypoints import SCHEMES, scheme_for
from components.model.checkpoint import fold
from components.model.losses import LOSSES, point_weights
from components.model.recombinator import NETS, build_net
from components.model.soft_argmax import SoftArgmax


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
    assert bool(((points >= 0) & (points <= 79)).all())
    assert bool(((confidence > 0) & (confidence <= 1)).all())


@pytest.mark.parametrize(("size", "stride"), [(80, 1), (40, 2)])
def test_soft_argmax_finds_the_peak(size: int, stride: int) -> None:
    heatmaps = torch.zeros(1, 1, size, size)
    heatmaps[0, 0, 7, 21] = 1000.0  # row 7, column 21
    points, confidence = SoftArgmax(size, size, stride, beta=1.0)(heatmaps)
    assert points[0, 0].tolist() == [(21 + 0.5) * stride - 0.5, (7 + 0.5) * stride - 0.5]
    assert confidence.item() == pytest.approx(1.0)


def test_a_flat_heat_map_points_at_the_crop_s_centre() -> None:
    points, confidence = SoftArgmax(40, 40, 2, beta=1.0)(torch.zeros(1, 1, 40, 40))
    assert points[0, 0].tolist() == pytest.approx([39.5, 39.5], abs=1e-3)
    assert confidence.item() == pytest.approx(1 / 1600)


def test_losses_are_the_original_s_over_its_factors() -> None:
    batch, keypoints = 4, 80
    target, pred = torch.ones(batch, keypoints, 2), torch.zeros(batch, keypoints, 2)
    counts = torch.ones(batch, keypoints).bool()
    weight = point_weights(scheme_for(keypoints), counts, None)
    mean = {name: float(loss(pred, target, weight, 10.0, 2.0)) for name, loss in LOSSES.items()}
    assert mean["l1"] * batch == pytest.approx(4.0)
    assert mean["square_euclidean"] * batch == pytest.approx(4.0)
    assert mean["wing"] * 2 * keypoints * 0.01 == pytest.approx(6.48744, abs=1e-4)


def test_wing_is_continuous_where_it_turns_linear() -> None:
    weight = torch.ones(1, 1)
    below, above = (
        float(LOSSES["wing"](torch.full((1, 1, 2), e), torch.zeros(1, 1, 2), weight, 10.0, 2.0))
        for e in (9.9999, 10.0001)
    )
    assert below == pytest.approx(10 * math.log(6), abs=1e-3)
    assert above == pytest.approx(below, abs=1e-3)


def test_hidden_and_unlabelled_points_give_no_loss_and_no_gradient() -> None:
    pred = torch.zeros(1, 68, 2, requires_grad=True)
    target = torch.full((1, 68, 2), float("nan"))
    weight = point_weights(scheme_for(68), torch.zeros(1, 68).bool(), None)
    for loss in LOSSES.values():
        value = loss(pred, target, weight, 10.0, 2.0)
        assert value.item() == 0.0
        (gradient,) = torch.autograd.grad(value, pred)
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("num_keypoints", SCHEMES)
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
    images = torch.rand(8, 1, 80, 80)
    net(images)
    net.eval()
    with torch.no_grad():
        expected, _ = net(images)
        found, _ = fold(net, "small", 12)(images * 255)
    assert torch.allclose(found, expected, atol=1e-3)
