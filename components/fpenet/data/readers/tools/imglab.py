"""Reader of dlib's imglab XML: images with boxes, and the named parts of each box.

Parts that are named by numbers count from 0, as in dlib's face sets; from 1 where no part is 0.
Parts and boxes are pixel indices; a box of width w covers w pixels. A box with ``ignore`` is not
read. Source: dlib's image_dataset_metadata.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace, finite_number
from fpenet.data.readers.tools.named_points import NamedFace, NamedPoint, Value, read_named_faces
from fpenet.data.readers.tools.xml_elements import xml_elements, xml_root
from fpenet.data.rejected import Refusal

_FLAGS = ("occluded", "difficult", "truncated")


def is_imglab(file: Path) -> bool:
    """Whether the root of the XML is ``dataset``.

    Raises:
        InputError: not XML.
    """
    return xml_root(file) == "dataset"


def detects_imglab(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(is_imglab, ".xml")


def read_imglab(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every box of the XML files, in order.

    Raises:
        InputError: no such file, or one is broken.
    """
    files = source.select("dlib imglab file", is_imglab, ".xml")
    faces = [face for file in files for face in _faces_of_file(source, file)]
    return read_named_faces(source, faces)


def _faces_of_file(source: LabelSource, file: Path) -> Iterator[NamedFace | UnreadFace]:
    for line, image in xml_elements(file, ["image"]):
        row = f"{source.where(file)}, line {line}"
        name = str(image.get("file"))
        try:
            path = source.image(image.get("file"), file)
        except Refusal as refusal:
            yield UnreadFace(name, row, refusal)
            continue
        boxes = image.findall("box")
        if not boxes:
            yield UnreadFace(path, row, Refusal("no keypoints", "no box", broken=False))
        for number, box in enumerate(boxes, start=1):
            where = f"{row}, box {number}" if len(boxes) > 1 else row
            try:
                yield _face(box, path, where)
            except Refusal as refusal:
                yield UnreadFace(path, where, refusal)


def _face(box: Element, image: str, where: str) -> NamedFace:
    if box.get("ignore") == "1":
        raise Refusal("ignored", "the box is marked ignore", broken=False)
    parts = box.findall("part")
    if not parts:
        raise Refusal("no keypoints", "a box without parts", broken=False)
    number = partial(_number, box)
    left, top, width, height = map(number, ("left", "top", "width", "height"))
    if not (width > 0 and height > 0):
        raise Refusal("face box", f"box is {width:g}x{height:g} px; it has no area")
    points = [
        NamedPoint(str(part.get("name")), _number(part, "x"), _number(part, "y")) for part in parts
    ]
    about: dict[str, Value] = {name: 1.0 for name in _FLAGS if box.get(name) == "1"}
    if label := (box.findtext("label") or "").strip():
        about["label"] = label
    return NamedFace(image, where, points, (left - 0.5, top - 0.5, width, height), about)


def _number(element: Element, key: str) -> float:
    return finite_number(f"{key} of {element.tag} {element.get('name', '')}", element.get(key))
