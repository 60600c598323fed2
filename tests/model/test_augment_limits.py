"""Each random change of an image by itself: its limits, how often it comes, what it does."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fpenet.keypoints import scheme_for
from fpenet.model.augment import (
    Batch,
    augment_batch,
    check_flips,
    random_maps,
    reduce_resolution,
    sample_crops,
    shade,
    softened,
)
from fpenet.model.distributed import BatchRng
from fpenet.params import AugmentParams, Params

pytestmark = pytest.mark.usefixtures("one_thread")
NOTHING = AugmentParams(
    flip_probability=0.0,
    rotate_deg=0.0,
    zoom=0.0,
    shift_px=0.0,
    gamma=0.0,
    contrast=0.0,
    shade=0.0,
    noise=0.0,
    blur_probability=0.0,
    blur_px=1.2,
    sharpen_probability=0.0,
    sharpen=1.0,
    low_resolution_probability=0.0,
    low_resolution_px=32,
    patch_probability=0.0,
    patch_px=(10, 40),
    patch_hides=True,
)


def augmented(crops: Tensor, points: Tensor | None = None, **settings: Any) -> Batch:
    """Views of ``crops`` (N, 112, 112) with these settings alone, from one seed."""
    points = torch.full((len(crops), 1, 2), 55.5) if points is None else points
    visible = torch.ones(points.shape[:2]).bool()
    augment = NOTHING.model_copy(update=settings)
    scheme = scheme_for(points.shape[1])
    return augment_batch(crops, points, visible, scheme, augment, BatchRng(7))


def levels(count: int, level: int) -> Tensor:
    return torch.full((count, 112, 112), level, dtype=torch.uint8)


def stripes(count: int) -> Tensor:
    """Columns of 100 and 156 by turns, whose mean is 128."""
    columns = torch.tensor([100, 156], dtype=torch.uint8).repeat(56)
    return columns.expand(count, 112, 112).contiguous()


def test_turns_zooms_and_shifts_fill_their_limits_and_no_more() -> None:
    augment = NOTHING.model_copy(update={"rotate_deg": 20.0, "zoom": 0.25, "shift_px": 8.0})
    matrix, shift = random_maps(4000, augment, BatchRng(0))
    zoom = matrix.det().sqrt()
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]) * 180 / math.pi
    torch.testing.assert_close(matrix[:, 0, 0], matrix[:, 1, 1])  # a turn and a zoom alone
    torch.testing.assert_close(matrix[:, 0, 1], -matrix[:, 1, 0])
    for value, low, high in (
        (angle, -20.0, 20.0),
        (zoom.log(), -math.log(1.25), math.log(1.25)),
        (shift[:, 0], -8.0, 8.0),
        (shift[:, 1], -8.0, 8.0),
    ):
        width = high - low
        assert low - 1e-4 <= value.min().item() < low + 0.01 * width
        assert high - 0.01 * width < value.max().item() <= high + 1e-4
        assert abs(value.mean().item()) < 0.03 * width
    # One is no other's: x, y, angle and zoom of a face are drawn apart.
    drawn = torch.stack((angle, zoom.log(), shift[:, 0], shift[:, 1]))
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.08


def test_a_flipped_and_turned_dot_stays_under_its_label() -> None:
    generator = torch.Generator().manual_seed(3)
    points = 56 + torch.rand(48, 1, 2, generator=generator) * 30 - 15
    axis = torch.arange(112.0)
    squared = (axis[None, None] - points[:, :, :1]) ** 2 + (
        axis[None, :, None] - points[..., 1:]
    ) ** 2
    crops = (200 * torch.exp(-squared / 8)).to(torch.uint8)
    batch = augmented(crops, points, flip_probability=0.5, rotate_deg=40.0, zoom=0.1, shift_px=4.0)
    assert batch.view is not None
    assert 12 < int(batch.view.flipped.sum()) < 36
    seen = (batch.images[:, 0] - 0.03).clamp(min=0)  # gamma keeps black from being 0
    axis = torch.arange(80.0)
    total = seen.sum((1, 2))
    center = torch.stack((seen.sum(1) @ axis, seen.sum(2) @ axis), 1) / total[:, None]
    inside = ((batch.points[:, 0] > 8) & (batch.points[:, 0] < 71)).all(1)
    assert int(inside.sum()) > 30
    assert (center - batch.points[:, 0])[inside].abs().max() < 0.15


def test_beyond_the_margin_the_edge_goes_on() -> None:
    images = torch.full((1, 1, 112, 112), 90.0)
    seen = sample_crops(images, torch.eye(2)[None], torch.tensor([[70.0, -70.0]]))
    torch.testing.assert_close(seen, torch.full((1, 1, 80, 80), 90.0))


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0.0, 0, 0), (0.25, 70, 130), (1.0, 400, 400)]
)
def test_as_many_faces_are_flipped_as_the_probability_says(
    probability: float, low: int, high: int
) -> None:
    batch = augmented(levels(400, 50), flip_probability=probability)
    assert batch.view is not None
    assert low <= int(batch.view.flipped.sum()) <= high


def test_flips_are_refused_only_where_they_can_come(params_with: Callable[..., Params]) -> None:
    check_flips(scheme_for(68), params_with().train.augment)
    check_flips(scheme_for(3), NOTHING)
    with pytest.raises(ValueError, match="set it to 0"):
        check_flips(scheme_for(3), NOTHING.model_copy(update={"flip_probability": 0.1}))


def spread(values: Tensor, low: float, high: float) -> None:
    """Values that fill the range from ``low`` to ``high`` and do not leave it."""
    width = high - low
    assert low - 1e-3 * width <= values.min().item() < low + 0.05 * width
    assert high - 0.05 * width < values.max().item() <= high + 1e-3 * width


def test_gamma_is_an_exponent_of_the_level_between_its_limit_and_the_inverse() -> None:
    seen = augmented(levels(300, 51), gamma=0.4).images  # a fifth of 255
    assert (seen.amax((1, 2, 3)) - seen.amin((1, 2, 3))).max() < 1e-3
    exponent = (seen.mean((1, 2, 3)) / 255).log() / math.log(0.2)
    spread(exponent.log(), -math.log(1.4), math.log(1.4))
    assert abs(exponent.log().mean().item()) < 0.05


def test_contrast_spreads_levels_about_their_mean_and_brightness_moves_them() -> None:
    seen = augmented(stripes(300), contrast=0.3).images[:, 0]
    first, second = seen[:, :, ::2].mean((1, 2)), seen[:, :, 1::2].mean((1, 2))
    ratio = (second - first) / 56
    spread(ratio.log(), -math.log(1.3), math.log(1.3))
    moved = (first + second) / 2 - 128
    spread(moved, -0.3 * 128, 0.3 * 128)
    assert abs(torch.corrcoef(torch.stack((ratio.log(), moved)))[0, 1].item()) < 0.2


def test_noise_has_a_level_of_each_face_up_to_the_limit() -> None:
    seen = augmented(levels(200, 128), noise=6.0).images
    spread(seen.std((1, 2, 3)), 0.0, 6.0)
    assert (seen.mean((1, 2, 3)) - 128).abs().max() < 0.5
    alike = torch.corrcoef(seen[:2].flatten(1))[0, 1].item()
    assert abs(alike) < 0.05


def test_levels_stay_between_black_and_white() -> None:
    for level in (2, 253):
        seen = augmented(levels(100, level), contrast=0.5, noise=20.0).images
        assert seen.min().item() >= 0.0
        assert seen.max().item() <= 255.0
        assert seen.min().item() == 0.0 or seen.max().item() == 255.0


def test_shade_has_a_slope_of_each_face_up_to_the_limit() -> None:
    seen = augmented(levels(300, 100), shade=0.5).images[:, 0]
    row, column = seen[:, 40], seen[:, :, 40]
    for edge in (row, column):  # of the light at the far edge over that at the near one
        spread((edge[:, 79] / edge[:, 0]).log() / 2, -math.log(1.5), math.log(1.5))
    assert torch.equal(augmented(levels(2, 100)).images[0], augmented(levels(2, 100)).images[1])
    lit = shade(torch.full((1, 1, 80, 80), 100.0), torch.tensor([[0.3, 0.2]]))
    assert lit[0, 0, 79, 79].item() == pytest.approx(100 * math.exp(0.5), rel=1e-5)


def detail(batch: Batch) -> Tensor:
    """(N,) standard deviation of the columns' levels over that of the stripes."""
    return batch.images[:, 0, 40].std(1) / augmented(stripes(1)).images[0, 0, 40].std()


