"""``fpenet describe``: statistics of a labelled set, and a contact sheet.

Input: a labelled set. Does: counts its faces by every attribute of the labels, and by the reasons
for which stage validate would drop them: it decodes every image and runs the same checks. Output:
JSON values, and a contact sheet of faces with their points.
"""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fpenet.core.errors import InputError
from fpenet.core.records import encode
from fpenet.data.checks.faces import LabelledFaces, labelled_faces
from fpenet.data.overlay import PICTURE_PX, draw_face
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, FaceSample
from fpenet.data.validation.run_checks import run_checks
from fpenet.keypoints import custom_scheme
from fpenet.params import ValidateParams

SIZE_EDGES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""px, of the longer side of the face box."""
_MOST_VALUES = 40  # an attribute with more values is described by its range
_SHEET_COLUMNS, _SHEET_ROWS = 8, 6


def describe_set(labelled: LabelledSet, validate: ValidateParams) -> dict[str, Any]:
    """The statistics as JSON values.

    Raises:
        InputError: no usable face.
    """
    if not labelled.samples:
        first = labelled.rejected[0].detail if labelled.rejected else "none is labelled"
        raise InputError(f"{labelled.root}: no usable face in it; the first face: {first}")
    scheme = custom_scheme(labelled.scheme) if labelled.scheme else None
    faces = labelled_faces(labelled.samples, scheme, labelled.origins)
    visible: Bools = np.stack([sample.visible for sample in labelled.samples])
    checked = run_checks(labelled.samples, labelled.root, validate, scheme, labelled.origins)
    drops = Counter(face.reason for face in [*labelled.rejected, *checked.rejected])
    balance = checked.outcomes["balance"].numbers if "balance" in checked.outcomes else {}
    levels = Counter(sample.occlusion_level for sample in labelled.samples)
    return {
        "dataset": labelled.name,
        "num_keypoints": labelled.num_keypoints,
        "origins": encode(labelled.origins),
        "faces": len(labelled.samples) + len(labelled.rejected),
        "usable": len(checked.kept),
        "drops": dict(drops.most_common()),
        "images": len(set(faces.images)),
        "subjects": _subjects(faces.subjects),
        "occlusion level": {
            "unknown" if level is None else str(level): levels[level]
            for level in sorted(levels, key=lambda level: -1 if level is None else level)
        },
        "face size": _sizes(faces),
        "keypoints": _keypoints(faces, visible),
        "warnings": [f"{f.check}: {f.detail}" for f in checked.findings if f.face < 0],
        "by": {
            f"{name}, from {classes['from']}": dict(classes["faces"])
            for name, classes in balance.items()
            if isinstance(classes, Mapping)
        }
        | {name: _values(faces.attributes[name]) for name in sorted(faces.attributes)},
    }


def _subjects(subjects: Sequence[str | None]) -> dict[str, Any]:
    counts = Counter(subject for subject in subjects if subject is not None)
    summary = {"subjects": len(counts), "faces of unknown subjects": subjects.count(None)}
    if not counts:
        return summary
    numbers = list(counts.values())
    return summary | {
        "faces of a subject": {
            "least": min(numbers),
            "median": statistics.median(numbers),
            "most": max(numbers),
        }
    }


def _sizes(faces: LabelledFaces) -> dict[str, int]:
    """Histogram of the longer side of the face box, px."""
    longer = faces.boxes[:, 2:].max(axis=1)
    counts = np.bincount(np.digitize(longer, SIZE_EDGES), minlength=len(SIZE_EDGES) + 1)
    names = [f"under {SIZE_EDGES[0]} px"]
    names += [f"{a} to {b} px" for a, b in pairwise(SIZE_EDGES)]
    names += [f"{SIZE_EDGES[-1]} px and more"]
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _keypoints(faces: LabelledFaces, visible: Bools) -> dict[str, Any]:
    """Shares of labelled and of visible keypoints, by region and for each keypoint from 1 on."""
    labelled = faces.labelled
    by_region = {
        name: {
            "labelled": round(float(labelled[:, list(indices)].mean()), 4),
            "visible": round(float(visible[:, list(indices)].mean()), 4),
        }
        for name, indices in faces.scheme.regions.items()
    }
    share = visible.mean(axis=0)
    return {
        "regions": by_region,
        "faces with every keypoint visible": int(visible.all(axis=1).sum()),
        "visible": {str(k + 1): round(float(share[k]), 4) for k in range(len(share))},
    }


def _values(column: Sequence[str | float | None]) -> dict[str, Any]:
    """Counts of the values of one attribute, or its range if there are too many values."""
    known = [value for value in column if value is not None]
    missing = {"unknown": len(column) - len(known)} if len(known) < len(column) else {}
    counts = Counter(known)
    if len(counts) <= _MOST_VALUES:
        keys = sorted(counts, key=lambda value: (isinstance(value, str), value))
        named = {f"{v:g}" if isinstance(v, float) else str(v): counts[v] for v in keys}
        return named | missing
    numbers = [value for value in known if isinstance(value, float)]
    if len(numbers) < len(known):
        return {"different values": len(counts)} | missing
    return {
        "least": min(numbers),
        "median": statistics.median(numbers),
        "most": max(numbers),
    } | missing


def contact_sheet(labelled: LabelledSet, seed: int = 35) -> Image.Image:
    """An image of randomly sampled faces, in label order, each with its points.

    An image that cannot be read is shown as a grey square with the reason.
    """
    count = min(len(labelled.samples), _SHEET_COLUMNS * _SHEET_ROWS)
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(len(labelled.samples), count, replace=False).tolist())
    columns = min(count, _SHEET_COLUMNS)
    sheet = Image.new("RGB", (columns * PICTURE_PX, -(-count // columns) * PICTURE_PX), "white")
    for index, row in enumerate(chosen):
        image = _face_image(labelled.samples[row], labelled)
        sheet.paste(image, (index % columns * PICTURE_PX, index // columns * PICTURE_PX))
    return sheet


def _face_image(sample: FaceSample, labelled: LabelledSet) -> Image.Image:
    try:
        return draw_face(sample, labelled.root)
    except Refusal as refusal:
        image = Image.new("RGB", (PICTURE_PX, PICTURE_PX), "#808080")
        ImageDraw.Draw(image).text((6, 6), refusal.reason, fill="white")
        return image
