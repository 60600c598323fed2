"""Reader and writer of 300-W ``.pts`` files: one text file with one face for each image.

Source: annotations of the 300-W challenge (iBUG). MATLAB numbers pixels from 1: 1 is subtracted
from both coordinates when reading and added when writing. The format has no flags, boxes or
subjects.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.images import SUFFIXES
from fpenet.data.readers.labelled_set import (
    MAX_POINTS,
    LabelledFace,
    UnreadFace,
    contained,
    finite_number,
    short_value,
)
from fpenet.data.rejected import Refusal
from fpenet.data.sample import FaceSample, Floats

_MOST_BYTES = 1 << 20


def pts_files(labels: Path) -> list[Path]:
    """The ``.pts`` files in a folder and below it, or ``labels`` itself if it is one."""
    if labels.is_file():
        return [labels] if labels.suffix == ".pts" else []
    return sorted(labels.rglob("*.pts"))


def detects_pts(labels: Path) -> bool:
    """Whether there is a ``.pts`` file."""
    return bool(pts_files(labels))


def read_pts_set(labels: Path, keypoints: int | None = None) -> Iterator[LabelledFace | UnreadFace]:
    """The face of each ``.pts`` file, in the order of their paths.

    Raises:
        InputError: there is no ``.pts`` file.
    """
    root = labels if labels.is_dir() else labels.parent
    files = pts_files(labels)
    if not files:
        raise InputError(f"{labels}: no *.pts file in it")
    real = str(root.resolve())
    for file in files:
        where = file.relative_to(root).as_posix()
        try:
            image = contained(real, _image_of(file).relative_to(root).as_posix())
            points = read_pts(file)
            yield LabelledFace(image, where, points, np.ones(len(points), np.bool_))
        except Refusal as refusal:
            yield UnreadFace(where, where, refusal)


def read_pts(path: Path) -> Floats:
    """(K, 2) image pixels of one file, pixel centres at integers.

    Raises:
        Refusal: the file has another format; the message names it and the problem.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise Refusal("label", f"{path.name}: larger than {_MOST_BYTES >> 20} MiB")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Refusal("label", f"{path.name}: not UTF-8 at byte {error.start}") from None
    lines = [line.strip() for line in lines if line.strip()]
    if "{" not in lines or lines[-1] != "}":
        raise Refusal("label", f"{path.name}: has no points between {{ and }}")
    start = lines.index("{")
    header = dict(line.split(":", 1) for line in lines[:start] if ":" in line)
    count = header.get("n_points", "").strip()
    rows = [line.split() for line in lines[start + 1 : -1]]
    if not (count.isascii() and count.isdigit() and int(count[:9]) == len(rows)):
        raise Refusal(
            "label", f"{path.name}: n_points is {short_value(count)}, but {len(rows)} follow"
        )
    if not 1 <= len(rows) <= MAX_POINTS or any(len(row) != 2 for row in rows):
        raise Refusal("label", f"{path.name}: must be 1 to {MAX_POINTS} lines of x and y")
    points: Floats = np.array(
        [
            [
                finite_number(f"{path.name}: {axis}{k}", value)
                for axis, value in zip("xy", row, strict=True)
            ]
            for k, row in enumerate(rows, start=1)
        ]
    )
    return points - 1.0


def _image_of(file: Path) -> Path:
    images = [
        path
        for path in (file.with_suffix(s) for suffix in SUFFIXES for s in (suffix, suffix.upper()))
        if path.is_file()
    ]
    if len(images) != 1:
        names = ", ".join(path.name for path in images) or "none"
        raise Refusal(
            "image missing",
            f"{file.name}: its folder must have one image of its name ({', '.join(SUFFIXES)}); it"
            f" has {names}",
        )
    return images[0]


def write_pts_set(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write a ``.pts`` file next to each image.

    Returns:
        index of a face -> why it was not written: an unlabelled keypoint, or a second face of an
        image.
    """
    refused: dict[int, Refusal] = {}
    written: set[Path] = set()
    for number, sample in enumerate(samples):
        path = (folder / sample.image).with_suffix(".pts")
        missing = np.flatnonzero(np.isnan(sample.points[:, 0])) + 1
        if len(missing):
            detail = f"keypoint {missing[0]} is unlabelled; a .pts file needs every keypoint"
            refused[number] = Refusal("unlabelled keypoint", detail, broken=False)
        elif path in written:
            detail = f"{path.name} has another face; a .pts file has one face"
            refused[number] = Refusal("second face", detail, broken=False)
        else:
            written.add(path)
            rows = "\n".join(f"{x!r} {y!r}" for x, y in (sample.points + 1.0).tolist())
            head = f"version: 1\nn_points: {len(sample.points)}"
            path.write_text(f"{head}\n{{\n{rows}\n}}\n", encoding="utf-8")
    return refused