def test_a_face_is_blurred_or_sharpened_as_often_as_it_says_and_never_both() -> None:
    wide: dict[str, Any] = {"blur_probability": 0.25, "blur_px": 4.0}
    left = detail(augmented(stripes(400), sharpen_probability=0.5, **wide))
    blurred, sharpened = left < 0.999, left > 1.001
    assert 70 < int(blurred.sum()) < 130
    assert 150 < int(sharpened.sum()) < 225  # but for those sharpened by next to nothing
    only = detail(augmented(stripes(400), **wide))
    assert torch.equal(only < 0.999, blurred)  # the same faces
    assert int((only > 1.001).sum()) == 0


def test_a_blur_is_as_wide_as_its_limit_at_most() -> None:
    crops = torch.zeros(300, 112, 112, dtype=torch.uint8)
    crops[:, :, 56:] = 200  # an edge
    seen = augmented(crops, blur_probability=1.0, blur_px=1.2).images[:, 0, 40]
    slope = seen.diff(dim=1).clamp(min=0)
    axis = torch.arange(79.0)
    total = slope.sum(1)
    mean = (slope @ axis) / total
    variance = (slope @ axis**2) / total - mean**2
    width = variance.clamp(min=0).sqrt()
    assert width.max().item() == pytest.approx(1.2, abs=0.05)
    assert width.min().item() < 0.2  # below 0.3 px the neighbours get next to nothing
    assert 0.35 < (width > 0.7).float().mean().item() < 0.5  # evenly: 0.5 of 1.2 px are above


