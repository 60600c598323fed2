"""Decode the outputs of a model into points in pixels of its crop, pixel centres at integers.

FORMS and UNITS at the end have a function for each value of ``output.form`` and ``output.units``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.params.contract import ContractOutput

Array = NDArray[Any]
Points = NDArray[np.float64]


def decode(array: Array, output: ContractOutput, size: tuple[int, int]) -> Points:
    """(N, K, 2) points in pixels of the crop of ``size`` (width, height).

    Raises:
        InputError: the shape of ``array`` does not fit ``output.form``.
    """
    coordinates = FORMS[output.form](array)
    corner = 0.5 if output.origin == "corner" else 0.0
    extent = np.array(size, np.float64)
    if output.units is None:
        _, map_height, map_width = _maps_first(array, output.form).shape[1:]
        step = extent / np.array([map_width, map_height])
        points: Points = (coordinates + corner) * step - corner
        return points
    return UNITS[output.units](coordinates, extent) - corner


def flat_points(array: Array) -> Points:
    """(N, K, 2) of (N, 2K) values x1, y1, x2, ...; further axes of length 1 are dropped."""
    rows = array.reshape(len(array), -1).astype(np.float64)
    axes = [length for length in array.shape[1:] if length != 1]
    if len(axes) != 1 or rows.shape[1] % 2:
        raise InputError(f"the output is {_shape(array)}; with form flat it must be (N, 2K)")
    return rows.reshape(len(rows), -1, 2)


def point_rows(array: Array) -> Points:
    """(N, K, 2): the first two columns of (N, K, 2 or more)."""
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3 or array.shape[2] < 2:
        raise InputError(f"the output is {_shape(array)}; with form points it must be (N, K, 2)")
    return array[:, :, :2].astype(np.float64)


def heatmap_peaks(maps: Array) -> Points:
    """(N, K, 2) position of the largest value of each map (N, K, h, w), in pixels of the map.

    Along each axis the peak is refined by the vertex of the parabola through the largest value and
    its two neighbours; not at the edge of the map. NaN for a map without a finite largest value.
    """
    count, num_keypoints, height, width = maps.shape
    rows = maps.reshape(count * num_keypoints, height, width).astype(np.float64)
    index = rows.reshape(len(rows), -1).argmax(axis=1)
    y, x = np.divmod(index, width)
    every = np.arange(len(rows))
    peak = rows[every, y, x]
    offset_x = _vertex(rows[every, y, np.maximum(x - 1, 0)], peak, rows[every, y, (x + 1) % width])
    offset_y = _vertex(rows[every, np.maximum(y - 1, 0), x], peak, rows[every, (y + 1) % height, x])
    inner_x, inner_y = (x > 0) & (x < width - 1), (y > 0) & (y < height - 1)
    points = np.stack(
        [x + np.where(inner_x, offset_x, 0.0), y + np.where(inner_y, offset_y, 0.0)], axis=1
    )
    points[~np.isfinite(peak)] = np.nan
    return points.reshape(count, num_keypoints, 2)


def _vertex(before: Points, peak: Points, after: Points) -> Points:
    """Offset of the vertex of the parabola through three values with a distance of 1."""
    curvature = 2 * peak - before - after
    with np.errstate(invalid="ignore"):
        bent = np.isfinite(curvature) & (curvature > 0)
        slope = np.where(bent, after - before, 0.0)
    return slope / np.where(bent, 2 * curvature, 1.0)


def _maps_first(array: Array, form: str) -> Array:
    """Heat maps as (N, K, h, w)."""
    if array.ndim != 4:
        expected = "(N, K, h, w)" if form == "heatmaps" else "(N, h, w, K)"
        raise InputError(f"the output is {_shape(array)}; with form {form} it must be {expected}")
    return array if form == "heatmaps" else np.moveaxis(array, 3, 1)


def _shape(array: Array) -> str:
    return f"(N, {', '.join(map(str, array.shape[1:]))})"


FORMS: dict[str, Callable[[Array], Points]] = {
    "flat": flat_points,
    "points": point_rows,
    "heatmaps": lambda array: heatmap_peaks(_maps_first(array, "heatmaps")),
    "heatmaps_last": lambda array: heatmap_peaks(_maps_first(array, "heatmaps_last")),
}
"""``output.form`` -> output array to coordinates (N, K, 2)."""
UNITS: dict[str, Callable[[Points, Points], Points]] = {
    "pixels": lambda coordinates, extent: coordinates,
    "unit": lambda coordinates, extent: coordinates * extent,
    "centred": lambda coordinates, extent: (coordinates + 1) / 2 * extent,
}
"""``output.units`` -> coordinates and the crop's (width, height) to pixels of the crop."""
