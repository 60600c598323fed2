"""Reader and writer of TAO/Sloth JSON: images with FiducialPoints and FaceBbox annotations.

Input: ``labels.json``, or every ``*.json`` of the folder that has such records, or one file. Does:
converts keypoint numbers from 1-based to 0-based; reads coordinates as floats; pairs boxes with
keypoints. Output: one LabelledFace for each FiducialPoints annotation. Source: TAO Toolkit's FPENet
data format; as in TAO, keys are matched by their parts and independent of upper and lower case.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.data.readers.json_records import read_records
from fpenet.data.readers.label_source import LABELS, LabelSource
from fpenet.data.readers.labelled_set import (
    MAX_POINTS,
    Box,
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, FaceSample, Floats, keypoints_box

_POINT_KEY = re.compile(r"[Pp](\d{1,9})(?:([XxYy])|\w*occ\w*)", re.ASCII | re.IGNORECASE)


def is_sloth(source: LabelSource, file: Path) -> bool:
    """Whether the file is a list of records with ``filename`` and ``annotations``."""
    records = source.peek(file)
    if not isinstance(records, list):
        return False
    if not records:
        return source.named or file.name == LABELS
    objects = [record for record in records if isinstance(record, Mapping)]
    return any("filename" in record or "annotations" in record for record in objects) and not any(
        "data" in record for record in objects
    )


def detects_sloth(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_sloth, source), ".json")


def read_sloth(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of a Sloth label file or folder, in order.

    Raises:
        InputError: there is no label file, or one is not a JSON list.
    """
    source.layouts = {68: "300-W", 80: "FPENet", 104: "FPENet"}
    for file in source.select("Sloth or TAO label file", partial(is_sloth, source), ".json"):
        for record in read_records(file):
            where = f"{source.where(file)}, record {record.row}"
            name = record.value.get("filename") if isinstance(record.value, Mapping) else None
            try:
                if record.problem:
                    raise Refusal("label", record.problem)
                yield from _faces_of(record.value, source, file, where)
            except Refusal as refusal:
                yield UnreadFace(str(name), where, refusal)


def _faces_of(
    record: Any, source: LabelSource, file: Path, where: str
) -> Iterator[LabelledFace | UnreadFace]:
    if not isinstance(record, Mapping):
        raise Refusal("label", f"is {short_value(record)}; it must be an object")
    annotations = record.get("annotations")
    if not isinstance(annotations, Sequence) or isinstance(annotations, str):
        raise Refusal("label", f"annotations is {short_value(annotations)}; it must be a list")
    image = source.image(record.get("filename"), file)
    labelled: list[tuple[Floats, Bools]] = []
    boxes: list[tuple[Box | None, int | None]] = []
    for annotation in annotations:
        if not isinstance(annotation, Mapping):
            raise Refusal(
                "label", f"an annotation is {short_value(annotation)}; it must be an object"
            )
        kind = str(annotation.get("class", "")).lower()
        try:
            if "fiducialpoints" in kind:
                labelled.append(read_points(annotation))
            elif "facebbox" in kind:
                boxes.append(read_box(annotation))
        except Refusal as refusal:
            yield UnreadFace(image, where, refusal)
            return  # the pairs of boxes and points are not known without this annotation
    if not labelled:
        raise Refusal("no keypoints", "no FiducialPoints annotation", broken=False)
    for (points, visible), (box, level) in zip(labelled, _paired(labelled, boxes), strict=True):
        yield LabelledFace(image, where, points, visible, box, level)