def test_sharpening_adds_at_most_its_share_of_the_detail() -> None:
    plain: dict[str, Any] = dict(sharpen_probability=1.0, blur_px=4.0)
    some = detail(augmented(stripes(300), sharpen=0.5, **plain))
    more = detail(augmented(stripes(300), sharpen=1.0, **plain))
    # A wide blur takes stripes away wholly: detail added is the share alone.
    assert some.max().item() == pytest.approx(1.5, abs=0.02)
    assert more.max().item() > some.max().item() + 0.2


def test_a_resolution_is_reduced_to_sides_from_the_smallest_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(4)
    crop = torch.randint(20, 230, (1, 112, 112), generator=generator, dtype=torch.uint8)
    plain = augmented(crop).images
    sides = torch.arange(76, 81)
    known = reduce_resolution(plain.expand(5, -1, -1, -1), sides)
    batch = augmented(crop.expand(60, -1, -1), low_resolution_probability=1.0, low_resolution_px=76)
    apart = (batch.images[:, None] - known[None]).abs().amax((2, 3, 4))
    assert apart.amin(1).max().item() < 0.5
    assert set(sides[apart.argmin(1)].tolist()) == {76, 77, 78, 79, 80}
    torch.testing.assert_close(known[4], plain[0], rtol=0, atol=1e-3)


