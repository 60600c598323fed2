"""Reader of the VGG Image Annotator 2 (and 1): JSON and CSV exports, and saved projects.

Regions ``point`` are keypoints, ``rect`` is a face box. The keypoint of a point is the value of its
attribute; without attributes, points are numbered in their order. Faces are grouped by an attribute
``face``, ``face_id`` or ``group``, else by rectangles. A point is hidden if its attribute
``occluded`` is set. Positions are pixel indices. Names have the order of the scheme file, of the
project's options, or of first use. Source: VIA's formats.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace, finite_number, short_value
from fpenet.data.readers.tools.named_points import (
    NamedFace,
    NamedPoint,
    Rectangle,
    box_and_attributes,
    face_rectangles,
    faces_of_points,
    is_true,
    read_named_faces,
)
from fpenet.data.rejected import Refusal

PROJECT = "_via_img_metadata"
CSV_COLUMN = "region_shape_attributes"
_GROUPS = ("face", "face_id", "group", "group_id", "person")
_HIDDEN = ("occluded", "hidden", "invisible")
_NAMES = ("name", "label", "keypoint", "landmark", "part", "point", "number", "id", "type")


@dataclass(slots=True)
class _Image:
    """The regions of one image: (shape attributes, region attributes)."""

    name: str
    where: str
    regions: list[tuple[Any, Any]] = field(default_factory=list)


def is_via(source: LabelSource, file: Path) -> bool:
    """Whether the file is an export or a project of VIA 1 or 2."""
    if file.suffix.lower() == ".csv":
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            return CSV_COLUMN in lines.readline()
    return bool(_records(source.peek(file)))


def detects_via(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_via, source), ".json", ".csv")


def read_via(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of the exports, in order.

    Raises:
        InputError: no such file, or a CSV file is broken.
    """
    faces: list[NamedFace | UnreadFace] = []
    names: list[str] = []
    accepts = partial(is_via, source)
    files = source.select("VIA export", accepts, ".json", ".csv")
    if len({file.suffix.lower() for file in files}) > 1:  # both exports of one project
        for file in [file for file in files if file.suffix.lower() == ".csv"]:
            source.skipped[file] = "a VIA export; the JSON file is read"
            files.remove(file)
        source.used = files
    for file in files:
        is_csv = file.suffix.lower() == ".csv"
        names += [] if is_csv else _options(source.peek(file))
        for image in _rows(source, file) if is_csv else _objects(source, file):
            try:
                path = source.image(image.name, file)
                faces += _faces(image, path)
            except Refusal as refusal:
                faces.append(UnreadFace(image.name, image.where, refusal))
    return read_named_faces(source, faces, names, "the options of the VIA project")


def _records(value: Any) -> Mapping[str, Any]:
    """Key -> image, of an export or a project."""
    if isinstance(value, Mapping) and isinstance(value.get(PROJECT), Mapping):
        value = value[PROJECT]
    if not isinstance(value, Mapping) or not value:
        return {}
    is_all = all(
        isinstance(v, Mapping) and {"filename", "regions"} <= v.keys() for v in value.values()
    )
    return value if is_all else {}


def _options(value: Any) -> list[str]:
    """The options of a project's attribute by which keypoints are named."""
    about = value.get("_via_attributes") if isinstance(value, Mapping) else None
    region = about.get("region") if isinstance(about, Mapping) else None
    for key in _NAMES if isinstance(region, Mapping) else ():
        attribute = region.get(key) if region else None
        options = attribute.get("options") if isinstance(attribute, Mapping) else None
        if isinstance(options, Mapping) and options:
            return [str(name) for name in options]
    return []


def _objects(source: LabelSource, file: Path) -> Iterator[_Image]:
    for number, record in enumerate(_records(source.peek(file)).values(), start=1):
        regions = record["regions"]
        rows = list(regions.values()) if isinstance(regions, Mapping) else regions
        pairs = [
            (r.get("shape_attributes"), r.get("region_attributes"))
            if isinstance(r, Mapping)
            else (r, r)
            for r in (rows if isinstance(rows, list) else [rows])
        ]
        yield _Image(str(record["filename"]), f"{source.where(file)}, image {number}", pairs)


