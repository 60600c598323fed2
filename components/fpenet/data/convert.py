"""``fpenet convert``: convert a labelled set to another format, with its images.

Input: a labelled set. Does: reads every face, links or copies the images into the new folder,
writes the labels in the requested format, and writes attributes that the format does not support to
``attributes.csv`` in the same folder. Output: the new set, complete or absent; ``rejected.csv`` in
it lists each face that could not be read or written, with the reason.
"""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.images import place_image
from fpenet.data.readers import read_labels, source_of_labels
from fpenet.data.readers.general.coco import write_coco
from fpenet.data.readers.general.pts import write_pts_set
from fpenet.data.readers.general.table import write_table_set
from fpenet.data.readers.label_source import ABOUT
from fpenet.data.readers.tools.cvat import write_cvat
from fpenet.data.readers.tools.label_studio import write_label_studio
from fpenet.data.readers.tools.labelme import write_labelme
from fpenet.data.readers.tools.sloth import write_sloth
from fpenet.data.rejected import Refusal, Rejected
from fpenet.data.sample import FaceSample
from fpenet.params import DataParams

ATTRIBUTES = "attributes.csv"
REJECTED = "rejected.csv"
_REPORT_EVERY = 512


@dataclass(frozen=True, slots=True)
class Writer:
    """The writer of a format.

    Attributes:
        write: writes the labels of the faces into a folder; returns index of a face -> why it could
            not be written.
        has_attributes: whether the format supports subject and attributes of a face.
        has_flags: whether it supports hidden keypoints, face box and occlusion level.
    """

    write: Callable[[Sequence[FaceSample], Path], Mapping[int, Refusal]]
    has_attributes: bool = False
    has_flags: bool = True


def convert_labels(labels: Path, data: DataParams, to: str, out_dir: Path) -> dict[str, Any]:
    """Write the set at ``labels`` to ``out_dir``, a new folder, in the format ``to``.

    Returns:
        counts: faces, written, rejected by reason, and labels that the new format does not support.

    Raises:
        InputError: ``out_dir`` exists or is in the folder of the set, no face could be converted,
            or two faces of one image differ in an attribute and the format does not support that.
    """
    if to not in WRITERS:
        raise InputError(f"--to is {to}; it must be one of {', '.join(WRITERS)}")
    if out_dir.exists():
        raise InputError(f"{out_dir} exists; name a new folder")
    for folder in source_of_labels(labels, data).search.folders.digested:
        if out_dir.resolve().is_relative_to(folder):
            raise InputError(f"{out_dir} is in {folder}, a folder of the set; name another folder")
    labelled = read_labels(labels, data)
    if not labelled.samples:
        first = labelled.rejected[0]
        raise InputError(f"{labels}: no usable face in it; the first face: {first.detail}")
    writer = WRITERS[to]
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        images = {sample.image: sample.turn for sample in labelled.samples}
        for number, (image, turn) in enumerate(images.items(), start=1):
            place_image(labelled.root / image, partial / image, turn)
            if number % _REPORT_EVERY == 0 or number == len(images):
                report(number, len(images), "images")
        refused = writer.write(labelled.samples, partial)
        if not writer.has_attributes:
            _write_attributes(labelled.samples, partial / ATTRIBUTES, to)
        about = json.dumps({"name": labelled.name}) + "\n"
        (partial / ABOUT).write_text(about, encoding="utf-8")
        rejected = [
            *labelled.rejected,
            *(
                Rejected(
                    labelled.samples[row].image, row, refusal.reason, refusal.detail, refusal.broken
                )
                for row, refusal in refused.items()
            ),
        ]
        _write_rejected(rejected, partial / REJECTED)
        if len(refused) == len(labelled.samples):
            refusal = next(iter(refused.values()))
            raise InputError(f"no face can be written as {to}: {refusal.detail}")
    except BaseException:
        shutil.rmtree(partial)
        raise
    partial.rename(out_dir)
    return {
        "format": to,
        "num_keypoints": labelled.num_keypoints,
        "faces": len(labelled.samples) + len(labelled.rejected),
        "written": len(labelled.samples) - len(refused),
        "rejected": dict(Counter(face.reason for face in rejected).most_common()),
        "lost": {} if writer.has_flags else _flags_of(labelled.samples),
    }


def _flags_of(samples: Sequence[FaceSample]) -> dict[str, int]:
    """Number of faces with each label that only some formats support."""
    hidden = [bool((~s.visible & ~np.isnan(s.points[:, 0])).any()) for s in samples]
    return {
        "face box": len(samples),
        "hidden keypoints": sum(hidden),
        "occlusion level": sum(s.occlusion_level is not None for s in samples),
    }


def _write_attributes(samples: Sequence[FaceSample], path: Path, to: str) -> None:
    """Write subject and attributes, one row for each image; no file where there are none."""
    rows: dict[str, dict[str, str | float]] = {}
    for sample in samples:
        about = dict(sample.attributes)
        if sample.subject is not None:
            about["subject"] = sample.subject
        row = rows.setdefault(sample.image, about)
        if row != about:
            names = sorted(row.keys() | about.keys())
            name = next(name for name in names if row.get(name) != about.get(name))
            values = f"{row.get(name)!r}, {about.get(name)!r}"
            raise InputError(
                f"{sample.image}: its faces differ in {name} ({values}), which {to} does not"
                " support; use --to coco or --to table"
            )
    names = sorted({name for about in rows.values() for name in about})
    if names:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["filename", *names])
            for image, about in rows.items():
                writer.writerow([image, *(about.get(name, "") for name in names)])


def _write_rejected(rejected: Sequence[Rejected], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "reason", "detail"])
        writer.writerows([face.image, face.reason, face.detail] for face in rejected)


WRITERS: dict[str, Writer] = {
    "sloth": Writer(write_sloth),
    "label_studio": Writer(write_label_studio),
    "cvat": Writer(write_cvat),
    "labelme": Writer(write_labelme),
    "coco": Writer(write_coco, has_attributes=True),
    "table": Writer(write_table_set, has_attributes=True),
    "pts": Writer(write_pts_set, has_flags=False),
}
