"""Slices of the evaluation faces: pose, light, expression, size, and every attribute of the set.

Input: the table of faces. Output: attribute -> value -> the faces with this value. Numeric
attributes with many values are split at their quartiles; a constant attribute gives no slices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpenet.data.crops.store import CropStore, Rows
from fpenet.data.sample import ATTRIBUTE, numbers_of
from fpenet.kpi.metrics import Bools
from fpenet.kpi.normalisers import MOST_YAW_DEG, Floats, yaw_deg

MOST_VALUES = 40
"""Largest number of text values of an attribute; with more they are names, not classes."""
MEASURED = ("yaw", "yaw_range", "occlusion_level", "hidden_points", "face_size")
"""Attributes that describe the image of a face and never its subject."""
_FEW_NUMBERS = 12
"""Up to this many different numbers, each is a slice; with more, quartiles are used."""
CAMERA_STEP_DEG = 15.0
"""Angle between two neighbouring cameras of Multi-PIE (docs/fpenet.md)."""


@dataclass(frozen=True, slots=True)
class Slices:
    """The faces by attribute.

    Attributes:
        slices: attribute -> value -> indices into the evaluation faces.
        left_out: attribute -> why it has no slices.
    """

    slices: dict[str, dict[str, NDArray[np.int64]]]
    left_out: dict[str, str]


def slice_faces(store: CropStore, rows: Rows) -> Slices:
    """The slices of the faces ``rows`` by every attribute."""
    columns: dict[str, list[str | None]] = {}
    left_out: dict[str, str] = {}
    for name in sorted(n for n in store.table.column_names if n.startswith(ATTRIBUTE)):
        attribute = name.removeprefix(ATTRIBUTE)
        values = store.attribute(attribute, rows)
        degrees = yaw_deg(values)
        if attribute == "yaw" and np.isfinite(degrees).any():
            columns["yaw"] = _named(degrees, yaw_camera)
            columns["yaw_range"] = _named(degrees, yaw_range)
        elif all(value is None or isinstance(value, int | float) for value in values):
            columns[attribute] = quartiles(values)
        else:
            columns[attribute] = [None if value is None else str(value) for value in values]
    levels = [store.table["occlusion_level"][int(row)].as_py() for row in rows]
    columns["occlusion_level"] = [None if level is None else str(level) for level in levels]
    labelled = ~np.isnan(store.points_crop(rows)[:, :, 0])
    columns["hidden_points"] = hidden_points(labelled, store.visible(rows))
    sides = np.maximum(
        numbers_of(store.table, "box_width")[rows], numbers_of(store.table, "box_height")[rows]
    )
    columns["face_size"] = [face_size(float(side)) for side in sides]
    slices: dict[str, dict[str, NDArray[np.int64]]] = {}
    for attribute, names in columns.items():
        distinct = sorted({name for name in names if name is not None}, key=_in_order)
        if len(distinct) < 2:
            reason = f"all faces are {distinct[0]}" if distinct else "not known for any face"
            left_out[attribute] = reason
        elif len(distinct) > MOST_VALUES:
            left_out[attribute] = f"{len(distinct)} values; at most {MOST_VALUES} become slices"
        else:
            column = np.array(names, dtype=object)
            slices[attribute] = {value: np.flatnonzero(column == value) for value in distinct}
    return Slices(slices, left_out)


def yaw_camera(yaw_deg: float) -> str:
    """The angle of the Multi-PIE camera nearest to a yaw, as text.

    >>> yaw_camera(-22.4), yaw_camera(0.0), yaw_camera(88.0)
    ('-15', '0', '90')
    """
    return f"{round(yaw_deg / CAMERA_STEP_DEG) * CAMERA_STEP_DEG:.0f}"


def yaw_range(yaw_deg: float) -> str:
    """Class of the absolute yaw; NVIDIA's model card warns of yaw above 60 degrees.

    >>> yaw_range(-30.0), yaw_range(60.0), yaw_range(75.0)
    ('up to 30', '30 to 60', 'above 60')
    """
    angle = abs(yaw_deg)
    return "up to 30" if angle <= 30 else "30 to 60" if angle <= MOST_YAW_DEG else "above 60"


def face_size(side_px: float) -> str:
    """Class of the face box's longer side in image pixels.

    >>> face_size(63.9), face_size(64.0), face_size(700.0)
    ('under 64 px', '64 to 128 px', 'from 256 px')
    """
    for low, high in ((0, 64), (64, 128), (128, 256)):
        if side_px < high:
            return f"{low} to {high} px" if low else f"under {high} px"
    return "from 256 px"


def hidden_points(labelled: Bools, visible: Bools) -> list[str | None]:
    """Class of the share of labelled points (N, K) that are hidden, for each face."""
    count = labelled.sum(axis=1)
    share = (labelled & ~visible).sum(axis=1) / np.maximum(count, 1)
    return [
        None if not n else "none" if not s else "up to 20 %" if s <= 0.2 else "over 20 %"
        for n, s in zip(count, share, strict=True)
    ]


def quartiles(values: list[str | float | None]) -> list[str | None]:
    """Numbers as text: the number itself if there are few different ones, else its quartile.

    >>> quartiles([0.0, 1.0, None, 1.0])
    ['0', '1', None, '1']
    """
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    known = numbers[np.isfinite(numbers)]
    if len(set(known.tolist())) <= _FEW_NUMBERS:
        return [f"{number:g}" if np.isfinite(number) else None for number in numbers]
    edges = np.unique(np.percentile(known, [0, 25, 50, 75, 100]))
    bins = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    return [
        names[index] if np.isfinite(number) else None
        for index, number in zip(bins, numbers, strict=True)
    ]


def _named(values: Floats, name: Callable[[float], str]) -> list[str | None]:
    return [name(float(value)) if np.isfinite(value) else None for value in values]


def _in_order(value: str) -> tuple[float, str]:
    """Sort key: the number at the start of the text, then the text."""
    first = value.split()[0] if value.split() else ""
    try:
        return float(first), value
    except ValueError:
        return (-np.inf if first in ("under", "up", "none") else np.inf), value
