"""Augmentation of a whole batch: a random affine map a face, labels by the same matrix, light.

As the original's (FACTS 1.5, 1.6) without its defects: the patch lies at a random place and
probabilities are the right way round. Output 80x80 crops are sampled from the margin crops, so that
a shifted or turned face brings its real surroundings.
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
    """Faces to train on.

    Attributes:
        images: (N, 1, 80, 80) float, grey levels 0..255.
        points: (N, K, 2) crop pixels, NaN where unlabelled.
        visible: (N, K) bool.
        view: how the crops were taken from the margin crops.
        plain: (N, 1, 80, 80) the crops as they are at inference; None where nobody asks for them.
    """

    images: Tensor
    points: Tensor
    visible: Tensor
    view: "View | None" = None
    plain: Tensor | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One map a face, from centred pixels of the margin crop to those of the 80x80 crop.

    Attributes:
        matrix: (N, 2, 2), mirrored where flipped. shift: (N, 2). flipped: (N,) bool.
    """

    matrix: Tensor
    shift: Tensor
    flipped: Tensor

    def points(self, points_store: Tensor, store_px: int, scheme: KeypointScheme) -> Tensor:
        """(N, K, 2) of the margin crop as points of the view, mirror partners renamed."""
        points = map_points(points_store, self.matrix, self.shift, store_px)
        return self.renamed(points, scheme)

    def renamed(self, values: Tensor, scheme: KeypointScheme) -> Tensor:
        """(N, K, ...) with the mirror partners' values where the face is flipped."""
        if scheme.flip_map is None:
            return values
        flipped = self.flipped.view(-1, *[1] * (values.ndim - 1))
        return torch.where(flipped, values[:, _partners(scheme.flip_map, values.device)], values)


def check_flips(scheme: KeypointScheme, augment: AugmentParams) -> None:
    """Refuse flips for a scheme whose mirror partners are not known.

    Raises:
        InputError: naming the key.
    """
    if augment.flip_probability > 0 and scheme.flip_map is None:
        raise InputError(
            f"train.augment.flip_probability is {augment.flip_probability}, but"
            f" {scheme.num_keypoints} keypoints have no flip map; set it to 0"
        )


def softened(augment: AugmentParams, strength: float) -> AugmentParams:
    """``augment`` with its limits and probabilities times ``strength``, but the flip's."""
    if strength == 1.0:
        return augment
    kept = {"flip_probability", "patch_px", "patch_hides", "low_resolution_px"}
    limits = {name: value for name, value in augment.model_dump().items() if name not in kept}
    return augment.model_copy(update={name: value * strength for name, value in limits.items()})


def augment_batch(
    margin_crops: Tensor,
    points_store: Tensor,
    visible: Tensor,
    scheme: KeypointScheme,
    augment: AugmentParams,
    rng: BatchRng,
) -> Batch:
    """Random views of the faces, on the device where they and the chance are.

    Args:
        margin_crops: (N, S, S) uint8.
        points_store: (N, K, 2) float, pixels of the margin crop.
    """
    images = margin_crops.float()[:, None]
    matrix, shift = random_maps(len(images), augment, rng)
    flipped = rng.uniform(len(images)) < augment.flip_probability
    sign = torch.where(flipped, -1.0, 1.0)  # x is mirrored before it is turned
    matrix = matrix * torch.stack((sign, torch.ones_like(sign)), 1)[:, None]
    view = View(matrix, shift, flipped)
    points = view.points(points_store, images.shape[-1], scheme)
    visible = view.renamed(visible, scheme)
    images = sample_crops(images, matrix, shift)
    images = _vary_light(images, augment, rng)
    images, visible = _lay_patches(images, points, visible, augment, rng)
    return Batch(images, points, visible, view)


def random_maps(count: int, augment: AugmentParams, rng: BatchRng) -> tuple[Tensor, Tensor]:
    """Turn-and-zoom matrices (N, 2, 2) and shifts (N, 2), crop pixels, about the crop's centre."""
    angle = rng.between(math.radians(augment.rotate_deg), count)
    zoom = torch.exp(rng.between(math.log1p(augment.zoom), count))
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    matrix = torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1)
    return matrix, rng.between(augment.shift_px, count, 2)


def map_points(points_store: Tensor, matrix: Tensor, shift: Tensor, store_px: int) -> Tensor:
    """Margin-crop points (N, K, 2) to points of the sampled 80x80 crop."""
    centered = points_store - (store_px - 1) / 2
    turned = (matrix[:, None] * centered[:, :, None, :]).sum(-1)
    return turned + shift[:, None] + (CROP_PX - 1) / 2


def sample_crops(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """The crops (N, 1, 80, 80) that show what ``map_points`` says, bilinear, edges repeated."""
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
    """Resolution, sharpness, light, gamma, contrast, brightness, noise: of each face by itself."""
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
    """Some faces blurred, some others with what a blur takes away once more on top."""
    count = len(images)
    drawn = rng.uniform(count, 1, 1, 1)
    blurred = drawn < augment.blur_probability
    sharpened = ~blurred & (drawn < augment.blur_probability + augment.sharpen_probability)
    detail = images - blur(images, rng.uniform(count) * augment.blur_px)
    amount = rng.uniform(count, 1, 1, 1) * augment.sharpen
    return images + detail * (sharpened * amount - blurred.float())


def shade(images: Tensor, slope: Tensor) -> Tensor:
    """(N, 1, 80, 80) as lit from one side.

    Args:
        slope: (N, 2) logarithm of the light at the frame's right and lower edge over its middle's.
    """
    axis = torch.linspace(-1, 1, CROP_PX, device=images.device)
    across, down = slope[:, :1] * axis, slope[:, 1:] * axis
    return images * torch.exp(across[:, None, None, :] + down[:, None, :, None])


def reduce_resolution(images: Tensor, side: Tensor) -> Tensor:
    """(N, 1, 80, 80) as if each face had been ``side`` (N,) pixels wide: reduced, enlarged again.

    Both are linear, so a table of 80x80 matrices does them, each face with its own.
    """
    through = _reductions(images.device)[side][:, None]
    return through @ images @ through.transpose(2, 3)


@lru_cache
def _partners(flip_map: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(flip_map, device=device)


@lru_cache
def _reductions(device: torch.device) -> Tensor:
    """(81, 80, 80): matrix s takes 80 pixels to s, anti-aliased, and back; the first is unused."""
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
    """Gaussian blur of (N, 1, H, W), each face with its own standard deviation (N,), px."""
    offsets = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=images.device)
    kernel = (-0.5 * (offsets / sigma.clamp(min=1e-2)[:, None]) ** 2).softmax(dim=1)
    stacked = functional.pad(images, (_BLUR_REACH,) * 4, mode="replicate").transpose(0, 1)
    across = functional.conv2d(stacked, kernel[:, None, None, :], groups=len(images))
    return functional.conv2d(across, kernel[:, None, :, None], groups=len(images)).transpose(0, 1)


def _lay_patches(
    images: Tensor, points: Tensor, visible: Tensor, augment: AugmentParams, rng: BatchRng
) -> tuple[Tensor, Tensor]:
    """One grey rectangle on some faces; a covered point becomes hidden if so chosen."""
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
