"""Read labels of any known format as FaceSamples: one module per format, common parts here.

Input: ``data.labels``. Does: detects the format, reads every face, determines the number of
keypoints of the set, adds the columns of CSV files, reads the header of each image. Output: one
LabelledSet; each face that could not be used is in ``rejected`` with file, row and reason.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.images import ImageHeader, read_header, turn_of
from fpenet.data.readers.coco import detects_coco, read_coco
from fpenet.data.readers.label_studio import detects_label_studio, read_label_studio
from fpenet.data.readers.labelled_set import LabelledFace, LabelledSet, UnreadFace
from fpenet.data.readers.multi_pie import detects_multi_pie, read_multi_pie
from fpenet.data.readers.pts import detects_pts, read_pts_set
from fpenet.data.readers.sidecar import (
    Attributes,
    dataset_name,
    folder_name,
    image_columns,
    own_scheme,
)
from fpenet.data.readers.sloth import detects_sloth, read_sloth
from fpenet.data.readers.table import detects_table, find_table, read_table_set
from fpenet.data.readers.wflw import detects_wflw, read_wflw
from fpenet.data.rejected import Refusal, Rejected
from fpenet.data.sample import FaceSample, keypoints_box
from fpenet.params import DataParams

__all__ = ["READERS", "LabelledSet", "find_format", "read_labels"]

_REPORT_EVERY = 2048


@dataclass(frozen=True, slots=True)
class Reader:
    """One format.

    Attributes:
        detects: whether the folder or file is of this format.
        read: takes the labels and the requested number of keypoints (None: all); returns faces.
        files: description of the files of the format, for messages.
    """

    detects: Callable[[Path], bool]
    read: Callable[[Path, int | None], Iterator[LabelledFace | UnreadFace]]
    files: str


def read_labels(labels: Path, data: DataParams) -> LabelledSet:
    """Read the labelled set at ``labels``, a folder or a label file.

    Raises:
        InputError: the labels are missing or of an unknown format, there is no face, or a sidecar
            file is broken.
    """
    if not labels.exists():
        raise InputError(f"data.labels: {labels} does not exist")
    root = labels if labels.is_dir() else labels.parent
    pattern = subject_pattern(data.subject_pattern)
    format_name = find_format(labels) if data.format == "auto" else data.format
    columns = image_columns(root, find_table(labels) if format_name == "table" else None)
    requested = None if data.keypoints == "auto" else data.keypoints
    faces = list(READERS[format_name].read(labels, requested))
    num_keypoints = _keypoints_of(labels, faces, data.keypoints)
    name = data.name
    if name == "auto":
        by_format = "multi_pie" if format_name == "multi_pie" else folder_name(root)
        name = dataset_name(root) or by_format
    samples: list[FaceSample] = []
    rejected: list[Rejected] = []
    headers: dict[str, ImageHeader | Refusal] = {}
    turns: dict[str, bool | None] = {}
    for number, face in enumerate(faces):
        try:
            if isinstance(face, UnreadFace):
                raise face.refusal
            header = _header_once(root, face.image, headers)
            turn = turn_of(root / face.image, header, face.labelled_size, face.shown_upright)
            if turns.setdefault(face.image, turn) is not turn:
                raise Refusal(
                    "image rotated", "its faces were labelled on differently turned images"
                )
            size = header.upright_size if turn else header.size
            about = columns.get(face.image, {})
            samples.append(_sample(face, num_keypoints, size, turn, about))
            if samples[-1].subject is None:
                subject = _subject_of_image(face.image, data.subject_per_image, pattern)
                samples[-1] = dataclasses.replace(samples[-1], subject=subject)
        except Refusal as refusal:
            detail = f"{face.where}: {refusal.detail}"
            rejected.append(Rejected(face.image, number, refusal.reason, detail, refusal.broken))
        if number % _REPORT_EVERY == 0 or number + 1 == len(faces):
            report(number + 1, len(faces), "labels")
    scheme = own_scheme(root, num_keypoints)
    return LabelledSet(name, root.resolve(), num_keypoints, samples, rejected, scheme)


def find_format(labels: Path) -> str:
    """The format of a labelled set: the first of ``READERS`` that detects it.

    Raises:
        InputError: no reader detects it.
    """
    for name, reader in READERS.items():
        if reader.detects(labels):
            return name
    known = "; ".join(f"{name}: {reader.files}" for name, reader in READERS.items())
    raise InputError(f"data.labels: {labels} has no labels of a known format ({known})")


def subject_pattern(text: str) -> re.Pattern[str]:
    """``data.subject_pattern``, compiled.

    Raises:
        InputError: not a regular expression with a group ``subject``.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(f"data.subject_pattern is {text!r}: {error}") from None
    if "subject" not in pattern.groupindex:
        raise InputError(f"data.subject_pattern is {text!r}; it must have a group (?P<subject>...)")
    return pattern


