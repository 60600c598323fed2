"""Reader and writer of CVAT for images (XML 1.1): points, skeletons and boxes.

A skeleton is a face, its points with ``outside`` are unlabelled; loose points are grouped by
``group_id``, else by boxes. A shape ``points`` has one keypoint, or all of a face in order. Labels
have the order of the scheme file, of the task's labels, or of first use. CVAT counts from the
corner of the image and turns it by its EXIF orientation: pixel centres are at x + 0.5. Tracks (CVAT
for video) are not read. ``subset`` is the part of the split. Source: CVAT's XML annotation format.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fpenet.core.errors import InputError
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import (
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.readers.split_folders import part_of
from fpenet.data.readers.tools.named_points import (
    NamedFace,
    NamedPoint,
    Rectangle,
    Value,
    box_and_attributes,
    face_rectangles,
    faces_of_points,
    read_named_faces,
    shape_points,
)
from fpenet.data.readers.tools.xml_elements import xml_elements, xml_root
from fpenet.data.rejected import Refusal
from fpenet.data.sample import FaceSample

_FILE = "annotations.xml"
_POINTS = ("points", "skeleton")


def is_cvat(file: Path) -> bool:
    """Whether the file is CVAT for images.

    Raises:
        InputError: not XML, or CVAT for video.
    """
    if xml_root(file) != "annotations":
        return False
    first = next(xml_elements(file, ["image", "track"]), None)
    if first is not None and first[1].tag == "track":
        raise InputError(
            f"{file}: CVAT for video (tracks), which is not read; export it as"
            " 'CVAT for images 1.1' or 'COCO Keypoints 1.0'"
        )
    return first is not None


def detects_cvat(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(is_cvat, ".xml")


def read_cvat(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of the XML files, in order.

    Raises:
        InputError: no such file, or one is broken.
    """
    names: dict[str, None] = {}
    faces: list[NamedFace | UnreadFace] = []
    for file in source.select("CVAT for images file", is_cvat, ".xml"):
        for line, element in xml_elements(file, ["meta", "image"]):
            if element.tag == "meta":
                names.update(dict.fromkeys(_names(element), None))
                continue
            where = f"{source.where(file)}, line {line}"
            image = str(element.get("name"))
            try:
                image = source.image(element.get("name"), file)
                faces += _faces(element, image, where)
            except Refusal as refusal:
                faces.append(UnreadFace(image, where, refusal))
    return read_named_faces(
        source, _with_parts(faces), list(names), "the labels of the task", shown_upright=True
    )


def _with_parts(faces: Sequence[NamedFace | UnreadFace]) -> list[NamedFace | UnreadFace]:
    """The faces, without parts unless every face has one and there are two at least."""
    parts = {face.attributes.get("split") for face in faces if isinstance(face, NamedFace)}
    if None not in parts and len(parts) > 1:
        return list(faces)
    return [
        replace(face, attributes={k: v for k, v in face.attributes.items() if k != "split"})
        if isinstance(face, NamedFace)
        else face
        for face in faces
    ]


def _names(meta: Element) -> Iterator[str]:
    """The task's labels of points, in order."""
    for label in meta.iter("label"):
        is_point = label.findtext("type") == "points" or label.find("parent") is not None
        if is_point and (name := label.findtext("name")):
            yield name


def _faces(element: Element, image: str, where: str) -> list[NamedFace]:
    size = _size(element)
    part = part_of(element.get("subset") or "")
    about: dict[str, Value] = {"split": part} if part else {}
    shapes: list[tuple[str, list[NamedPoint]]] = []
    rectangles: list[tuple[str, Rectangle]] = []
    of_skeleton: dict[str, Mapping[str, Value]] = {}
    for number, shape in enumerate(element):
        if shape.tag == "skeleton":
            group = f"skeleton {number}"
            of_skeleton[group] = _attributes(shape)
            inner = [p for p in shape.findall("points") if p.get("outside") != "1"]
            shapes += [(str(p.get("label")), _points(p, group)) for p in inner]
        elif shape.tag == "points":
            shapes.append((str(shape.get("label")), _points(shape, _group(shape))))
        elif shape.tag == "box":
            rectangle = Rectangle(_box(shape), _group(shape), _attributes(shape))
            rectangles.append((str(shape.get("label")), rectangle))
    several = [(label, points) for label, points in shapes if len(points) > 1]
    points = [point for _, its_points in shapes if len(its_points) == 1 for point in its_points]
    points += shape_points(several)
    faces: list[NamedFace] = []
    grouped = faces_of_points(points, face_rectangles(rectangles))
    for number, (its_points, box_of_face) in enumerate(grouped, start=1):
        row = f"{where}, face {number}" if len(grouped) > 1 else where
        box, more = box_and_attributes(box_of_face)
        more = {**of_skeleton.get(its_points[0].group or "", {}), **more}
        faces.append(NamedFace(image, row, its_points, box, {**about, **more}, size))
    return faces


