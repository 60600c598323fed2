"""Columns of a table of faces: their names, of ours or of others, and what they contain."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.data.readers.keypoint_names import keypoint_order
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import MAX_POINTS
from fpenet.data.readers.sidecar import COLUMN, KEYPOINT_COLUMN

BOX = ("box_x", "box_y", "box_width", "box_height")
FILENAMES = ("image_id", "image", "image_name", "image_path", "img", "file", "file_name", "path")
"""Columns that are the image's name in a table without the column filename, the first of them."""
POINTS = "points"
_RESERVED = {"filename", "occlusion_level", "subject", *BOX}
_NUMBER = re.compile(r"#(\d{1,6})(?:-#(\d{1,6}))?", re.ASCII)
_NAMED = re.compile(r"(.*[^\W_])[_.\- ]([xy])", re.ASCII | re.IGNORECASE)
_FEWEST_NAMED = 3  # keypoints; two columns gaze_x and gaze_y are attributes
_OPENFACE = ("frame", "confidence", "success")
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by their content.

    Attributes:
        coordinates: 0-based keypoint -> the names of its x and y columns.
        hidden: 0-based keypoint -> the name of its ``occluded`` column.
        attributes: the columns with attributes.
    """

    coordinates: Mapping[int, tuple[str, str]]
    hidden: Mapping[int, str]
    attributes: tuple[str, ...]


def by_number(columns: Mapping[str, str]) -> bool:
    """Whether ``data.columns`` names columns by their number: ``{filename: "#1"}``."""
    return any(_NUMBER.fullmatch(theirs) for theirs in columns.values())


def our_names(names: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """The names of a table's columns; ours where ``data.columns`` has one.

    ``{k}`` is the number of a keypoint, ``#3`` the third column, and ``points: #2-#137`` stands for
    x and y of one keypoint after the other.

    >>> our_names(["file", "lm_07_x"], {"filename": "file", "x{k}": "lm_{k}_x"})
    ['filename', 'x7']
    >>> our_names(["", "0", "1"], {"filename": "#1", "points": "#2-#3"})
    ['filename', 'x1', 'y1']
    """
    ours = list(names)
    for name, theirs in columns.items():
        if numbered := _NUMBER.fullmatch(theirs):
            first, last = int(numbered[1]), int(numbered[2] or numbered[1])
            for place, column_number in enumerate(range(first, min(last, len(ours)) + 1)):
                is_points = name == POINTS
                ours[column_number - 1] = (
                    f"{'xy'[place % 2]}{place // 2 + 1}" if is_points else name
                )
            continue
        pattern = re.escape(theirs).replace(r"\{k\}", r"(\d{1,9})")
        for place, column in enumerate(names):
            if match := re.fullmatch(pattern, column):
                number = str(int(match[1])) if match.groups() else ""
                ours[place] = name.replace("{k}", number)
    if "filename" not in ours:
        for alias in FILENAMES:
            if alias in ours:
                ours[ours.index(alias)] = "filename"
                break
    return ours


def keypoint_words(names: Sequence[str]) -> list[str]:
    """The keypoints of columns such as ``nose_x`` and ``nose_y``, in order; none where keypoints
    have numbers, or of fewer than three."""
    if any(map(KEYPOINT_COLUMN.fullmatch, names)):
        return []
    axes: dict[str, set[str]] = {}
    for name in names:
        if name not in BOX and (match := _NAMED.fullmatch(name)):
            axes.setdefault(match[1], set()).add(match[2].lower())
    words = [word for word, both in axes.items() if len(both) == 2]
    return words if len(words) >= _FEWEST_NAMED else []


def numbered_names(source: LabelSource, names: Sequence[str]) -> list[str]:
    """``names`` with ``x1``, ``y1`` in place of words; see ``keypoint_order`` for their order."""
    words = keypoint_words(names)
    if not words:
        return list(names)
    order = keypoint_order(source, words, "the table's columns")
    numbers = {word: order.index(word) + 1 for word in words}
    numbered = []
    for name in names:
        match = _NAMED.fullmatch(name)
        is_keypoint = match is not None and match[1] in numbers and name not in BOX
        numbered.append(f"{match[2].lower()}{numbers[match[1]]}" if match and is_keypoint else name)
    return numbered


def describe_columns(names: Sequence[str]) -> str:
    """The columns that a table has, and what they must be, for messages."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = f", ... ({len(names)})" if len(names) > _SHOWN else ""
    return (
        f"its columns are {shown}{more}; they must be filename, x1, y1, x2, y2, ... in pixels:"
        " rename them, or set data.columns, by name {filename: image, 'x{k}': 'lm_{k}_x',"
        " 'y{k}': 'lm_{k}_y'} or by number {filename: '#1', points: '#2-#137'}"
    )


def columns_of(file: Path, names: Sequence[str]) -> Columns:
    """The columns ``names`` by their content.

    Raises:
        InputError: a column is missing, repeated or not valid; the message names file and column.
    """
    if "filename" not in names:
        frame = "; frame is a number, no image" if "frame" in names else ""
        raise InputError(f"{file}: has no column filename{frame}; {describe_columns(names)}")
    if len(set(names)) != len(names):
        repeated = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"{file}: two columns are named {repeated!r}")
    columns: dict[tuple[str, int], str] = {}
    attributes = []
    others = _not_attributes(names)
    for name in names:
        if match := KEYPOINT_COLUMN.fullmatch(name):
            columns[match[1], int(match[2])] = name
        elif name not in _RESERVED and name not in others:
            if not COLUMN.fullmatch(name):
                raise InputError(f"{file}: column {name!r}; a name is letters, digits and _")
            attributes.append(name)
    first = 0 if ("x", 0) in columns else 1
    numbers = sorted(number for axis, number in columns if axis == "x")
    if not numbers or numbers[-1] - first >= MAX_POINTS:
        raise InputError(f"{file}: needs the columns x1 and y1, and at most {MAX_POINTS} of them")
    for axis, number in columns:
        if ("x", number) not in columns or ("y", number) not in columns:
            raise InputError(f"{file}: column {axis}{number} without x{number} and y{number}")
    box = [name for name in BOX if name in names]
    if box and len(box) != len(BOX):
        raise InputError(f"{file}: has {', '.join(box)}; a box is {', '.join(BOX)}")
    coordinates = {
        number - first: (columns["x", number], columns["y", number]) for number in numbers
    }
    hidden = {n - first: name for (axis, n), name in columns.items() if axis == "occluded"}
    return Columns(coordinates, hidden, tuple(attributes))


def _not_attributes(names: Sequence[str]) -> set[str]:
    """Of a table of OpenFace all but frame, confidence and success: ``X_0`` is in millimetres."""
    if {"x_0", "y_0", *_OPENFACE[1:]} <= set(names):
        return {n for n in names if not KEYPOINT_COLUMN.fullmatch(n)} - {*_RESERVED, *_OPENFACE}
    return set()
