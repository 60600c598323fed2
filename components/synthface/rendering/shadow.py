"""Ambient occlusion and shadows, computed from the depth image.

On a grid of every fourth pixel: the visible fraction of the room, and whether the flash reaches the
point. Surfaces that the camera does not see cast no shadow.
"""

import math

import numpy as np

from synthface.rendering.raster import Ints
from synthface.spec import IMAGE_WIDTH, Floats

_CELL = 4
_PAD = 24
_FAR_MM = -1000.0
_RINGS = ((2, 1), (5, 2), (5, -2), (2, -5), (1, 2), (-1, 5))
_STEPS_MM = (6.0, 11.0, 18.0, 26.0, 36.0, 48.0, 64.0)


def seen_light(
    nearest: Floats, pixel: Ints, toward_flash: tuple[float, float, float] | None, px_per_mm: float
) -> tuple[Floats, Floats]:
    """(M,) share of the room and of the flash that reach the image points ``pixel``.

    Args:
        nearest: (480, 640) depth of the nearest surface, mm toward the camera; -inf where none.
        toward_flash: unit direction in the camera's axes.
    """
    depth = np.maximum(nearest[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL], np.float32(_FAR_MM))
    rows, columns = depth.shape
    padded = np.full((rows + 2 * _PAD, columns + 2 * _PAD), np.float32(_FAR_MM))
    padded[_PAD:-_PAD, _PAD:-_PAD] = depth
    mm_a_cell = _CELL / px_per_mm

    def beside(right: int, down: int) -> Floats:
        top, left = _PAD + down, _PAD + right
        return padded[top : top + rows, left : left + columns]

    walls = np.zeros_like(depth)
    for right, down in (*_RINGS, *((-x, -y) for x, y in _RINGS)):
        apart = np.float32(mm_a_cell * math.sqrt(right * right + down * down))
        rise = (beside(right, down) - depth) / apart
        walls += np.minimum(np.maximum(rise - np.float32(0.1), 0), np.float32(1.2))
    room = 1 - walls * np.float32(0.75 / (2 * len(_RINGS)))
    shadow = np.zeros_like(depth)
    if toward_flash is not None:
        x, y, z = toward_flash
        for far in _STEPS_MM:
            right = min(max(int(far * x / mm_a_cell), -_PAD), _PAD)
            down = min(max(int(far * y / mm_a_cell), -_PAD), _PAD)
            if right or down:
                above = beside(right, down) - depth - np.float32(far * z + 2.0)
                shadow = np.maximum(shadow, np.minimum(np.maximum(above / 7, 0), 1))
    of_room, of_flash = _between(pixel, _soft(room), _soft(1 - shadow))
    return of_room, of_flash


def _soft(grid: Floats) -> Floats:
    for _ in range(2):
        tall = np.concatenate([grid[:1], grid, grid[-1:]])
        grid = np.ascontiguousarray((tall[:-2] + 2 * tall[1:-1] + tall[2:]).T) / 4
    return grid


def _between(pixel: Ints, *grids: Floats) -> tuple[Floats, ...]:
    """(M,) values of each grid at image points, to the nearest half of a cell."""
    row = pixel // IMAGE_WIDTH
    half_row, half_column = row >> 1, (pixel - row * IMAGE_WIDTH) >> 1
    at = half_row * (IMAGE_WIDTH // 2) + half_column
    return tuple(_doubled(_doubled(grid).T).T.reshape(-1)[at] for grid in grids)


def _doubled(grid: Floats) -> Floats:
    """(2 R, C): between two rows of ``grid``, each a quarter of their distance from its own."""
    tall = np.concatenate([grid[:1], grid, grid[-1:]])
    three, one = np.float32(0.75), np.float32(0.25)
    upper = three * grid + one * tall[:-2]
    lower = three * grid + one * tall[2:]
    return np.stack([upper, lower], axis=1).reshape(-1, grid.shape[1])
