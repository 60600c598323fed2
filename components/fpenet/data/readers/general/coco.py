"""Reader and writer of COCO keypoints: one JSON object of images, annotations and categories.

The ``keypoints`` of an annotation are x, y, v for each: v is 0 for unlabelled, 1 for hidden, 2 for
visible; in a file without a 2, as MMPose writes them, 1 is visible. Keypoints are pixel indices,
with pixel centres at integers; a ``bbox`` is measured from the corner of the image, half a pixel
before the centre of the first pixel. Of COCO-WholeBody, ``face_kpts`` and ``face_box`` are read. If
the set has a scheme file with the names of the category's keypoints, its order is used. The
``attributes`` of an annotation (text and numbers) are read, with ``subject`` and
``occlusion_level`` as the subject and the level. If each of several files is named after a part, or
is in a folder so named (Roboflow), that is the split. Segmentations are not read. Source: COCO's
data format; COCO-WholeBody's data format.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.data.readers.general.coco_categories import (
    CocoCategory,
    categories_of,
    face_of_body,
    flag_of,
    has_visible,
)
from fpenet.data.readers.keypoint_names import KeypointOrder, keypoint_order
from fpenet.data.readers.label_source import LABELS, LabelSource
from fpenet.data.readers.labelled_set import (
    MAX_POINTS,
    Box,
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.readers.sidecar import scheme_file
from fpenet.data.readers.split_folders import part_of, part_of_file
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, FaceSample, Floats

_KEYS = ("images", "annotations")
_FLAGS = "keypoint flags: 0 unlabelled, 1 hidden, 2 visible"
"""``info.description`` of the files that ``write_coco`` writes."""
_ALL_VISIBLE = "all visible: no keypoint has v 2, so v 1 is taken as visible"


def is_coco(source: LabelSource, file: Path) -> bool:
    """Whether the file is an object with the lists ``images`` and ``annotations``, not panoptic."""
    value = source.peek(file)
    if not isinstance(value, Mapping) or not all(isinstance(value.get(k), list) for k in _KEYS):
        return False
    return not any(isinstance(a, Mapping) and "segments_info" in a for a in value["annotations"])


def detects_coco(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_coco, source), ".json")


@dataclass(frozen=True, slots=True)
class _File:
    """What the annotations of a file are read with.

    Attributes:
        names, sizes: id of an image -> its name, and its (width, height).
        ones_visible: whether v = 1 is visible.
        order: the keypoints of the set by name, if it has a scheme file.
    """

    names: Mapping[Any, Any]
    sizes: Mapping[Any, tuple[int, int] | None]
    categories: Mapping[Any, CocoCategory]
    ones_visible: bool
    order: KeypointOrder | None
    part: str | None


def read_coco(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every annotation of the COCO keypoint files, in order.

    Raises:
        InputError: no such file.
    """
    what = f"COCO file (an object with the lists {' and '.join(_KEYS)})"
    files = source.select(what, partial(is_coco, source), ".json")
    parts = [_part_of(file) for file in files]
    parts = parts if None not in parts and len(set(parts)) > 1 else [None] * len(files)
    for file, part in zip(files, parts, strict=True):
        value = source.peek(file)
        about = _about(value, source, part)
        for number, annotation in enumerate(value["annotations"], start=1):
            where = f"{source.where(file)}, annotation {number}"
            image = "None"
            try:
                if not isinstance(annotation, Mapping):
                    raise Refusal("label", f"is {short_value(annotation)}; it must be an object")
                key = annotation.get("image_id")
                if not isinstance(key, int | str) or key not in about.names:
                    raise Refusal(
                        "image name", f"image_id is {short_value(key)}; no image has that id"
                    )
                image = str(about.names[key])
                image = source.image(about.names[key], file)
                face = _face(annotation, image, where, about)
                yield replace(face, labelled_size=about.sizes[key])
            except Refusal as refusal:
                yield UnreadFace(image, where, refusal)


def _part_of(file: Path) -> str | None:
    """``train``, ``val`` or ``kpi``, by the name of the file or of its folder."""
    return part_of_file(file.name.split(".")[0]) or part_of(file.parent.name)