def _rows(source: LabelSource, file: Path) -> Iterator[_Image]:
    images: dict[str, _Image] = {}
    with file.open(encoding="utf-8-sig", newline="") as opened:
        try:
            for number, row in enumerate(csv.DictReader(opened), start=2):
                name = row.get("filename") or row.get("#filename") or ""
                image = images.setdefault(
                    name, _Image(name, f"{source.where(file)}, line {number}")
                )
                shape, about = (
                    json.loads(row.get(key) or "{}") for key in (CSV_COLUMN, "region_attributes")
                )
                if shape:
                    image.regions.append((shape, about))
        except (csv.Error, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{file}: not a VIA export: {error}") from None
    yield from images.values()


def _faces(image: _Image, path: str) -> list[NamedFace]:
    shapes: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    for number, (shape, about) in enumerate(image.regions, start=1):
        if not isinstance(shape, Mapping):
            raise Refusal("label", f"region {number} is {short_value(shape)}; it must be an object")
        shapes.append((shape, about if isinstance(about, Mapping) else {}))
    key = _name_key([about for shape, about in shapes if shape.get("name") == "point"])
    points: list[NamedPoint] = []
    rectangles: list[tuple[str, Rectangle]] = []
    order: dict[str | None, int] = {}
    for number, (shape, about) in enumerate(shapes, start=1):
        group = next((str(about[name]) for name in _GROUPS if about.get(name)), None)
        if shape.get("name") == "point":
            x, y = (finite_number(f"region {number}: {k}", shape.get(k)) for k in ("cx", "cy"))
            order[group] = order.get(group, 0) + 1
            name = str(order[group]) if key is None else str(about.get(key, "")).strip()
            hidden = any(is_true(about.get(word)) for word in _HIDDEN)
            points.append(NamedPoint(name, x, y, hidden, group))
        elif shape.get("name") == "rect":
            keys = ("x", "y", "width", "height")
            x, y, w, h = (finite_number(f"region {number}: {k}", shape.get(k)) for k in keys)
            if not (w > 0 and h > 0):
                raise Refusal("face box", f"region {number}: {w:g}x{h:g} px; it has no area")
            more = {k: v for k, v in about.items() if isinstance(v, str) and v and k not in _GROUPS}
            rectangle = Rectangle((x, y, w, h), group, more)
            rectangles.append((" ".join(map(str, about.values())), rectangle))
    grouped = faces_of_points(points, face_rectangles(rectangles))
    if key is None and len(grouped) > 1:
        grouped = [(_renumbered(its_points), rectangle) for its_points, rectangle in grouped]
    faces: list[NamedFace] = []
    for number, (its_points, face) in enumerate(grouped, start=1):
        row = f"{image.where}, face {number}" if len(grouped) > 1 else image.where
        faces.append(NamedFace(path, row, its_points, *box_and_attributes(face)))
    return faces


def _renumbered(points: Sequence[NamedPoint]) -> list[NamedPoint]:
    """The points of one face, numbered from 1 in their order."""
    return [
        NamedPoint(str(k), point.x, point.y, point.hidden, point.group)
        for k, point in enumerate(points, start=1)
    ]


def _name_key(attributes: Sequence[Mapping[str, Any]]) -> str | None:
    """The attribute by which the points are named; None: they have none.

    Raises:
        Refusal: several attributes, none with a usual name.
    """
    keys = [
        str(key)
        for key in dict.fromkeys(key for about in attributes for key in about)
        if key not in _GROUPS and key not in _HIDDEN
    ]
    usual = [key for key in _NAMES if key in keys]
    if len(keys) > 1 and not usual:
        raise Refusal(
            "keypoint name",
            f"points have the attributes {', '.join(keys)}; the keypoint must be in one of"
            f" {', '.join(_NAMES)}",
        )
    return usual[0] if usual else keys[0] if keys else None
