"""The image and its labels move together."""

import math

import torch

from fpenet.keypoints import scheme_for
from fpenet.model.augment import (
    augment_batch,
    blur,
    map_points,
    random_maps,
    sample_crops,
    shade,
    softened,
)
from fpenet.model.distributed import BatchRng
from fpenet.params import AugmentParams

MOVES = AugmentParams(
    flip_probability=0.0,
    rotate_deg=25.0,
    zoom=0.2,
    shift_px=8.0,
    gamma=0.0,
    contrast=0.0,
    shade=0.0,
    noise=0.0,
    blur_probability=0.0,
    blur_px=1.2,
    sharpen_probability=0.0,
    sharpen=1.0,
    low_resolution_probability=0.0,
    low_resolution_px=20,
    patch_probability=0.0,
    patch_px=(10, 40),
    patch_hides=True,
)


def dot_images(points: torch.Tensor, size: int) -> torch.Tensor:
    axis = torch.arange(size)
    squared = (axis[None, :] - points[:, :1, None]) ** 2 + (
        axis[:, None] - points[:, 1:, None]
    ) ** 2
    return 255 * torch.exp(-squared / 8)[:, None]


def test_a_dot_moves_with_its_label() -> None:
    chance = BatchRng(1)
    points = 56 + chance.uniform(64, 2) * 30 - 15
    matrix, shift = random_maps(64, MOVES, chance)
    seen = sample_crops(dot_images(points, 112), matrix, shift)[:, 0]
    axis = torch.arange(80.0)
    total = seen.sum((1, 2))
    found = torch.stack(((seen.sum(1) * axis).sum(1), (seen.sum(2) * axis).sum(1)), 1)
    expected = map_points(points[:, None], matrix, shift, 112)[:, 0]
    inside = ((expected > 12) & (expected < 67)).all(1)
    assert int(inside.sum()) > 40
    assert (found / total[:, None] - expected)[inside].abs().max() < 0.05


def test_nothing_chosen_is_the_centre_of_the_margin_crop() -> None:
    still = MOVES.model_copy(update={"rotate_deg": 0.0, "zoom": 0.0, "shift_px": 0.0})
    crops = torch.randint(1, 255, (2, 112, 112), dtype=torch.uint8)
    points = torch.rand(2, 68, 2) * 112
    visible = torch.ones(2, 68).bool()
    chance = BatchRng(0)
    batch = augment_batch(crops, points, visible, scheme_for(68), still, chance)
    assert torch.allclose(batch.images[:, 0], crops[:, 16:96, 16:96].float(), atol=0.05)
    assert torch.allclose(batch.points, points - 16, atol=1e-4)


def test_a_flip_mirrors_the_image_and_renames_left_and_right() -> None:
    flips = MOVES.model_copy(
        update={"rotate_deg": 0.0, "zoom": 0.0, "shift_px": 0.0, "flip_probability": 1.0}
    )
    scheme = scheme_for(68)
    assert scheme.flip_map is not None
    crops = torch.randint(1, 255, (1, 112, 112), dtype=torch.uint8)
    points = 30 + torch.rand(1, 68, 2) * 50
    visible = torch.rand(1, 68) < 0.5
    chance = BatchRng(0)
    batch = augment_batch(crops, points, visible, scheme, flips, chance)
    inner = crops[0, 16:96, 16:96].float()
    assert torch.allclose(batch.images[0, 0], inner.flip(1), atol=0.05)
    for k in (0, 36, 48):
        partner = scheme.flip_map[k]
        x, y = (points[0, partner] - 16).tolist()
        assert torch.allclose(batch.points[0, k], torch.tensor([79 - x, y]), atol=1e-4)
        assert batch.visible[0, k] == visible[0, partner]


def test_a_patch_hides_exactly_the_points_under_it() -> None:
    patches = MOVES.model_copy(
        update={"rotate_deg": 0.0, "zoom": 0.0, "shift_px": 0.0, "patch_probability": 1.0}
    )
    crops = torch.full((32, 112, 112), 128, dtype=torch.uint8)
    points = 16 + torch.rand(32, 68, 2) * 79
    chance = BatchRng(2)
    shown = torch.ones(32, 68).bool()
    batch = augment_batch(crops, points, shown, scheme_for(68), patches, chance)
    nearest = batch.points.round().long().clamp(0, 79)
    grey = batch.images[torch.arange(32)[:, None], 0, nearest[..., 1], nearest[..., 0]]
    changed = (grey - 128).abs() > 1
    agree = (changed == ~batch.visible).float().mean()
    assert int((~batch.visible).sum()) > 0
    assert agree > 0.97  # rounding moves a few points over the patch's edge


def centroid(images: torch.Tensor) -> torch.Tensor:
    axis = torch.arange(float(images.shape[-1]))
    total = images.sum((1, 2, 3))
    x, y = (images.sum((1, along)) @ axis for along in (2, 3))
    return torch.stack((x, y), 1) / total[:, None]