def _about(value: Mapping[str, Any], source: LabelSource, part: str | None) -> _File:
    images = [row for row in value["images"] if isinstance(row, Mapping)]
    info = value.get("info")
    is_ours = isinstance(info, Mapping) and info.get("description") == _FLAGS
    ones_visible = not is_ours and not has_visible(value["annotations"])
    if ones_visible:
        source.visible_from = _ALL_VISIBLE
    return _File(
        {row.get("id"): row.get("file_name") for row in images},
        {row.get("id"): _size(row) for row in images},
        categories_of(value.get("categories")),
        ones_visible,
        keypoint_order(source) if scheme_file(source) else None,
        part,
    )


def _size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """``width`` and ``height`` of an image, where both are whole numbers."""
    width, height = row.get("width"), row.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _face(annotation: Mapping[str, Any], image: str, where: str, file: _File) -> LabelledFace:
    if annotation.get("iscrowd") == 1:
        raise Refusal("no keypoints", "a crowd (iscrowd is 1)", broken=False)
    category = file.categories.get(_key(annotation.get("category_id")), CocoCategory("", ()))
    whole_body = face_of_body(annotation)
    values, box = whole_body or (annotation.get("keypoints"), annotation.get("bbox"))
    if not values:
        raise Refusal("no keypoints", "an annotation without keypoints", broken=False)
    if not isinstance(values, list) or len(values) % 3 or len(values) > 3 * MAX_POINTS:
        raise Refusal("label", f"keypoints is {short_value(values)}; it must be x, y, v for each")
    if whole_body is None:
        are_faces = any(other.is_face for other in file.categories.values())
        category.refuse_others(len(values) // 3, are_faces)
    points, visible = _points(values, file.ones_visible)
    if file.order and whole_body is None:
        points, visible = _ordered(points, visible, category.named_keypoints, file.order)
    about = annotation.get("attributes")
    about = dict(about) if isinstance(about, Mapping) else {}
    subject, level = about.pop("subject", None), about.pop("occlusion_level", None)
    if level is not None and (isinstance(level, bool) or level not in range(10)):
        raise Refusal(
            "occlusion level", f"occlusion_level is {short_value(level)}; it must be 0 to 9"
        )
    attributes = {
        str(name): value if isinstance(value, str) else float(value)
        for name, value in about.items()
        if isinstance(value, str | int | float)
    }
    return LabelledFace(
        image,
        where,
        points,
        visible,
        _box(box),
        None if level is None else int(level),
        None if subject is None else str(subject),
        attributes if file.part is None else {"split": file.part} | attributes,
    )


def _key(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _points(values: Sequence[Any], ones_visible: bool) -> tuple[Floats, Bools]:
    points: Floats = np.full((len(values) // 3, 2), np.nan)
    visible: Bools = np.zeros(len(points), np.bool_)
    for k in range(len(points)):
        x, y, flag = values[3 * k : 3 * k + 3]
        if flag_of(flag, k + 1):
            points[k] = finite_number(f"x{k + 1}", x), finite_number(f"y{k + 1}", y)
            visible[k] = flag == 2 or ones_visible
    if np.isnan(points).all():
        raise Refusal("no keypoints", "every keypoint has v 0", broken=False)
    return points, visible


def _ordered(
    points: Floats, visible: Bools, names: Sequence[str], order: KeypointOrder
) -> tuple[Floats, Bools]:
    """The keypoints in the order of the scheme file, where the category has all of its names."""
    if len(names) != len(points) or not set(names) <= set(order.names):
        return points, visible
    indices = [order.index(name) for name in names]
    ordered: Floats = np.full((len(order.names), 2), np.nan)
    shown: Bools = np.zeros(len(order.names), np.bool_)
    ordered[indices], shown[indices] = points, visible
    return ordered, shown


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
        "info": {"description": _FLAGS},
        "images": [
            {"id": n, "file_name": image, "width": sizes[image][0], "height": sizes[image][1]}
            for image, n in numbers.items()
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "face", "keypoints": names, "skeleton": []}],
    }
    (folder / LABELS).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    return {}
