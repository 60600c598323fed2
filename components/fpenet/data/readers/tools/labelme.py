"""Reader and writer of LabelMe and X-AnyLabeling: one JSON file an image, with shapes.

Shapes ``point`` are keypoints, labelled by number or name; ``rectangle`` is a face box; shapes of
one ``group_id`` are a face. A point is hidden if its flag or attribute ``occluded`` or its
``difficult`` is set. Positions are pixel indices, from 0 to the width less 1. Both tools turn an
image by its EXIF orientation. The image is the file that ``imagePath`` names, else the
one with the name of the JSON file; an image embedded in ``imageData`` is not read. Names have the
order of the scheme file, of labels.txt, or of first use. Source: the tools' label file formats.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.data.readers.json_records import read_label_json
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import (
    Box,
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.readers.tools.named_points import (
    NamedFace,
    NamedPoint,
    Rectangle,
    Value,
    box_and_attributes,
    face_rectangles,
    faces_of_points,
    is_true,
    read_named_faces,
)
from fpenet.data.rejected import Refusal
from fpenet.data.sample import FaceSample

_HIDDEN = ("occluded", "hidden", "invisible")
_LABELS = "labels.txt"


def is_labelme(source: LabelSource, file: Path) -> bool:
    """Whether the file is an object with a list ``shapes``."""
    value = source.peek(file)
    return isinstance(value, Mapping) and isinstance(value.get("shapes"), list)


def detects_labelme(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_labelme, source), ".json")


def read_labelme(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of the JSON files; folders nearer to the top first, then by path.

    Raises:
        InputError: no such file.
    """
    accepts = partial(is_labelme, source)
    faces: list[NamedFace | UnreadFace] = []
    box_labels: set[str] = set()
    for file in source.select("LabelMe file", accepts, ".json", all_levels=True):
        where = source.where(file)
        about = read_label_json(file)
        box_labels |= _box_labels(about["shapes"])
        image = str(about.get("imagePath"))
        try:
            image = _image(about, source, file)
            faces += _faces(about, image, where)
        except Refusal as refusal:
            faces.append(UnreadFace(image, where, refusal))
    names = [name for name in _names(source.folder / _LABELS) if name not in box_labels]
    return read_named_faces(source, faces, names, _LABELS, shown_upright=True)


def _box_labels(shapes: Sequence[Any]) -> set[str]:
    rectangles = (
        s for s in shapes if isinstance(s, Mapping) and s.get("shape_type") == "rectangle"
    )
    return {str(shape.get("label")).strip() for shape in rectangles}


def _names(file: Path) -> list[str]:
    """The lines of labels.txt, without ``__ignore__`` and ``_background_``."""
    if not file.is_file():
        return []
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}") from None
    return [line for line in lines if line and line not in ("__ignore__", "_background_")]


def _image(about: Mapping[str, Any], source: LabelSource, file: Path) -> str:
    try:
        return source.image(about.get("imagePath"), file)
    except Refusal as refusal:
        try:
            return source.image_named_after(file)
        except Refusal:
            if about.get("imageData") and not refusal.reason.endswith("outside"):
                raise Refusal(
                    "image missing",
                    f"{refusal.detail}; it is embedded in imageData, which is not read: save the"
                    f" image beside {file.name} (labelme_export_json, or imageData off)",
                ) from None
            raise refusal from None


