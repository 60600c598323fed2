"""Reader and writer of 300-W ``.pts`` files: one text file with one face for each image.

Read are also: other headers before ``{``, comments, ``{`` on the line of the header, text after
``}``, commas between x and y, line ends of every system. A folder ``annot``, as in 300-VW, belongs
to the folder above it, which is a video of one person: its name is the subject and the sequence,
the number of the file is the frame.

Source: annotations of the 300-W challenge (iBUG). MATLAB numbers pixels from 1: 1 is subtracted
from both coordinates when reading and added when writing. The format has no flags, boxes or
subjects.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from fpenet.data.sample import FaceSample, Floats

_MOST_BYTES = 1 << 20


def detects_pts(source: LabelSource) -> bool:
    """Whether there is a ``.pts`` file."""
    return bool(source.files(".pts"))


def read_pts_set(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """The face of each ``.pts`` file; folders nearer to the top first, then by path.

    Raises:
        InputError: there is no ``.pts`` file.
    """
    source.layouts, source.first_pixel = {68: "300-W"}, 1
    for file in source.select("*.pts file", Path.is_file, ".pts", all_levels=True):
        where = source.where(file)
        try:
            image = source.image_named_after(file)
            points = read_pts(file)
            subject, about = _video_of(file)
            visible = np.ones(len(points), np.bool_)
            yield LabelledFace(image, where, points, visible, subject=subject, attributes=about)
        except Refusal as refusal:
            yield UnreadFace(where, where, refusal)


def _video_of(file: Path) -> tuple[str | None, dict[str, str | float]]:
    """Subject, and attributes sequence and frame, of a file of 300-VW; nothing of another."""
    if file.parent.name.lower() != "annot" or not file.stem.isdecimal():
        return None, {}
    person = file.parent.parent.name
    return person, {"sequence": person, "frame": float(file.stem)}


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
    text = "\n".join(line for line in lines if not line.lstrip().startswith(("#", "//")))
    head, brace, rest = text.partition("{")
    body, end, _ = rest.partition("}")
    if not (brace and end):
        raise Refusal("label", f"{path.name}: has no points between {{ and }}")
    header = dict(line.split(":", 1) for line in head.splitlines() if ":" in line)
    count = {key.strip().lower(): value.strip() for key, value in header.items()}.get("n_points")
    rows = [line.replace(",", " ").split() for line in body.splitlines() if line.strip()]
    if count is not None and not (count.isdecimal() and int(count[:9]) == len(rows)):
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
