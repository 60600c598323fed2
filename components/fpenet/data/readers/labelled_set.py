"""Results of readers: faces of a label file, and the labelled set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpenet.data.rejected import Refusal, Rejected
from fpenet.data.sample import Bools, FaceSample, Floats
from fpenet.params.scheme import SchemeParams

Box = tuple[float, float, float, float]
MAX_POINTS = 1000
"""Largest keypoint number that is read; limits memory."""


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """One face of a label file, before the number of keypoints of the whole set is known.

    Attributes:
        image: path below the set's root.
        where: file and row, for messages.
        points: (k, 2) image pixels, NaN where unlabelled; k is the largest keypoint number of this
            face.
        visible: (k,) False where hidden or unlabelled.
        face_box: (x, y, width, height), image pixels; None where the labels have none.
        labelled_size: (width, height) of the image on which the labels were made, if they say it;
            it settles an EXIF orientation.
        shown_upright: the tool that made the labels always shows an image turned by its EXIF
            orientation.
    """

    image: str
    where: str
    points: Floats
    visible: Bools
    face_box: Box | None = None
    occlusion_level: int | None = None
    subject: str | None = None
    attributes: Mapping[str, str | float] = field(default_factory=dict)
    labelled_size: tuple[int, int] | None = None
    shown_upright: bool = False


@dataclass(frozen=True, slots=True)
class UnreadFace:
    """A face, or a record of several faces, that a reader could not use."""

    image: str
    where: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the values of a set came from, in words, with numbers of faces where they differ.

    Attributes:
        format: name of the reader.
        label_files: the files that were read, below the folder of the labels.
        not_label_files: a file that looked like a label file -> why it was not read.
        images: as written, or found by the end of the path.
        subjects: labels, a column of a CSV, ``data.subject_pattern``, the image, or none.
        face_boxes: labels, or the box around the keypoints.
        visibility: labels, or all visible.
        scheme: a scheme file, the format, or the number of keypoints; and where the names' order is
            from.
        split: labels, the folders of the images, or none.
        keypoint_names: in label order, where the labels have names.
        scheme_guessed: whether the scheme is known from the number of keypoints alone.
        subjects_from_names: whether some subjects are from the names of images.
        placeholder_points, placeholder_faces: points that stand for "not labelled"; their faces.
    """

    format: str = ""
    label_files: tuple[str, ...] = ()
    not_label_files: Mapping[str, str] = field(default_factory=dict)
    images: str = ""
    subjects: str = ""
    face_boxes: str = ""
    visibility: str = ""
    scheme: str = ""
    split: str = ""
    keypoint_names: tuple[str, ...] = ()
    scheme_guessed: bool = False
    subjects_from_names: bool = False
    placeholder_points: int = 0
    placeholder_faces: int = 0


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A labelled set, independent of its format.

    Attributes:
        name: name of the data set; it selects the thresholds of the gate.
        root: the folder that image paths are relative to.
        num_keypoints: K of every sample.
        scheme: the keypoint scheme, if the folder has a scheme file.
        rejected: faces whose label or image could not be used.
        origins: where formats, images, subjects, boxes, visibility and scheme came from.
    """

    name: str
    root: Path
    num_keypoints: int
    samples: list[FaceSample]
    rejected: list[Rejected]
    scheme: SchemeParams | None = None
    origins: Origins = field(default_factory=Origins)


def finite_number(key: str, value: Any) -> float:
    """A finite float; numbers written as text are accepted, as in TAO's dataset_convert.

    Raises:
        Refusal: names the key.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refusal("coordinate", f"{key} is {short_value(value)}; it must be a number") from None
    if not math.isfinite(number):
        raise Refusal("coordinate", f"{key} is {number}; it must be finite")
    return number


def short_value(value: Any) -> str:
    """A value for a message, shortened to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