def _faces(about: Mapping[str, Any], image: str, where: str) -> list[NamedFace]:
    points: list[NamedPoint] = []
    rectangles: list[tuple[str, Rectangle]] = []
    for number, shape in enumerate(about["shapes"], start=1):
        if not isinstance(shape, Mapping):
            raise Refusal("label", f"shape {number} is {short_value(shape)}; it must be an object")
        kind = shape.get("shape_type", "polygon")
        if kind not in ("point", "rectangle"):
            continue
        label = str(shape.get("label")).strip()
        key = f"shape {number}, {label}"
        pairs = _pairs(shape.get("points"), key)
        group = None if shape.get("group_id") is None else str(shape["group_id"])
        if kind == "point":
            if len(pairs) != 1:
                raise Refusal("label", f"{key}: {len(pairs)} positions; a point has one")
            points.append(NamedPoint(label, *pairs[0], _is_hidden(shape), group))
        else:
            rectangles.append((label, Rectangle(_box(pairs, key), group, _attributes(shape))))
    width, height = about.get("imageWidth"), about.get("imageHeight")
    labelled = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    grouped = faces_of_points(points, face_rectangles(rectangles))
    faces: list[NamedFace] = []
    for number, (its_points, rectangle) in enumerate(grouped, start=1):
        row = f"{where}, face {number}" if len(grouped) > 1 else where
        box, more = box_and_attributes(rectangle)
        faces.append(NamedFace(image, row, its_points, box, more, labelled))
    return faces


def _pairs(values: Any, key: str) -> list[tuple[float, float]]:
    if not isinstance(values, list) or not all(isinstance(v, list) and len(v) == 2 for v in values):
        raise Refusal("label", f"{key}: points is {short_value(values)}; it must be [[x, y]]")
    return [(finite_number(f"x of {key}", x), finite_number(f"y of {key}", y)) for x, y in values]


def _box(pairs: Sequence[tuple[float, float]], key: str) -> Box:
    """The box around the corners: two, or the four of X-AnyLabeling."""
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    if len(pairs) < 2 or not (max(xs) > min(xs) and max(ys) > min(ys)):
        raise Refusal("face box", f"{key}: the rectangle has no area")
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _is_hidden(shape: Mapping[str, Any]) -> bool:
    marks: dict[str, Any] = {}
    for key in ("flags", "attributes"):
        part = shape.get(key)
        if isinstance(part, Mapping):
            marks |= {str(name).casefold(): value for name, value in part.items()}
    return is_true(shape.get("difficult")) or any(is_true(marks.get(name)) for name in _HIDDEN)


def _attributes(shape: Mapping[str, Any]) -> dict[str, Value]:
    about = shape.get("attributes")
    if not isinstance(about, Mapping):
        return {}
    return {str(k): v for k, v in about.items() if isinstance(v, str) and v}


def write_labelme(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write a JSON file next to each image: a rectangle and points of one group for each face.

    Returns:
        index of a face -> why it was not written: another image has the name of its JSON file.
    """
    refused: dict[int, Refusal] = {}
    contents: dict[Path, dict[str, Any]] = {}
    for number, sample in enumerate(samples):
        image = folder / sample.image
        path = image.with_suffix(".json")
        content = contents.setdefault(path, _content(image.name, sample.image_size))
        if content["imagePath"] != image.name:
            detail = f"{path.name} is the file of {content['imagePath']} too; rename one image"
            refused[number] = Refusal("image name", detail, broken=False)
            continue
        group = 1 + sum(shape["shape_type"] == "rectangle" for shape in content["shapes"])
        content["shapes"] += _shapes(sample, group)
    for path, content in contents.items():
        path.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    return refused


def _content(image: str, size: tuple[int, int]) -> dict[str, Any]:
    about = {"imagePath": image, "imageData": None, "imageHeight": size[1], "imageWidth": size[0]}
    return {"version": "5.4.1", "flags": {}, "shapes": [], **about}


def _shapes(sample: FaceSample, group: int) -> list[dict[str, Any]]:
    x, y, width, height = sample.face_box
    corners = [[x, y], [x + width, y + height]]
    level = sample.occlusion_level
    about = {} if level is None else {"occlusion_level": str(level)}
    common = {"group_id": group, "description": ""}
    face = {"label": "face", "shape_type": "rectangle", "points": corners, "attributes": about}
    shapes = [face | common | {"flags": {}}]
    rows = zip(sample.points.tolist(), sample.visible.tolist(), strict=True)
    for number, ((px, py), is_visible) in enumerate(rows, start=1):
        if px == px:  # not NaN
            flags = {} if is_visible else {"occluded": True}
            point = {"label": str(number), "shape_type": "point", "points": [[px, py]]}
            shapes.append(point | common | {"flags": flags})
    return shapes
