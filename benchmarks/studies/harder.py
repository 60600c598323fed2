"""Faces of the same people as another camera and another detector might give them.

Made with Pillow and NumPy alone, none of training's augmentation: each face gets a box of its own
(shifted by up to 8 % of its side, 0.85 to 1.2 times as large) and one change of the picture, by a
fixed seed, so that every net is asked the same.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from fpenet.data.crops.store import CROP_PX, CropStore, Rows, Singles

_SHIFT = 0.08  # of the crop's side
_SCALE = (0.85, 1.2)


def _jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=15)
    return Image.open(file)


def _noise(image: Image.Image) -> Image.Image:
    values = np.asarray(image, np.float32)
    drawn = np.random.default_rng(int(values.sum())).normal(0, 12, values.shape)
    return Image.fromarray(np.clip(values + drawn, 0, 255).astype(np.uint8))


def _side_light(image: Image.Image) -> Image.Image:
    ramp = np.linspace(0.45, 1.35, image.width)[None, :]
    return Image.fromarray(np.clip(np.asarray(image) * ramp, 0, 255).astype(np.uint8))


def _coarse(image: Image.Image) -> Image.Image:
    small = image.resize((30, 30), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "box only": lambda image: image,
    "sharp": lambda image: image.filter(ImageFilter.UnsharpMask(1.0, 250, 0)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "coarse": _coarse,
    "JPEG 15": _jpeg,
    "noise": _noise,
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.35),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.7),
    "flat": lambda image: ImageEnhance.Contrast(image).enhance(0.35),
    "gamma 2.2": lambda image: image.point([round(255 * (v / 255) ** 2.2) for v in range(256)]),
    "gamma 0.45": lambda image: image.point([round(255 * (v / 255) ** 0.45) for v in range(256)]),
    "side light": _side_light,
}


def harder_faces(
    store: CropStore, rows: Rows, seed: int = 35
) -> tuple[NDArray[np.uint8], Singles, list[str]]:
    """The faces ``rows`` once each.

    Returns:
        (N, 1, 80, 80) crops, (N, K, 2) their points in crop pixels, and each face's change.
    """
    random = np.random.default_rng(seed)
    store_px = store.crops.shape[1]
    images = np.empty((len(rows), 1, CROP_PX, CROP_PX), np.uint8)
    points = np.empty((len(rows), store.num_keypoints, 2), np.float32)
    names: list[str] = []
    for n, row in enumerate(rows):
        side = CROP_PX * random.uniform(*_SCALE)
        shift = random.uniform(-_SHIFT, _SHIFT, 2) * CROP_PX
        low = np.clip(store_px / 2 + shift - side / 2, 0, store_px - side)
        box = (low[0], low[1], low[0] + side, low[1] + side)
        crop = Image.fromarray(store.crops[row]).resize(
            (CROP_PX, CROP_PX), Image.Resampling.BICUBIC, box=box
        )
        name = list(CHANGES)[n % len(CHANGES)]
        images[n, 0] = np.asarray(CHANGES[name](crop))
        points[n] = (store.points_margin[row] + 0.5 - low) * (CROP_PX / side) - 0.5
        names.append(name)
    return images, points, names