def read_points(annotation: Mapping[str, Any]) -> tuple[Floats, Bools]:
    """(k, 2) points, NaN where unlabelled, and (k,) visibility; k is the largest labelled number.

    Raises:
        Refusal: a key or value is not valid; the message names the key.
    """
    coordinates: dict[int, list[float | None]] = {}
    hidden: set[int] = set()
    for key, value in annotation.items():
        parsed = _point_key(key)
        if parsed is None:
            continue
        number, axis = parsed
        if not 1 <= number <= MAX_POINTS:
            raise Refusal(
                "keypoint number", f"{key}: keypoints are numbered from 1 to {MAX_POINTS}"
            )
        if axis is None:
            if _is_true(value):
                hidden.add(number)
            continue
        pair = coordinates.setdefault(number, [None, None])
        if pair[axis] is not None:
            raise Refusal("keypoint number", f"{key}: keypoint {number} is repeated")
        pair[axis] = None if value is None else finite_number(key, value)
    for number, (x, y) in coordinates.items():
        if (x is None) != (y is None):
            raise Refusal("coordinate", f"P{number}: one of P{number}x and P{number}y is missing")
    numbers = [number for number, pair in coordinates.items() if pair[0] is not None]
    if not numbers:
        raise Refusal("no keypoints", "FiducialPoints without a point", broken=False)
    points = np.full((max(numbers), 2), np.nan)
    visible = np.zeros(max(numbers), bool)
    for number in numbers:
        points[number - 1] = coordinates[number]  # 1-based labels, 0-based from here on
        visible[number - 1] = number not in hidden
    return points, visible


def read_box(annotation: Mapping[str, Any]) -> tuple[Box | None, int | None]:
    """The tight box (x, y, width, height) and the occlusion level (0-9) of a FaceBbox annotation.

    Raises:
        Refusal: a value is not valid; the message names the key.
    """
    lowered = {str(key).lower(): value for key, value in annotation.items()}
    keys = [f"face_tight_bbox{part}" for part in ("x", "y", "width", "height")]
    box: Box | None = None
    if any(lowered.get(key) is not None for key in keys):
        x, y, width, height = (finite_number(key, lowered.get(key)) for key in keys)
        if not (width > 0 and height > 0):
            raise Refusal("face box", f"face_tight_bbox is {width:g}x{height:g} px; it has no area")
        box = (x, y, width, height)
    level: int | None = None
    for key in ("occlusion", "occlusionx"):
        if lowered.get(key) is not None:
            value = finite_number(key, lowered[key])
            if value not in range(10):
                raise Refusal("occlusion level", f"{key} is {value:g}; it must be 0 to 9")
            level = int(value)
    return box, level


def _paired(
    labelled: Sequence[tuple[Floats, Bools]], boxes: Sequence[tuple[Box | None, int | None]]
) -> list[tuple[Box | None, int | None]]:
    """For each set of keypoints the unpaired box with the largest overlap, or (None, None)."""
    free = list(boxes)
    if len(labelled) == len(free) == 1:
        return free
    pairs: list[tuple[Box | None, int | None]] = []
    for points, _ in labelled:
        around = keypoints_box(points)
        overlaps = [_overlap(around, box) if box else 0.0 for box, _ in free]
        best = int(np.argmax(overlaps)) if overlaps else -1
        pairs.append(free.pop(best) if best >= 0 and overlaps[best] > 0 else (None, None))
    return pairs


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / max(a[2] * a[3] + b[2] * b[3] - common, 1e-9)


@lru_cache(maxsize=1 << 14)
def _point_key(key: str) -> tuple[int, int | None] | None:
    """``P7x`` -> (7, 0), ``P7y`` -> (7, 1), ``P7occluded`` -> (7, None), anything else -> None."""
    match = _POINT_KEY.fullmatch(key)
    if match is None:
        return None
    axis = match[2]
    return int(match[1]), None if axis is None else "xy".index(axis.lower())


def _is_true(value: Any) -> bool:
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else bool(value)


def write_sloth(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write ``folder/labels.json``, one record for each image."""
    records: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        sides = zip(("x", "y", "width", "height"), sample.face_box, strict=True)
        box: dict[str, Any] = {"class": "FaceBbox"}
        box |= {f"face_tight_bbox{side}": value for side, value in sides}
        if sample.occlusion_level is not None:
            box["Occlusion"] = sample.occlusion_level
        points: dict[str, Any] = {"class": "FiducialPoints"}
        for number, ((x, y), is_visible) in enumerate(
            zip(sample.points.tolist(), sample.visible, strict=True), start=1
        ):
            if not math.isnan(x):
                points |= {f"P{number}x": x, f"P{number}y": y}
                if not is_visible:
                    points[f"P{number}occluded"] = True
        records.setdefault(sample.image, []).extend((box, points))
    rows = [
        {"filename": image, "class": "image", "annotations": annotations}
        for image, annotations in records.items()
    ]
    text = "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n"
    (folder / LABELS).write_text(text, encoding="utf-8")
    return {}
