"""``fpenet convert``: a labelled set of one format as one of another, images and all.

Input: a labelled set. Does: reads every face, puts the images below the new folder, writes the
labels in the format wanted, and what that format has no place for in ``attributes.csv`` beside
them. Output: the new set, complete or absent; ``rejected.csv`` in it names each face that could not
be read or written, and why.
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
from fpenet.data.readers import read_labels
from fpenet.data.readers.coco import write_coco
from fpenet.data.readers.label_studio import write_label_studio
from fpenet.data.readers.pts import write_pts_set
from fpenet.data.readers.sloth import ABOUT, write_sloth
from fpenet.data.readers.table import write_table_set
from fpenet.data.rejected import Refusal, Rejected
from fpenet.data.sample import FaceSample
from fpenet.params import DataParams

ATTRIBUTES = "attributes.csv"
REJECTED = "rejected.csv"
_REPORT_EVERY = 512


@dataclass(frozen=True, slots=True)
class Writer:
    """How a format is written.

    Attributes:
        write: writes the labels of the faces into a folder; why each other face could not be.
        has_attributes: the format has a place for subject and attributes of a face.
        has_flags: it has one for hidden keypoints, face box and occlusion level.
    """

    write: Callable[[Sequence[FaceSample], Path], Mapping[int, Refusal]]
    has_attributes: bool = False
    has_flags: bool = True


def convert_labels(labels: Path, data: DataParams, to: str, out_dir: Path) -> dict[str, Any]:
    """Write the set at ``labels`` to ``out_dir``, a new folder, in the format ``to``.

    Returns:
        counts: faces, written, rejected by reason, and what the new format could not hold.

    Raises:
        InputError: ``out_dir`` exists or lies in the set, nothing could be converted, or two faces
            of one image differ in an attribute and the format has no place for that.
    """
    if to not in WRITERS:
        raise InputError(f"--to is {to}; it must be one of {', '.join(WRITERS)}")
    if out_dir.exists():
        raise InputError(f"{out_dir} exists; name a new folder")
    root = (labels if labels.is_dir() else labels.parent).resolve()
    if out_dir.resolve().is_relative_to(root):
        raise InputError(f"{out_dir} lies in {root}, which is read; name a folder elsewhere")
    labelled = read_labels(labels, data)
    if not labelled.samples:
        first = labelled.rejected[0]
        raise InputError(f"{labels}: not one usable face in it; the first: {first.detail}")
    writer = WRITERS[to]
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        images = list(dict.fromkeys(sample.image for sample in labelled.samples))
        for number, image in enumerate(images, start=1):
            place_image(labelled.root / image, partial / image)
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
                Rejected(labelled.samples[row].image, row, why.reason, why.detail, why.broken)
                for row, why in refused.items()
            ),
        ]
        _write_rejected(rejected, partial / REJECTED)
        if len(refused) == len(labelled.samples):
            why = next(iter(refused.values()))
            raise InputError(f"no face can be written as {to}: {why.detail}")
    except BaseException:
        shutil.rmtree(partial)
        raise
    partial.rename(out_dir)
    return {
        "format": to,
        "num_keypoints": labelled.num_keypoints,
        "faces": len(labelled.samples) + len(labelled.rejected),
        "written": len(labelled.samples) - len(refused),
        "rejected": dict(Counter(one.reason for one in rejected).most_common()),
        "lost": {} if writer.has_flags else _flags_of(labelled.samples),
    }


def _flags_of(samples: Sequence[FaceSample]) -> dict[str, int]:
    """Number of faces with a label that only some formats can hold."""
    hidden = [bool((~s.visible & ~np.isnan(s.points[:, 0])).any()) for s in samples]
    return {
        "face box": len(samples),
        "hidden keypoints": sum(hidden),
        "occlusion level": sum(s.occlusion_level is not None for s in samples),
    }


def _write_attributes(samples: Sequence[FaceSample], path: Path, to: str) -> None:
    """Subject and attributes, one row an image; no file where there are none."""
    rows: dict[str, dict[str, str | float]] = {}
    for sample in samples:
        about = dict(sample.attributes)
        if sample.subject is not None:
            about["subject"] = sample.subject
        row = rows.setdefault(sample.image, about)
        if row != about:
            both = sorted(row.keys() | about.keys())
            odd = next(name for name in both if row.get(name) != about.get(name))
            raise InputError(
                f"{sample.image}: its faces differ in {odd} ({row.get(odd)!r}, {about.get(odd)!r}),"
                f" which {to} cannot hold; use --to coco or --to table"
            )
    names = sorted({name for about in rows.values() for name in about})
    if names:
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["filename", *names])
            for image, about in rows.items():
                lines.writerow([image, *(about.get(name, "") for name in names)])


def _write_rejected(rejected: Sequence[Rejected], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["image", "reason", "detail"])
        lines.writerows([one.image, one.reason, one.detail] for one in rejected)


WRITERS: dict[str, Writer] = {
    "sloth": Writer(write_sloth),
    "label_studio": Writer(write_label_studio),
    "coco": Writer(write_coco, has_attributes=True),
    "table": Writer(write_table_set, has_attributes=True),
    "pts": Writer(write_pts_set, has_flags=False),
}
