"""Reader and writer of COCO keypoints: one JSON object of images, annotations and categories.

The ``keypoints`` of an annotation are x, y, v for each: v is 0 for unlabelled, 1 for hidden, 2 for
visible. Keypoints are pixel indices, with pixel centres at integers; a ``bbox`` is measured from
the corner of the image, half a pixel before the centre of the first pixel. The ``attributes`` of an
annotation (text and numbers) are read, with ``subject`` and ``occlusion_level`` as the subject and
the level. Source: COCO's data format.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

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
from fpenet.data.sample import Bools, FaceSample, Floats

_KEYS = ("images", "annotations")


def is_coco(source: LabelSource, file: Path) -> bool:
    """Whether the file is an object with the lists ``images`` and ``annotations``."""
    value = source.peek(file)
    return isinstance(value, Mapping) and all(isinstance(value.get(k), list) for k in _KEYS)


def detects_coco(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_coco, source), ".json")


def read_coco(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every annotation of the COCO keypoint files, in order.

    Raises:
        InputError: no such file.
    """
    what = f"COCO file (an object with the lists {' and '.join(_KEYS)})"
    for file in source.select(what, partial(is_coco, source), ".json"):
        about = source.peek(file)
        names = {
            row.get("id"): row.get("file_name")
            for row in about["images"]
            if isinstance(row, Mapping)
        }
        sizes = {row.get("id"): _size(row) for row in about["images"] if isinstance(row, Mapping)}
        for number, annotation in enumerate(about["annotations"], start=1):
            where = f"{source.where(file)}, annotation {number}"
            image = "None"
            try:
                if not isinstance(annotation, Mapping):
                    raise Refusal("label", f"is {short_value(annotation)}; it must be an object")
                key = annotation.get("image_id")
                if not isinstance(key, int | str) or key not in names:
                    raise Refusal(
                        "image name", f"image_id is {short_value(key)}; no image has that id"
                    )
                image = str(names[key])
                image = source.image(names[key], file)
                face = _face(annotation, image, where)
                yield dataclasses.replace(face, labelled_size=sizes.get(key))
            except Refusal as refusal:
                yield UnreadFace(image, where, refusal)


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """``width`` and ``height`` of an image, where both are whole numbers."""
    width, height = row.get("width"), row.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _face(annotation: Mapping[str, Any], image: str, where: str) -> LabelledFace:
    values = annotation.get("keypoints")
    if not values:
        raise Refusal("no keypoints", "an annotation without keypoints", broken=False)
    if not isinstance(values, list) or len(values) % 3 or len(values) > 3 * MAX_POINTS:
        raise Refusal("label", f"keypoints is {short_value(values)}; it must be x, y, v for each")
    points: Floats = np.full((len(values) // 3, 2), np.nan)
    visible: Bools = np.zeros(len(points), np.bool_)
    for k in range(len(points)):
        x, y, flag = values[3 * k : 3 * k + 3]
        if flag not in (0, 1, 2):
            raise Refusal(
                "visibility", f"keypoint {k + 1}: v is {short_value(flag)}; it must be 0, 1, 2"
            )
        if flag:
            points[k] = finite_number(f"x{k + 1}", x), finite_number(f"y{k + 1}", y)
            visible[k] = flag == 2
    if np.isnan(points).all():
        raise Refusal("no keypoints", "every keypoint has v 0", broken=False)
    about = annotation.get("attributes")
    about = dict(about) if isinstance(about, Mapping) else {}
    subject, level = about.pop("subject", None), about.pop("occlusion_level", None)
    if level is not None and (isinstance(level, bool) or level not in range(10)):
        raise Refusal(
            "occlusion level", f"occlusion_level is {short_value(level)}; it must be 0 to 9"
        )
    return LabelledFace(
        image,
        where,
        points,
        visible,
        _box(annotation.get("bbox")),
        None if level is None else int(level),
        None if subject is None else str(subject),
        {
            str(name): value if isinstance(value, str) else float(value)
            for name, value in about.items()
            if isinstance(value, str | int | float)
        },
    )


def _box(values: Any) -> Box | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 4:
        raise Refusal("face box", f"bbox is {short_value(values)}; it must be x, y, width, height")
    x, y, width, height = (finite_number("bbox", value) for value in values)
    if not (width > 0 and height > 0):
        raise Refusal("face box", f"bbox is {width:g}x{height:g} px; it has no area")
    return x - 0.5, y - 0.5, width, height


def write_coco(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write ``folder/labels.json``; the format supports all fields of a FaceSample."""
    numbers = {image: n for n, image in enumerate(dict.fromkeys(s.image for s in samples), start=1)}
    sizes = {sample.image: sample.image_size for sample in samples}
    annotations = []
    for number, sample in enumerate(samples, start=1):
        flags = np.where(np.isnan(sample.points[:, 0]), 0, 1 + sample.visible)
        positions = np.nan_to_num(sample.points).tolist()
        x, y, width, height = sample.face_box
        about: dict[str, Any] = dict(sample.attributes)
        if sample.subject is not None:
            about["subject"] = sample.subject
        if sample.occlusion_level is not None:
            about["occlusion_level"] = sample.occlusion_level
        annotations.append(
            {
                "id": number,
                "image_id": numbers[sample.image],
                "category_id": 1,
                "keypoints": [
                    value
                    for position, flag in zip(positions, flags.tolist(), strict=True)
                    for value in (*position, flag)
                ],
                "num_keypoints": int((flags > 0).sum()),
                "bbox": [x + 0.5, y + 0.5, width, height],
                "area": width * height,
                "iscrowd": 0,
                "attributes": about,
            }
        )
    count = len(samples[0].points)
    names = [str(k) for k in range(1, count + 1)]
    content = {
        "images": [
            {"id": n, "file_name": image, "width": sizes[image][0], "height": sizes[image][1]}
            for image, n in numbers.items()
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "face", "keypoints": names, "skeleton": []}],
    }
    (folder / LABELS).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    return {}
