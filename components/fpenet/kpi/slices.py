"""Slices: the judged faces by pose, light, expression, size, and every attribute that the set has.

Input: the faces' table. Output: attribute -> value -> the faces that have it. Numbers with many
values are cut at their quartiles, an attribute that says the same of all faces is none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fpenet.data.crops.store import CropStore, Rows
from fpenet.data.sample import ATTRIBUTE, numbers_of
from fpenet.kpi.metrics import Bools

MOST_VALUES = 40
"""Of one attribute as words; more are names, not classes."""
_FEW_NUMBERS = 12
"""Different numbers that are a slice each, not quartiles."""
CAMERA_STEP_DEG = 15.0
"""Between two neighbouring cameras of Multi-PIE (FACTS 8)."""


@dataclass(frozen=True, slots=True)
class Slices:
    """The faces by attribute.

    Attributes:
        slices: attribute -> value -> indices into the judged faces.
        left_out: attribute -> why it is none.
    """

    slices: dict[str, dict[str, NDArray[np.int64]]]
    left_out: dict[str, str]


def slice_faces(store: CropStore, rows: Rows) -> Slices:
    """Every attribute of the faces ``rows`` as slices."""
    columns: dict[str, list[str | None]] = {}
    left_out: dict[str, str] = {}
    for name in sorted(n for n in store.table.column_names if n.startswith(ATTRIBUTE)):
        attribute = name.removeprefix(ATTRIBUTE)
        values = store.attribute(attribute, rows)
        if attribute == "yaw":
            columns["yaw"] = _words(values, yaw_camera)
            columns["yaw_range"] = _words(values, yaw_range)
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
    for attribute, words in columns.items():
        found = sorted({word for word in words if word is not None}, key=_in_order)
        if len(found) < 2:
            left_out[attribute] = f"all faces are {found[0]}" if found else "not known of any face"
        elif len(found) > MOST_VALUES:
            left_out[attribute] = f"{len(found)} values; at most {MOST_VALUES} are slices"
        else:
            own = np.array(words, dtype=object)
            slices[attribute] = {value: np.flatnonzero(own == value) for value in found}
    return Slices(slices, left_out)


def yaw_camera(yaw_deg: float) -> str:
    """The angle of the Multi-PIE camera nearest to a yaw, as words.

    >>> yaw_camera(-22.4), yaw_camera(0.0), yaw_camera(88.0)
    ('-15', '0', '90')
    """
    return f"{round(yaw_deg / CAMERA_STEP_DEG) * CAMERA_STEP_DEG:.0f}"


def yaw_range(yaw_deg: float) -> str:
    """How far a face is turned; beyond 60 degrees the model card does not trust the net.

    >>> yaw_range(-30.0), yaw_range(60.0), yaw_range(75.0)
    ('up to 30', '30 to 60', 'above 60')
    """
    turned = abs(yaw_deg)
    return "up to 30" if turned <= 30 else "30 to 60" if turned <= 60 else "above 60"


def face_size(side_px: float) -> str:
    """The octave of the face box's longer side, in image pixels.

    >>> face_size(63.9), face_size(64.0), face_size(700.0)
    ('under 64 px', '64 to 128 px', 'from 256 px')
    """
    for low, high in ((0, 64), (64, 128), (128, 256)):
        if side_px < high:
            return f"{low} to {high} px" if low else f"under {high} px"
    return "from 256 px"


def hidden_points(labelled: Bools, visible: Bools) -> list[str | None]:
    """For each face (N, K) which share of its labelled points is hidden, as words."""
    count = labelled.sum(axis=1)
    share = (labelled & ~visible).sum(axis=1) / np.maximum(count, 1)
    return [
        None if not n else "none" if not s else "up to 20 %" if s <= 0.2 else "over 20 %"
        for n, s in zip(count, share, strict=True)
    ]


def quartiles(values: list[str | float | None]) -> list[str | None]:
    """Numbers as words: each by itself where they are few, else the quarter that it is in.

    >>> quartiles([0.0, 1.0, None, 1.0])
    ['0', '1', None, '1']
    """
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    known = numbers[np.isfinite(numbers)]
    if len(set(known.tolist())) <= _FEW_NUMBERS:
        return [f"{number:g}" if np.isfinite(number) else None for number in numbers]
    edges = np.unique(np.percentile(known, [0, 25, 50, 75, 100]))
    place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    words = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    return [
        words[index] if np.isfinite(number) else None
        for index, number in zip(place, numbers, strict=True)
    ]


def _words(values: list[str | float | None], name: Callable[[float], str]) -> list[str | None]:
    return [None if value is None else name(float(value)) for value in values]


def _in_order(word: str) -> tuple[float, str]:
    """By the number that a word starts with, then by the word."""
    first = word.split()[0] if word.split() else ""
    try:
        return float(first), word
    except ValueError:
        return (-np.inf if first in ("under", "up", "none") else np.inf), word
