"""Reader of WFLW: text lists of 98 keypoints, one line for each face; images in ``WFLW_images/``.

A line has 98 pairs x y, the rectangle of the face (x1 y1 x2 y2), six attributes of 0 or 1, and the
image; an older list has neither rectangle nor attributes. If train and test lists are read, they
are the parts ``train`` and ``kpi`` of the split. Lists with rectangles are read first; a face of
another list of the same part is skipped, because the test list and its subsets by attribute repeat
it. Source: Wu et al., Look at Boundary (2018).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import (
    Box,
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Floats

NUM_KEYPOINTS = 98
_FIRST_EYE = (60, 61, 63, 64, 65, 67)
_SECOND_EYE = (68, 69, 71, 72, 73, 75)
# The 68 points as a selection of the 98: every second point of the chin, the upper edges of the
# eyebrows, all points of nose and mouth, and six of the eight points of each eye.
TO_68 = (
    *range(0, 34, 2),
    *range(33, 38),
    *range(42, 47),
    *range(51, 60),
    *_FIRST_EYE,
    *_SECOND_EYE,
    *range(76, 96),
)
_ATTRIBUTES = {
    "pose": ("normal", "large"),
    "expression": ("normal", "exaggerated"),
    "illumination": ("normal", "extreme"),
    "make_up": ("none", "some"),
    "occlusion": ("none", "some"),
    "blur": ("clear", "blurred"),
}
_PARTS = {"_train": "train", "_test": "kpi"}
_COORDINATES = 2 * NUM_KEYPOINTS
_LENGTHS = (_COORDINATES, _COORDINATES + 4 + len(_ATTRIBUTES))


def is_wflw(source: LabelSource, file: Path) -> bool:
    """Whether the file is a WFLW list: by its name, or by its first line if it is named."""
    if not source.named:
        return file.name.startswith("list_98pt")
    with file.open(encoding="utf-8", errors="replace") as lines:
        first = next((line.split() for line in lines if line.strip()), [])
    return len(first) - 1 in _LENGTHS


def detects_wflw(source: LabelSource) -> bool:
    """Whether there is a WFLW list."""
    return source.has(partial(is_wflw, source), ".txt")


def read_wflw(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of the lists; if ``source.keypoints`` is 68, its 68 points of ``TO_68``.

    Raises:
        InputError: there is no list.
    """
    what = f"WFLW list (list_98pt*.txt, {' or '.join(map(str, _LENGTHS))} values before the image)"
    lists = source.select(what, partial(is_wflw, source), ".txt", all_levels=True)
    source.layouts = {NUM_KEYPOINTS: "WFLW", 68: "300-W"}
    parts = {file: next((_PARTS[w] for w in _PARTS if w in file.stem), None) for file in lists}
    is_divided = len(set(parts.values())) > 1
    read: set[tuple[str | None, str, bytes]] = set()
    for file in sorted(lists, key=lambda file: "rect_attr" not in file.name):
        part, repeated = parts[file], 0
        with file.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                values = line.split()
                if not values:
                    continue
                where = f"{file.name}, line {number}"
                try:
                    points, box, about = _face(values[:-1])
                    image = source.image(values[-1], file)
                except Refusal as refusal:
                    yield UnreadFace(short_value(values[-1]).strip("'"), where, refusal)
                    continue
                if (face := (part, image, points.tobytes())) in read:
                    repeated += 1
                    continue
                read.add(face)
                if part and is_divided:
                    about["split"] = part
                points = points[list(TO_68)] if source.keypoints == 68 else points
                visible = np.ones(len(points), np.bool_)
                yield LabelledFace(image, where, points, visible, box, attributes=about)
        if repeated:
            source.skipped[file] = f"{repeated} of its faces are in lists that were read before"


def _face(values: list[str]) -> tuple[Floats, Box | None, dict[str, str | float]]:
    if len(values) not in _LENGTHS:
        allowed = " or ".join(map(str, _LENGTHS))
        raise Refusal("label", f"{len(values)} values before the image; it must be {allowed}")
    numbers = [finite_number(f"value {n}", value) for n, value in enumerate(values, start=1)]
    points: Floats = np.array(numbers[:_COORDINATES]).reshape(-1, 2)
    if len(numbers) == _COORDINATES:
        return points, None, {}
    x1, y1, x2, y2 = numbers[_COORDINATES : _COORDINATES + 4]
    if not (x2 > x1 and y2 > y1):
        raise Refusal("face box", f"the rectangle is {x1:g} {y1:g} {x2:g} {y2:g}; it has no area")
    about: dict[str, str | float] = {}
    for (name, words), flag in zip(_ATTRIBUTES.items(), numbers[_COORDINATES + 4 :], strict=True):
        if flag not in (0, 1):
            raise Refusal("label", f"{name} is {flag:g}; it must be 0 or 1")
        about[name] = words[int(flag)]
    return points, (x1, y1, x2 - x1, y2 - y1), about