def test_a_blur_spreads_a_dot_by_its_standard_deviation_and_does_not_move_it() -> None:
    points = torch.tensor([[40.0, 31.0], [22.3, 50.7], [39.5, 39.5]])
    images = dot_images(points, 80)
    sigma = torch.tensor([0.0, 1.0, 1.5])
    seen = blur(images, sigma)
    assert torch.allclose(centroid(seen), points, atol=0.02)
    axis = torch.arange(80.0)
    for number in range(3):
        weights = seen[number, 0].sum(0) / seen[number].sum()
        variance = (weights * (axis - points[number, 0]) ** 2).sum().item()
        assert abs(variance - (4.0 + sigma[number].item() ** 2)) < 0.06  # the dot's own is 4


def test_sharpening_adds_to_a_dot_what_a_blur_takes_away() -> None:
    still = MOVES.model_copy(update={name: 0.0 for name in ("rotate_deg", "zoom", "shift_px")})
    always = still.model_copy(update={"sharpen_probability": 1.0})
    crops = dot_images(torch.full((24, 2), 56.0), 112)[:, 0].to(torch.uint8) // 2
    points, visible = torch.full((24, 1, 2), 56.0), torch.ones(24, 1).bool()
    plain = augment_batch(crops, points, visible, scheme_for(1), still, BatchRng(3)).images
    sharp = augment_batch(crops, points, visible, scheme_for(1), always, BatchRng(3)).images
    gain = sharp[:, 0, 40, 40] / plain[:, 0, 40, 40]
    # A dot of variance 4 blurred by 1.2 px keeps 4 / (4 + 1.44) of its height at the middle.
    assert (gain > 0.999).all()
    assert (gain < 1 + (1 - 4 / 5.44) + 0.01).all()
    assert gain.max() > 1.1
    assert torch.allclose(centroid(sharp - 0.03), centroid(plain - 0.03), atol=0.02)


def test_shade_lights_one_side_and_leaves_the_middle() -> None:
    slope = torch.tensor([[0.4, 0.0], [0.0, -0.2]])
    lit = shade(torch.full((2, 1, 80, 80), 100.0), slope)[:, 0]
    assert torch.allclose(lit[0, :, 79], torch.full((80,), 100 * math.exp(0.4)))
    assert torch.allclose(lit[1, 0], torch.full((80,), 100 * math.exp(0.2)))
    assert torch.allclose(lit[:, 39:41, 39:41].mean((1, 2)), torch.full((2,), 100.0), atol=0.01)


def test_a_face_of_low_resolution_has_its_points_where_they_were() -> None:
    low = MOVES.model_copy(
        update={
            **{name: 0.0 for name in ("rotate_deg", "zoom", "shift_px")},
            "low_resolution_probability": 0.5,
        }
    )
    points = 56 + torch.rand(40, 2, generator=torch.Generator().manual_seed(2)) * 40 - 20
    crops = dot_images(points, 112)[:, 0].to(torch.uint8)
    visible = torch.ones(40, 1).bool()
    scheme = scheme_for(1)
    chance = BatchRng(3)
    still = low.model_copy(update={"low_resolution_probability": 0.0})
    sharp = augment_batch(crops, points[:, None], visible, scheme, still, chance)
    chance = BatchRng(3)
    batch = augment_batch(crops, points[:, None], visible, scheme, low, chance)
    softer = batch.images.amax((1, 2, 3)) < 0.9 * sharp.images.amax((1, 2, 3))
    assert 8 < int(softer.sum()) < 32
    seen = (batch.images - 0.03).clamp(min=0)  # gamma keeps black from being 0
    assert (centroid(seen) - points + 16).abs().max() < 0.2
    assert torch.equal(batch.points, sharp.points)


def test_softer_augmentation_keeps_the_flip_and_scales_the_rest() -> None:
    strong = MOVES.model_copy(update={"flip_probability": 0.5, "noise": 6.0})
    weak = softened(strong, 0.5)
    assert (weak.flip_probability, weak.noise, weak.rotate_deg) == (0.5, 3.0, 12.5)
    assert (weak.patch_px, weak.patch_hides, weak.low_resolution_px) == ((10, 40), True, 20)
    assert softened(strong, 1.0) is strong


def test_a_view_says_where_points_of_the_plain_crop_went() -> None:
    flips = MOVES.model_copy(update={"flip_probability": 0.5})
    points = 56 + torch.rand(16, 68, 2, generator=torch.Generator().manual_seed(4)) * 30 - 15
    crops = torch.zeros(16, 112, 112, dtype=torch.uint8)
    visible, scheme = torch.ones(16, 68).bool(), scheme_for(68)
    chance = BatchRng(5)
    batch = augment_batch(crops, points, visible, scheme, flips, chance)
    assert batch.view is not None
    assert 2 < int(batch.view.flipped.sum()) < 14
    # The plain crop is the middle of the margin crop, 16 pixels in.
    assert torch.allclose(batch.view.points(points - 16, 80, scheme), batch.points, atol=1e-4)