def _group(shape: Element) -> str | None:
    number = shape.get("group_id")
    return None if number in (None, "", "0") else number


def _points(shape: Element, group: str | None) -> list[NamedPoint]:
    label, hidden = str(shape.get("label")), shape.get("occluded") == "1"
    points: list[NamedPoint] = []
    for pair in str(shape.get("points")).split(";"):
        values = pair.split(",")
        if len(values) != 2:
            raise Refusal(
                "label", f"points of {label} is {short_value(shape.get('points'))}; it must be x,y"
            )
        x, y = (finite_number(f"{a} of {label}", v) for a, v in zip("xy", values, strict=True))
        points.append(NamedPoint(label, x - 0.5, y - 0.5, hidden, group))
    return points


def _box(shape: Element) -> tuple[float, float, float, float]:
    left, top, right, bottom = (
        finite_number(key, shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")
    )
    if not (right > left and bottom > top):
        raise Refusal("face box", f"box is {left:g} {top:g} {right:g} {bottom:g}; it has no area")
    return left - 0.5, top - 0.5, right - left, bottom - top


def _attributes(shape: Element) -> dict[str, Value]:
    return {
        str(attribute.get("name")): (attribute.text or "").strip()
        for attribute in shape.findall("attribute")
        if (attribute.text or "").strip()
    }


def _size(element: Element) -> tuple[int, int] | None:
    sides = element.get("width", ""), element.get("height", "")
    if all(side.isascii() and side.isdigit() for side in sides):
        return int(sides[0]), int(sides[1])
    return None


def write_cvat(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write ``folder/annotations.xml``: a box and points of one group for each face."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    _add_task(SubElement(SubElement(root, "meta"), "task"), samples)
    images: dict[str, Element] = {}
    for number, sample in enumerate(samples, start=1):
        if sample.image not in images:
            width, height = map(str, sample.image_size)
            images[sample.image] = SubElement(
                root, "image", id=str(len(images)), name=sample.image, width=width, height=height
            )
        image, group = images[sample.image], str(number)
        common = {"source": "manual", "z_order": "0", "group_id": group}
        x, y, box_width, box_height = sample.face_box
        corners = (x + 0.5, y + 0.5, x + 0.5 + box_width, y + 0.5 + box_height)
        sides = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(repr, corners), strict=True))
        box = SubElement(image, "box", {"label": "face", "occluded": "0"} | sides | common)
        if sample.occlusion_level is not None:
            level = SubElement(box, "attribute", name="occlusion_level")
            level.text = str(sample.occlusion_level)
        rows = zip(sample.points.tolist(), sample.visible.tolist(), strict=True)
        for keypoint, ((px, py), is_visible) in enumerate(rows, start=1):
            if px == px:  # not NaN
                place = {
                    "occluded": str(int(not is_visible)),
                    "points": f"{px + 0.5!r},{py + 0.5!r}",
                }
                SubElement(image, "points", {"label": str(keypoint)} | place | common)
    indent(root)
    (folder / _FILE).write_bytes(tostring(root, "utf-8", xml_declaration=True) + b"\n")
    return {}


def _add_task(task: Element, samples: Sequence[FaceSample]) -> None:
    """Write the task's size and labels, which other tools need to read the file."""
    SubElement(task, "name").text = "faces"
    SubElement(task, "size").text = str(len({sample.image for sample in samples}))
    SubElement(task, "mode").text = "annotation"
    labels = SubElement(task, "labels")
    numbers = range(1, len(samples[0].points) + 1 if samples else 1)
    for name, kind in (("face", "rectangle"), *((str(number), "points") for number in numbers)):
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        SubElement(label, "type").text = kind
        attributes = SubElement(label, "attributes")
        if name == "face":
            level = SubElement(attributes, "attribute")
            SubElement(level, "name").text = "occlusion_level"
            SubElement(level, "mutable").text = "False"
            SubElement(level, "input_type").text = "number"
            SubElement(level, "values").text = "0\n9\n1"