def _keypoints_of(
    labels: Path, faces: Iterable[LabelledFace | UnreadFace], expected: int | Literal["auto"]
) -> int:
    """K of the set: ``data.keypoints``, or the largest keypoint number of any face."""
    read = [face for face in faces if isinstance(face, LabelledFace)]
    if not read:
        unread = next((face for face in faces if isinstance(face, UnreadFace)), None)
        first = f"; the first face: {unread.where}: {unread.refusal.detail}" if unread else ""
        raise InputError(f"{labels}: no usable face in it{first}")
    largest = max(len(face.points) for face in read)
    if expected == "auto":
        return largest
    if expected > largest:
        raise InputError(
            f"data.keypoints is {expected}, but no face of {labels} has more than {largest}; it"
            f" must be at most {largest}, or auto"
        )
    return expected


def _header_once(root: Path, image: str, headers: dict[str, ImageHeader | Refusal]) -> ImageHeader:
    if image not in headers:
        try:
            headers[image] = read_header(root / image)
        except Refusal as refusal:
            headers[image] = refusal
    header = headers[image]
    if isinstance(header, Refusal):
        raise header
    return header


def _sample(
    face: LabelledFace,
    num_keypoints: int,
    size: tuple[int, int],
    turn: bool | None,
    about: Attributes,
) -> FaceSample:
    points = np.full((num_keypoints, 2), np.nan)
    visible = np.zeros(num_keypoints, bool)
    count = min(num_keypoints, len(face.points))
    points[:count], visible[:count] = face.points[:count], face.visible[:count]
    if np.isnan(points).all():
        raise Refusal("no keypoints", f"none among the first {num_keypoints}", broken=False)
    subject = face.subject or about.get("subject")
    attributes = {name: value for name, value in about.items() if name != "subject"}
    return FaceSample(
        face.image,
        size,
        face.face_box or keypoints_box(points),
        points,
        visible,
        face.occlusion_level,
        None if subject is None else str(subject),
        attributes | dict(face.attributes),
        turn,
    )


def _subject_of_image(image: str, per_image: bool, pattern: re.Pattern[str]) -> str | None:
    """The subject from the image's name, for labels without subjects; None if not possible."""
    if per_image:
        return image
    match = pattern.search(image.rsplit("/", 1)[-1])
    return match["subject"] if match else None


READERS: dict[str, Reader] = {
    "multi_pie": Reader(detects_multi_pie, read_multi_pie, "a Multi-PIE tree (session<SS>)"),
    "coco": Reader(detects_coco, read_coco, "a COCO file (*.json, an object)"),
    "label_studio": Reader(detects_label_studio, read_label_studio, "tasks (*.json, a list)"),
    "sloth": Reader(detects_sloth, read_sloth, "Sloth or TAO labels (*.json, a list)"),
    "table": Reader(detects_table, read_table_set, "a table with x1 and y1 (*.csv, *.parquet)"),
    "wflw": Reader(detects_wflw, read_wflw, "a WFLW list (list_98pt*.txt)"),
    "pts": Reader(detects_pts, read_pts_set, "300-W files (*.pts)"),
}
"""Format -> how it is detected and read, in the order of detection."""
