"""The background of an image, and the blur, noise and compression of the camera."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthface.rng import SeededRng, noise_bytes, uniforms
from synthface.spec import IMAGE_HEIGHT, IMAGE_WIDTH, Floats

_CELL_PX = 8
COARSE_SHARE = 0.35


def background(seed: int) -> Floats:
    """(480, 640) float32 displayed grey of a blurred room: random stripes and rectangles."""
    rows, columns = IMAGE_HEIGHT // _CELL_PX + 1, IMAGE_WIDTH // _CELL_PX + 1
    rng = SeededRng(seed, 1)
    slope = rng.between(-0.3, 0.3) * (np.arange(columns) / columns - 0.5)
    room = np.zeros((rows, columns)) + rng.between(0.12, 0.8) + slope
    for _ in range(rng.index(4)):  # from floor to ceiling
        left, wide = rng.index(columns), 2 + rng.index(24)
        room[:, left : left + wide] += rng.between(-0.25, 0.25)
    for _ in range(rng.index(12)):
        left, top = rng.index(columns), rng.index(rows)
        wide, tall = 1 + rng.index(18), 1 + rng.index(24)
        region = room[top : top + tall, left : left + wide]
        region += (rng.between(0.03, 0.97) - region) * rng.between(0.2, 0.9)
    texture = uniforms(rows * columns, seed, 2).reshape(rows, columns)
    room = room + rng.between(0.0, 0.12) * (texture - 0.5)
    for _ in range(1 + rng.index(4)):
        tall_room = np.concatenate([room[:1], room, room[-1:]])
        room = (tall_room[:-2] + 2.0 * room + tall_room[2:]) / 4.0
        broad = np.concatenate([room[:, :1], room, room[:, -1:]], axis=1)
        room = (broad[:, :-2] + 2.0 * room + broad[:, 2:]) / 4.0
    room = room.astype(np.float32)
    return np.ascontiguousarray(_interpolated(np.ascontiguousarray(_interpolated(room).T)).T)


def _interpolated(grid: Floats) -> Floats:
    """(8 (R - 1), C) linear interpolation along the rows of (R, C) values at cell corners."""
    share = (np.arange(_CELL_PX, dtype=np.float32) / _CELL_PX)[None, :, None]
    upper, lower = grid[:-1, None, :], grid[1:, None, :]
    return (upper + (lower - upper) * share).reshape(-1, grid.shape[1])


def _blurred(fine: NDArray[np.uint16], times: int) -> NDArray[np.uint16]:
    """``fine`` (values up to 4080), filtered with the kernel 1, 2, 1 in both directions."""
    for _ in range(times):
        tall = np.concatenate([fine[:1], fine, fine[-1:]])
        fine = tall[:-2] + 2 * tall[1:-1] + tall[2:]
        broad = np.concatenate([fine[:, :1], fine, fine[:, -1:]], axis=1)
        fine = (broad[:, :-2] + 2 * broad[:, 1:-1] + broad[:, 2:] + 8) >> 4
    return fine


def _low_resolution(fine: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """``fine``, reduced to half the resolution and enlarged again."""
    four = fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]
    small = ((four + 2) >> 2).astype(np.uint16)
    large = np.repeat(np.repeat(_blurred(small, 1), 2, axis=0), 2, axis=1)
    return _blurred(large, 1)


def camera_image(grey: Floats, seed: int, shot: int = 0) -> NDArray[np.uint8]:
    """(480, 640) image of displayed ``grey`` (1 is white), with exposure, blur, noise and JPEG.

    Args:
        shot: different shots of one seed have different noise.
    """
    rng = SeededRng(seed, 4)
    gain, lift = np.float32(rng.between(0.88, 1.4)), np.float32(rng.between(-0.03, 0.06))
    # Sixteenths of a grey level: 4080 times the sum 16 of the kernel fits into 16 bits.
    fine = (np.minimum(np.maximum(grey * gain + lift, 0.0), 1.0) * 4080.0 + 0.5).astype(np.uint16)
    fine = _blurred(fine, 1 + rng.index(3))
    if rng.bernoulli(COARSE_SHARE):
        fine = _low_resolution(fine)
    grain = 1 + rng.index(3)  # largest noise of a pixel, grey levels
    noise = noise_bytes(grey.size, seed, 3, shot).reshape(grey.shape).astype(np.uint16)
    level = ((fine + 8) >> 4) + ((noise * (2 * grain + 1)) >> 8)
    image: NDArray[np.uint8] = np.minimum(np.maximum(level, grain), 255 + grain) - grain
    image = image.astype(np.uint8)
    if rng.bernoulli(0.5):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=40 + rng.index(56))
        image = np.array(Image.open(file), np.uint8)
    return image