def test_a_reduced_face_has_no_detail_finer_than_its_side() -> None:
    # Cosines of 4 and of 30 periods: 20 pixels hold the first alone.
    axis = torch.arange(80.0) + 0.5
    waves = torch.stack([torch.cos(2 * math.pi * n * axis / 80) for n in (4, 30)])
    images = waves[:, None, None, :].expand(2, 1, 80, 80)
    seen = reduce_resolution(images, torch.tensor([20, 20]))
    kept = seen.std((1, 2, 3)) / images.std((1, 2, 3))
    assert kept[0].item() > 0.75
    assert kept[1].item() < 0.05
    turned = reduce_resolution(images.mT, torch.tensor([20, 20]))
    torch.testing.assert_close(turned, seen.mT)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.25, 70, 130), (1.0, 400, 400)])
def test_as_many_faces_are_reduced_or_patched_as_the_probability_says(
    probability: float, low: int, high: int
) -> None:
    reduced = detail(
        augmented(stripes(400), low_resolution_probability=probability, low_resolution_px=20)
    )
    assert low - 10 <= int((reduced < 0.98).sum()) <= high
    patched = augmented(levels(400, 128), patch_probability=probability).images
    changed = ((patched - patched[:, :, :1, :1]).abs() > 0.1).sum((1, 2, 3))
    assert low - 20 <= int((changed > 0).sum()) <= high


def test_a_patch_is_one_grey_rectangle_of_a_side_between_its_limits() -> None:
    batch = augmented(levels(600, 128), patch_probability=1.0, patch_px=(10, 20))
    images = batch.images[:, 0]
    changed = (images - images.mode(2)[0].mode(1)[0][:, None, None]).abs() > 0.01
    columns, rows = changed.any(1), changed.any(2)
    assert torch.equal(changed, columns[:, None] & rows[:, :, None])  # a rectangle
    greys = torch.where(changed, images, -1.0).amax((1, 2))
    lowest = torch.where(changed, images, 999.0).amin((1, 2))
    some = changed.any(2).any(1)
    assert torch.equal(greys[some], lowest[some])
    spread(greys[some], 0.0, 255.0)
    for line in (columns, rows):
        assert bool((line.int().diff(dim=1).abs().sum(1) <= 2).all())  # one piece
        whole = some & ~line[:, 0] & ~line[:, -1]
        sides = line[whole].sum(1).float()
        assert sides.min().item() == 10
        assert 20 <= sides.max().item() <= 21
        assert len(set(sides.tolist())) > 9
        # Its middle is anywhere in the crop.
        middle = (line[whole].float() @ torch.arange(80.0)) / sides
        spread(middle, 5.0, 74.0)
        assert abs(middle.mean().item() - 39.5) < 3
    wide, tall = columns.sum(1).float(), rows.sum(1).float()
    assert abs(torch.corrcoef(torch.stack((wide, tall)))[0, 1].item()) < 0.5  # no square


@pytest.mark.parametrize("hides", [True, False])
def test_what_a_patch_covers_is_hidden_only_where_it_says_so(hides: bool) -> None:
    points = torch.stack(torch.meshgrid(torch.arange(80), torch.arange(80), indexing="xy"), 2)
    points = points.reshape(1, -1, 2).float() + 16
    batch = augmented(
        levels(1, 128), points, patch_probability=1.0, patch_px=(30, 30), patch_hides=hides
    )
    covered = (batch.images[0, 0] - 128).abs() > 0.01
    assert 200 < int(covered.sum()) <= 900
    hidden = ~batch.visible[0].view(80, 80)
    assert torch.equal(hidden, covered if hides else torch.zeros(80, 80).bool())


def test_softened_scales_every_limit_and_probability_but_the_flip(
    params_with: Callable[..., Params],
) -> None:
    strong = params_with().train.augment
    weak = softened(strong, 0.25)
    kept = {"flip_probability", "patch_px", "patch_hides", "low_resolution_px"}
    scaled = {name for name in type(strong).model_fields if name not in kept}
    assert len(scaled) == 13
    for name in scaled:
        assert getattr(strong, name) > 0, name
        assert getattr(weak, name) == pytest.approx(getattr(strong, name) / 4), name
    for name in kept:
        assert getattr(weak, name) == getattr(strong, name), name
