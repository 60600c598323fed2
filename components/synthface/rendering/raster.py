"""Rasterisation: the nearest triangle at each pixel, and the barycentric weights of the pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthface.spec import IMAGE_HEIGHT, IMAGE_WIDTH, Floats

Ints = NDArray[np.int64]

_DEPTH_STEPS_PER_MM = 256.0
_FAR_MM = 4096.0
_KEY_BITS = 24
_LEAST_HEIGHT_PX = 1e-4
"""An edge with a smaller height, in pixels, is horizontal."""
_TOLERANCE = 1e-6
"""Pixels this near to an edge belong to both of its triangles, so that rounding leaves no gap."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """The M pixels that a triangle covers.

    Attributes:
        pixel: (M,) row * 640 + column, ascending.
        corners: (3, M) vertex indices of the nearest triangle.
        weights: (3, M) float32 share of each corner; they sum to 1.
    """

    pixel: Ints
    corners: Ints
    weights: Floats

    def blend(self, values: Floats) -> Floats:
        """(M,) float32 interpolation of the ``values`` (V,) at the corners."""
        (a, b, c), (u, v, w) = self.corners, self.weights
        values = values.astype(np.float32)
        blended: Floats = values[a] * u + values[b] * v + values[c] * w
        return blended


def rasterise(x: Floats, y: Floats, z: Floats, triangles: Ints) -> Fragments:
    """The fragments of a mesh, seen from +z.

    Args:
        x, y: (V,) image pixels, pixel centres at integers.
        z: (V,) mm toward the camera.
        triangles: (3, T) vertex indices; triangles that are not clockwise on screen are culled.
    """
    xs, ys = x[triangles], y[triangles]
    double_area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (ys[1] - ys[0])
    top = np.maximum(np.ceil(np.minimum(np.minimum(ys[0], ys[1]), ys[2])), 0.0)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ys[0], ys[1]), ys[2])), IMAGE_HEIGHT - 1.0)
    visible = np.nonzero((double_area > _LEAST_HEIGHT_PX) & (top <= bottom))[0]
    corners, xs, ys, double_area = (
        triangles[:, visible],
        xs[:, visible],
        ys[:, visible],
        double_area[visible],
    )
    of_row, step = _runs((bottom - top)[visible].astype(np.int64) + 1)
    row = top[visible][of_row] + step
    start, stop = _span(xs, ys, of_row, row)
    filled = np.nonzero(start <= stop)[0]
    of_row, row, start, stop = of_row[filled], row[filled], start[filled], stop[filled]
    of_pixel, step = _runs((stop - start).astype(np.int64) + 1)
    # The depth of a triangle is a plane over the image.
    z0, z1, z2 = z[corners]
    right = ((ys[1] - ys[2]) * (z0 - z2) + (ys[2] - ys[0]) * (z1 - z2)) / double_area
    down = ((xs[2] - xs[1]) * (z0 - z2) + (xs[0] - xs[2]) * (z1 - z2)) / double_area
    origin = z2 - right * xs[2] - down * ys[2]
    slope = right[of_row]
    at_start = origin[of_row] + slope * start + down[of_row] * row
    at_start, slope = at_start.astype(np.float32), slope.astype(np.float32)
    depth = at_start[of_pixel] + slope[of_pixel] * step.astype(np.float32)
    pixel = (row * IMAGE_WIDTH + start).astype(np.int64)[of_pixel] + step
    front = _nearest(depth, pixel)
    pixel, of_row = pixel[front], of_row[of_pixel[front]]
    row_of = pixel // IMAGE_WIDTH
    px, py = (pixel - row_of * IMAGE_WIDTH).astype(np.float32), row_of.astype(np.float32)
    w0, w1 = _weights(xs, ys, double_area, of_row, px, py)
    return Fragments(pixel, corners[:, of_row], np.stack([w0, w1, 1.0 - w0 - w1]))


def _runs(count: Ints) -> tuple[Ints, Ints]:
    """For ``count[i]`` entries of each i: i of every entry, and its number within that i.

    >>> _runs(np.array([2, 0, 1]))
    (array([0, 0, 2]), array([0, 1, 0]))
    """
    of = np.repeat(np.arange(len(count)), count)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)


def _span(xs: Floats, ys: Floats, of_row: Ints, row: Floats) -> tuple[Floats, Floats]:
    """First and last pixel column of each (triangle, row)."""
    low = np.full(len(row), -0.25)
    high = np.full(len(row), IMAGE_WIDTH - 0.75)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        # The column of an edge is a linear function of the row. An edge that goes upward is the
        # left bound of the span, an edge that goes downward the right bound; a horizontal edge is
        # no bound.
        rise = ys[start] - ys[end]
        slant = (xs[start] - xs[end]) / np.where(np.abs(rise) < _LEAST_HEIGHT_PX, 1.0, rise)
        origin = xs[start] - ys[start] * slant
        along = slant[of_row] * row
        low = np.maximum(low, np.where(rise >= _LEAST_HEIGHT_PX, origin, -np.inf)[of_row] + along)
        high = np.minimum(high, np.where(rise <= -_LEAST_HEIGHT_PX, origin, np.inf)[of_row] + along)
    return np.ceil(low - _TOLERANCE), np.floor(high + _TOLERANCE)


def _weights(
    xs: Floats, ys: Floats, double_area: Floats, of: Ints, px: Floats, py: Floats
) -> tuple[Floats, Floats]:
    """Shares of corners 0 and 1 at (px, py) in the triangles ``of``."""

    def gathered(values: Floats) -> Floats:
        return values.astype(np.float32)[of]

    dx, dy = px - gathered(xs[2]), py - gathered(ys[2])
    w0 = gathered((ys[1] - ys[2]) / double_area) * dx + gathered((xs[2] - xs[1]) / double_area) * dy
    w1 = gathered((ys[2] - ys[0]) / double_area) * dx + gathered((xs[0] - xs[2]) / double_area) * dy
    return w0, w1


def _nearest(depth: Floats, pixel: Ints) -> Ints:
    """For each covered pixel, ascending: the index of its candidate with the greatest ``depth``."""
    steps = np.floor((depth + _FAR_MM) * _DEPTH_STEPS_PER_MM).astype(np.int64)
    # The index of the candidate in the low bits makes every key different, so no keys are equal.
    key = (steps << _KEY_BITS) + np.arange(len(steps))
    best = np.full(IMAGE_WIDTH * IMAGE_HEIGHT, -1, np.int64)
    np.maximum.at(best, pixel, key)
    nearest: Ints = best[best >= 0] & ((1 << _KEY_BITS) - 1)
    return nearest
