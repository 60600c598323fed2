"""Augmentation of a batch: a random affine map per face, the same map for the labels, and light.

Follows the original (docs/fpenet.md, Augmentation) without its two defects: the patch is at a
random position, and probabilities are applied as written. The 80x80 output crops are sampled from
the margin crops, so that a shifted or rotated face shows its real surroundings.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX
from fpenet.keypoints import KeypointScheme
from fpenet.model.distributed import BatchRng
from fpenet.params import AugmentParams

_BLUR_REACH = 4  # px on each side


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch.

    Attributes:
        images: (N, 1, 80, 80) float, grey levels 0..255.
        points: (N, K, 2) crop pixels, NaN where unlabelled.
        visible: (N, K) bool.
        view: maps from the margin crops to the crops.
        plain: (N, 1, 80, 80) crops without augmentation, as at inference; None if not needed.
    """

    images: Tensor
    points: Tensor
    visible: Tensor
    view: "View | None" = None
    plain: Tensor | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One affine map per face, from centred pixels of the margin crop to those of the 80x80 crop.

    Attributes:
        matrix: (N, 2, 2), mirrored where flipped. shift: (N, 2). flipped: (N,) bool.
    """

    matrix: Tensor
    shift: Tensor
    flipped: Tensor

    def points(self, points_margin: Tensor, margin_px: int, scheme: KeypointScheme) -> Tensor:
        """Map points (N, K, 2) of the margin crop to the view; flips exchange mirror partners."""
        points = map_points(points_margin, self.matrix, self.shift, margin_px)
        return self.renamed(points, scheme)

    def renamed(self, values: Tensor, scheme: KeypointScheme) -> Tensor:
        """(N, K, ...) with the values of mirror partners exchanged where the face is flipped."""
        if scheme.flip_map is None:
            return values
        flipped = self.flipped.view(-1, *[1] * (values.ndim - 1))
        return torch.where(flipped, values[:, _partners(scheme.flip_map, values.device)], values)


def check_flips(scheme: KeypointScheme, augment: AugmentParams) -> None:
    """Check that a scheme has a flip map if flips are on.

    Raises:
        InputError: names the key.
    """
    if augment.flip_probability > 0 and scheme.flip_map is None:
        raise InputError(
            f"train.augment.flip_probability is {augment.flip_probability}, but"
            f" {scheme.num_keypoints} keypoints have no flip map; set it to 0"
        )


def softened(augment: AugmentParams, strength: float) -> AugmentParams:
    """``augment`` with limits and probabilities multiplied by ``strength``, except for the flip."""
    if strength == 1.0:
        return augment
    unchanged = {"flip_probability", "patch_px", "patch_hides", "low_resolution_px"}
    limits = {name: value for name, value in augment.model_dump().items() if name not in unchanged}
    return augment.model_copy(update={name: value * strength for name, value in limits.items()})


def augment_batch(
    margin_crops: Tensor,
    points_margin: Tensor,
    visible: Tensor,
    scheme: KeypointScheme,
    augment: AugmentParams,
    rng: BatchRng,
) -> Batch:
    """Augment a batch on the device of its tensors and of ``rng``.

    Args:
        margin_crops: (N, S, S) uint8.
        points_margin: (N, K, 2) float, pixels of the margin crop.
    """
    images = margin_crops.float()[:, None]
    matrix, shift = random_maps(len(images), augment, rng)
    flipped = rng.uniform(len(images)) < augment.flip_probability
    sign = torch.where(flipped, -1.0, 1.0)  # x is mirrored before the rotation
    matrix = matrix * torch.stack((sign, torch.ones_like(sign)), 1)[:, None]
    view = View(matrix, shift, flipped)
    points = view.points(points_margin, images.shape[-1], scheme)
    visible = view.renamed(visible, scheme)
    images = sample_crops(images, matrix, shift)
    images = _vary_light(images, augment, rng)
    images, visible = _lay_patches(images, points, visible, augment, rng)
    return Batch(images, points, visible, view)


def random_maps(count: int, augment: AugmentParams, rng: BatchRng) -> tuple[Tensor, Tensor]:
    """Rotation and zoom matrices (N, 2, 2) and shifts (N, 2) in crop pixels, about the centre."""
    angle = rng.between(math.radians(augment.rotate_deg), count)
    zoom = torch.exp(rng.between(math.log1p(augment.zoom), count))
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    matrix = torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1)
    return matrix, rng.between(augment.shift_px, count, 2)


def map_points(points_margin: Tensor, matrix: Tensor, shift: Tensor, margin_px: int) -> Tensor:
    """Map margin-crop points (N, K, 2) to the sampled 80x80 crop."""
    centered = points_margin - (margin_px - 1) / 2
    mapped = (matrix[:, None] * centered[:, :, None, :]).sum(-1)
    return mapped + shift[:, None] + (CROP_PX - 1) / 2


def sample_crops(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Sample crops (N, 1, 80, 80) by the map of ``map_points``; bilinear, edges repeated."""
    axis = torch.arange(CROP_PX, device=images.device) - (CROP_PX - 1) / 2
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    output = torch.stack((columns, rows), dim=-1).reshape(1, -1, 2) - shift[:, None]
    (a, b), (c, d) = (row.unbind(1) for row in matrix.unbind(1))
    inverse = torch.stack((d, -b, -c, a), 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    source = (inverse[:, None] * output[:, :, None, :]).sum(-1)  # (N, 80 * 80, 2) from the centre
    unit = source / ((images.shape[-1] - 1) / 2)
    grid = unit.reshape(len(images), CROP_PX, CROP_PX, 2)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def _vary_light(images: Tensor, augment: AugmentParams, rng: BatchRng) -> Tensor:
    """Vary resolution, sharpness, light, gamma, contrast, brightness and noise, per face."""
    count = len(images)
    if augment.low_resolution_probability > 0:
        chosen = rng.uniform(count, 1, 1, 1) < augment.low_resolution_probability
        smallest = augment.low_resolution_px
        side = smallest + (rng.uniform(count) * (CROP_PX + 1 - smallest)).long()
        images = torch.where(chosen, reduce_resolution(images, side), images)
    if augment.blur_probability + augment.sharpen_probability > 0:
        images = _vary_sharpness(images, augment, rng)
    if augment.shade > 0:
        images = shade(images, rng.between(math.log1p(augment.shade), count, 2))
    gamma = torch.exp(rng.between(math.log1p(augment.gamma), count, 1, 1, 1))
    images = (images / 255).clamp(min=1e-4) ** gamma
    mean = images.mean(dim=(2, 3), keepdim=True)
    contrast = torch.exp(rng.between(math.log1p(augment.contrast), count, 1, 1, 1))
    images = (images - mean) * contrast + mean
    images = images * 255 + rng.between(augment.contrast * 128, count, 1, 1, 1)
    level = rng.uniform(count, 1, 1, 1) * augment.noise
    images = images + rng.normal(*images.shape) * level
    return images.clamp(0, 255)


def _vary_sharpness(images: Tensor, augment: AugmentParams, rng: BatchRng) -> Tensor:
    """Blur some faces, and sharpen some others by an unsharp mask."""
    count = len(images)
    sampled = rng.uniform(count, 1, 1, 1)
    blurred = sampled < augment.blur_probability
    sharpened = ~blurred & (sampled < augment.blur_probability + augment.sharpen_probability)
    detail = images - blur(images, rng.uniform(count) * augment.blur_px)
    amount = rng.uniform(count, 1, 1, 1) * augment.sharpen
    return images + detail * (sharpened * amount - blurred.float())


def shade(images: Tensor, slope: Tensor) -> Tensor:
    """Multiply images (N, 1, 80, 80) by an exponential light gradient.

    Args:
        slope: (N, 2) logarithm of the brightness ratio of the right and of the lower edge to the
            centre.
    """
    axis = torch.linspace(-1, 1, CROP_PX, device=images.device)
    across, down = slope[:, :1] * axis, slope[:, 1:] * axis
    return images * torch.exp(across[:, None, None, :] + down[:, None, :, None])


def reduce_resolution(images: Tensor, side: Tensor) -> Tensor:
    """Reduce each image (N, 1, 80, 80) to ``side`` (N,) pixels and enlarge it again.

    Both steps are linear, so that one 80x80 matrix per side does them.
    """
    matrices = _reductions(images.device)[side][:, None]
    return matrices @ images @ matrices.transpose(2, 3)


@lru_cache
def _partners(flip_map: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(flip_map, device=device)


@lru_cache
def _reductions(device: torch.device) -> Tensor:
    """(81, 80, 80): matrix s resizes 80 pixels to s, anti-aliased, and back; the first is
    unused."""
    identity = torch.eye(CROP_PX)[None, None]
    matrices = [identity]
    for side in range(1, CROP_PX + 1):
        reduced = functional.interpolate(
            identity, (side, CROP_PX), mode="bilinear", antialias=True, align_corners=False
        )
        matrices.append(
            functional.interpolate(reduced, CROP_PX, mode="bilinear", align_corners=False)
        )
    return torch.cat(matrices)[:, 0].to(device)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of (N, 1, H, W) with a standard deviation (N,) in px per face."""
    offsets = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=images.device)
    kernel = (-0.5 * (offsets / sigma.clamp(min=1e-2)[:, None]) ** 2).softmax(dim=1)
    stacked = functional.pad(images, (_BLUR_REACH,) * 4, mode="replicate").transpose(0, 1)
    across = functional.conv2d(stacked, kernel[:, None, None, :], groups=len(images))
    return functional.conv2d(across, kernel[:, None, :, None], groups=len(images)).transpose(0, 1)


def _lay_patches(
    images: Tensor, points: Tensor, visible: Tensor, augment: AugmentParams, rng: BatchRng
) -> tuple[Tensor, Tensor]:
    """Cover some faces with a grey rectangle; with ``patch_hides``, covered points become
    hidden."""
    count = len(images)
    smallest, largest = augment.patch_px
    chosen = rng.uniform(count, 1) < augment.patch_probability
    side = smallest + rng.uniform(count, 2) * (largest - smallest)
    low = rng.uniform(count, 2) * CROP_PX - side / 2
    high = low + side
    axis = torch.arange(CROP_PX, device=images.device)
    inside_x = (axis >= low[:, :1]) & (axis < high[:, :1]) & chosen
    inside_y = (axis >= low[:, 1:]) & (axis < high[:, 1:])
    patch = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    grey = rng.uniform(count, 1, 1, 1) * 255
    covered = ((points >= low[:, None]) & (points < high[:, None])).all(-1) & chosen
    if augment.patch_hides:
        visible = visible & ~covered
    return torch.where(patch, grey, images), visible
