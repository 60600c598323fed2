"""Reader of text files of one face: Helen, LaPa and JD-106.

- Helen (194 points): the first line is the image's name, then lines ``x , y``.
- LaPa (``landmarks/*.txt``) and JD-106 (``*.jpg.txt``): the first line is the number of points,
  106, then lines ``x y``; the file is named after the image.

Points are in image pixels as they are. The formats have no flags, boxes or subjects.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import (
    MAX_POINTS,
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Floats

_MOST_BYTES = 1 << 20
_LAYOUTS = {106: "JD and LaPa"}


def is_landmark_text(file: Path) -> bool:
    """Whether the first line is a number of points or one word, and the second one x and y."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        head = [line.strip() for _, line in zip(range(2), lines, strict=False)]
    return len(head) == 2 and len(head[0].split()) == 1 and _pair(head[1]) is not None


def detects_landmark_text(source: LabelSource) -> bool:
    """Whether there is such a text file."""
    return source.has(is_landmark_text, ".txt")


def read_landmark_text(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """The face of each text file; folders nearer to the top first, then by path.

    Raises:
        InputError: there is no such file.
    """
    source.layouts = _LAYOUTS
    what = "text file of one face (a number of points or an image, then lines x y)"
    for file in source.select(what, is_landmark_text, ".txt", all_levels=True):
        where = source.where(file)
        try:
            name, points = read_points(file)
            if name is None:
                image = source.image_named_after(file)
            else:
                image = _image_of(source, name, file)
            yield LabelledFace(image, where, points, np.ones(len(points), np.bool_))
        except Refusal as refusal:
            yield UnreadFace(where, where, refusal)


def _image_of(source: LabelSource, name: str, file: Path) -> str:
    """The image that Helen names without its suffix, or with it."""
    try:
        return source.image_named_after(file.with_name(f"{name}.txt"))
    except Refusal as refusal:
        if refusal.reason != "image missing":
            raise
        return source.image(name, file)


def read_points(path: Path) -> tuple[str | None, Floats]:
    """The image's name, None where the first line is a number of points, and (K, 2) pixels.

    Raises:
        Refusal: another number of points than the first line says, or no points.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise Refusal("label", f"{path.name}: larger than {_MOST_BYTES >> 20} MiB")
    lines = path.read_text("utf-8-sig", "replace").splitlines()
    first, *rest = [line.strip() for line in lines if line.strip()]
    rows = [_pair(line) for line in rest]
    bad = next((number for number, row in enumerate(rows, start=2) if row is None), None)
    if bad is not None:
        raise Refusal("label", f"{path.name}, line {bad}: {short_value(rest[bad - 2])} is no x y")
    if not 1 <= len(rows) <= MAX_POINTS:
        raise Refusal("label", f"{path.name}: {len(rows)} points; must be 1 to {MAX_POINTS}")
    is_count = first.isdecimal() and int(first[:9]) in {len(rows), *_LAYOUTS}
    if is_count and int(first) != len(rows):
        raise Refusal("label", f"{path.name}: says {first} points, but {len(rows)} follow")
    points: Floats = np.array(
        [
            [
                finite_number(f"{path.name}: {axis}{k}", value)
                for axis, value in zip("xy", row or (), strict=True)
            ]
            for k, row in enumerate(rows, start=1)
        ]
    )
    return (None if is_count else first), points


def _pair(line: str) -> tuple[str, str] | None:
    """The texts of x and y; None where the line has no two numbers."""
    parts = line.replace(",", " ").split()
    if len(parts) != 2:
        return None
    try:
        float(parts[0]), float(parts[1])
    except ValueError:
        return None
    return parts[0], parts[1]
