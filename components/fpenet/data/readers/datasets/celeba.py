"""Reader of CelebA's lists: ``list_landmarks_celeba.txt`` and ``list_landmarks_align_celeba.txt``.

The first line is the number of images, the second one has the names ``lefteye_x lefteye_y ...``;
each further line is an image and its values. Their CSV is a table with other column names
(``table``). ``list_eval_partition.txt`` and ``identity_CelebA.txt`` beside it are split and
subjects.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fpenet.data.readers.keypoint_names import keypoint_order
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace, finite_number, short_value
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Floats

_PARTS = {"0": "train", "1": "val", "2": "kpi"}
_X = re.compile(r"(.+)_x", re.ASCII)


def landmark_names(file: Path) -> list[str]:
    """The names of the keypoints in the second line; none in another file."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        count, names = next(lines, "").strip(), next(lines, "").split()
    pairs = list(zip(names[::2], names[1::2], strict=False))
    stems = [match[1] for x, y in pairs if (match := _X.fullmatch(x)) and y == f"{match[1]}_y"]
    return stems if count.isdecimal() and stems and 2 * len(stems) == len(names) else []


def is_celeba(file: Path) -> bool:
    """Whether the file is a list of landmarks."""
    return bool(landmark_names(file))


def detects_celeba(source: LabelSource) -> bool:
    """Whether there is such a list."""
    return source.has(is_celeba, ".txt")


def read_celeba(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """The face of each line of the list.

    Raises:
        InputError: there is no list, or there are two.
    """
    what = "CelebA list (a number, then names x and y)"
    file = source.select_one(what, "lists", is_celeba, ".txt")
    names = landmark_names(file)
    order = keypoint_order(source, names, "the list's columns")
    source.layouts = {5: "CelebA"}
    parts, people = (
        _second_column(file.with_name(name))
        for name in ("list_eval_partition.txt", "identity_CelebA.txt")
    )
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            name, *values = line.split() or [""]
            if number <= 2 or not name:
                continue
            where = f"{source.where(file)}, line {number}"
            try:
                if len(values) != 2 * len(names):
                    detail = f"{len(values)} values for {2 * len(names)} columns"
                    raise Refusal("label", detail)
                numbers = [finite_number(f"value {n}", v) for n, v in enumerate(values, start=1)]
                points: Floats = np.full((len(order.names), 2), np.nan)
                points[[order.index(each) for each in names]] = np.reshape(numbers, (-1, 2))
                about = {"split": _PARTS[parts[name]]} if parts.get(name) in _PARTS else {}
                yield LabelledFace(
                    source.image(name, file),
                    where,
                    points,
                    ~np.isnan(points[:, 0]),
                    subject=people.get(name),
                    attributes=about,
                )
            except Refusal as refusal:
                yield UnreadFace(short_value(name).strip("'"), where, refusal)


def _second_column(file: Path) -> dict[str, str]:
    """Image -> value of a list of two columns; nothing where there is no such file."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        rows = [line.split() for line in lines]
    return {row[0]: row[1] for row in rows if len(row) == 2}
