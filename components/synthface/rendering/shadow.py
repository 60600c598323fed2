"""Ambient occlusion and shadows, computed from the depth image.

On a grid of every fourth pixel: the visible share of the room light and of the flash. Surfaces that
are not in the depth image cast no shadow.
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


def light_visibility(
    depth: Floats, pixel: Ints, toward_flash: tuple[float, float, float] | None, px_per_mm: float
) -> tuple[Floats, Floats]:
    """(M,) visible share of the room light and of the flash at the image points ``pixel``.

    Args:
        depth: (480, 640) depth of the nearest surface, mm toward the camera; -inf: no surface.
        toward_flash: unit direction in the axes of the camera.
    """
    grid = np.maximum(depth[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL], np.float32(_FAR_MM))
    rows, columns = grid.shape
    padded = np.full((rows + 2 * _PAD, columns + 2 * _PAD), np.float32(_FAR_MM))
    padded[_PAD:-_PAD, _PAD:-_PAD] = grid
    cell_mm = _CELL / px_per_mm

    def shifted(right: int, down: int) -> Floats:
        top, left = _PAD + down, _PAD + right
        return padded[top : top + rows, left : left + columns]

    occlusion = np.zeros_like(grid)
    for right, down in (*_RINGS, *((-x, -y) for x, y in _RINGS)):
        distance = np.float32(cell_mm * math.sqrt(right * right + down * down))
        slope = (shifted(right, down) - grid) / distance
        occlusion += np.minimum(np.maximum(slope - np.float32(0.1), 0), np.float32(1.2))
    room = 1 - occlusion * np.float32(0.75 / (2 * len(_RINGS)))
    shadow = np.zeros_like(grid)
    if toward_flash is not None:
        x, y, z = toward_flash
        for step_mm in _STEPS_MM:
            right = min(max(int(step_mm * x / cell_mm), -_PAD), _PAD)
            down = min(max(int(step_mm * y / cell_mm), -_PAD), _PAD)
            if right or down:
                above = shifted(right, down) - grid - np.float32(step_mm * z + 2.0)
                shadow = np.maximum(shadow, np.minimum(np.maximum(above / 7, 0), 1))
    room_share, flash_share = _sampled(pixel, _blurred(room), _blurred(1 - shadow))
    return room_share, flash_share


def _blurred(grid: Floats) -> Floats:
    for _ in range(2):
        tall = np.concatenate([grid[:1], grid, grid[-1:]])
        grid = np.ascontiguousarray((tall[:-2] + 2 * tall[1:-1] + tall[2:]).T) / 4
    return grid


def _sampled(pixel: Ints, *grids: Floats) -> tuple[Floats, ...]:
    """(M,) values of each grid at image points, after interpolation to half cells."""
    row = pixel // IMAGE_WIDTH
    half_row, half_column = row >> 1, (pixel - row * IMAGE_WIDTH) >> 1
    indices = half_row * (IMAGE_WIDTH // 2) + half_column
    return tuple(_doubled(_doubled(grid).T).T.reshape(-1)[indices] for grid in grids)


def _doubled(grid: Floats) -> Floats:
    """(2 R, C) linear interpolation of (R, C) at -1/4 and +1/4 of a row around each row."""
    tall = np.concatenate([grid[:1], grid, grid[-1:]])
    near, far = np.float32(0.75), np.float32(0.25)
    upper = near * grid + far * tall[:-2]
    lower = near * grid + far * tall[2:]
    return np.stack([upper, lower], axis=1).reshape(-1, grid.shape[1])
