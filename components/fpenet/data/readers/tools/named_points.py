"""Points of labelling tools: to which face each belongs, and which keypoint each is.

Tools save an image's points one by one, each with a label: a number or a name. A face is the
points under one parent or in one group; else those inside one rectangle; else all of the image.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from fpenet.data.readers.keypoint_names import KeypointOrder, keypoint_order
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import Box, LabelledFace, UnreadFace
from fpenet.data.rejected import Refusal

Value: TypeAlias = "str | float"


@dataclass(frozen=True, slots=True)
class NamedPoint:
    """One labelled point.

    Attributes:
        name: its label: a name, or the number of the keypoint.
        x, y: image pixels, pixel centres at integers.
        hidden: whether the labels say that it is occluded.
        group: the parent or group that the tool says; None: none.
    """

    name: str
    x: float
    y: float
    hidden: bool = False
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle around a face: its box, its group, and what the labels say of it."""

    box: Box
    group: str | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)

    def contains(self, point: NamedPoint) -> bool:
        """Whether the point is inside or on the edge."""
        x, y, width, height = self.box
        return x <= point.x <= x + width and y <= point.y <= y + height


@dataclass(frozen=True, slots=True)
class NamedFace:
    """One face whose points have names; the fields are those of ``LabelledFace``."""

    image: str
    where: str
    points: Sequence[NamedPoint]
    face_box: Box | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    labelled_size: tuple[int, int] | None = None


def faces_of_points(
    points: Sequence[NamedPoint], rectangles: Sequence[Rectangle]
) -> list[tuple[list[NamedPoint], Rectangle | None]]:
    """The points of each face with its rectangle, in the order of the first point of each.

    Raises:
        Refusal: a point without a group is in no rectangle or in several; or a group has two
            rectangles.
    """
    if not points:
        raise Refusal("no keypoints", "no keypoint in it", broken=False)
    by_group: dict[str, Rectangle] = {}
    for rectangle in rectangles:
        if rectangle.group is not None:
            if rectangle.group in by_group:
                raise Refusal(
                    "face box", f"group {rectangle.group} has two rectangles; a face has one"
                )
            by_group[rectangle.group] = rectangle
    loose = [point for point in points if point.group is None]
    is_one_face = len(loose) == len(points) and len(rectangles) <= 1
    faces: dict[object, tuple[list[NamedPoint], Rectangle | None]] = {}
    for point in points:
        its: Rectangle | None
        key: object = None
        if point.group is not None:
            key, its = point.group, by_group.get(point.group)
        elif is_one_face:
            its = rectangles[0] if rectangles else None
        else:
            its = _around(point, rectangles)
            key = id(its) if its.group is None else its.group
        faces.setdefault(key, ([], its))[0].append(point)
    return _with_free_rectangles(list(faces.values()), rectangles)


def _around(point: NamedPoint, rectangles: Sequence[Rectangle]) -> Rectangle:
    around = [rectangle for rectangle in rectangles if rectangle.contains(point)]
    if len(around) != 1:
        place = f"in {len(around)} of {len(rectangles)} rectangles" if rectangles else "in no group"
        raise Refusal(
            "face of a point",
            f"keypoint {point.name} at {point.x:g}, {point.y:g} is {place}; its face must be clear:"
            " by a parent or a group, or by one rectangle around it",
        )
    return around[0]


def _with_free_rectangles(
    faces: list[tuple[list[NamedPoint], Rectangle | None]], rectangles: Sequence[Rectangle]
) -> list[tuple[list[NamedPoint], Rectangle | None]]:
    """Each face without a rectangle gets the only free one that contains all of its points."""
    used = {id(rectangle) for _, rectangle in faces if rectangle}
    free = [rectangle for rectangle in rectangles if id(rectangle) not in used]
    paired: list[tuple[list[NamedPoint], Rectangle | None]] = []
    for points, rectangle in faces:
        if rectangle is None:
            around = [r for r in free if all(map(r.contains, points))]
            rectangle = around[0] if len(around) == 1 else None
        paired.append((points, rectangle))
    return paired


def box_and_attributes(rectangle: Rectangle | None) -> tuple[Box | None, Mapping[str, Value]]:
    """What a face has of its rectangle."""
    return (None, {}) if rectangle is None else (rectangle.box, rectangle.attributes)


def read_named_faces(
    source: LabelSource,
    faces: Iterable[NamedFace | UnreadFace],
    config: Sequence[str] = (),
    config_name: str = "the labels' config",
    *,
    shown_upright: bool = False,
) -> Iterator[LabelledFace | UnreadFace]:
    """The faces with numbered keypoints, in order.

    Labels are numbers from 1, or from 0 if a label of the set is 0; names have the order of the
    scheme file, of the tool's config, or of first use.

    Args:
        config: names in the order of the tool's own config; used if it has every name of the set.
        shown_upright: see ``LabelledFace``.
    """
    faces = list(faces)
    points = [point for face in faces if isinstance(face, NamedFace) for point in face.points]
    names = {point.name for point in points}
    first = 1
    if all(map(_is_digits, names)):
        order = KeypointOrder([], "the numbers")
        if any(int(name) == 0 for name in names):
            first = 0
            source.names_from = "numbers from 0"
    else:
        order = keypoint_order(source, config if names <= set(config) else (), config_name)
    for face in faces:
        if isinstance(face, UnreadFace):
            yield face
            continue
        try:
            yield _numbered(face, order, first, shown_upright)
        except Refusal as refusal:
            yield UnreadFace(face.image, face.where, refusal)


def _numbered(
    face: NamedFace, order: KeypointOrder, first: int, shown_upright: bool
) -> LabelledFace:
    places: dict[int, NamedPoint] = {}
    for point in face.points:
        index = order.index(str(int(point.name) + 1) if first == 0 else point.name)
        if index in places:
            raise Refusal(
                "keypoint number",
                f"keypoint {point.name} is repeated; the points of each face need a parent, a group"
                " or a rectangle of their own",
            )
        places[index] = point
    if not places:
        raise Refusal("no keypoints", "a face without a keypoint", broken=False)
    positions = np.full((max(places) + 1, 2), np.nan)
    visible = np.zeros(len(positions), np.bool_)
    for index, point in places.items():
        positions[index], visible[index] = (point.x, point.y), not point.hidden
    attributes = dict(face.attributes)
    subject, level = attributes.pop("subject", None), attributes.pop("occlusion_level", None)
    return LabelledFace(
        face.image,
        face.where,
        positions,
        visible,
        face.face_box,
        None if level is None else _level(level),
        None if subject is None else f"{subject:g}" if isinstance(subject, float) else subject,
        attributes,
        face.labelled_size,
        shown_upright,
    )


def _level(value: Value) -> int:
    """The occlusion level, 0 to 9."""
    if str(value) not in [*map(str, range(10)), *(f"{n}.0" for n in range(10))]:
        raise Refusal("occlusion level", f"occlusion_level is {value!r}; it must be 0 to 9")
    return int(float(value))


def face_rectangles(rectangles: Sequence[tuple[str, Rectangle]]) -> list[Rectangle]:
    """Of rectangles with their labels those of faces: if a label says ``face``, only such ones."""
    faces = [rectangle for label, rectangle in rectangles if "face" in label.casefold()]
    return faces or [rectangle for _, rectangle in rectangles]


def shape_points(
    shapes: Sequence[tuple[str, Sequence[NamedPoint]]],
) -> list[NamedPoint]:
    """The points of shapes that each have several, e.g. one polyline of a whole face.

    One shape of a face: its points are numbered from 1; several: by the shape's label and number.

    Args:
        shapes: label and points of each; the points' names are not used.
    """
    of_group: dict[str | None, int] = defaultdict(int)
    for _, points in shapes:
        of_group[points[0].group if points else None] += 1
    return [
        NamedPoint(
            str(number) if of_group[point.group] == 1 else f"{label} {number}",
            point.x,
            point.y,
            point.hidden,
            point.group,
        )
        for label, points in shapes
        for number, point in enumerate(points, start=1)
    ]


def is_true(value: object) -> bool:
    """Whether a flag of a tool is set: True, 1, ``"true"``, ``"1"``, ``"yes"``."""
    return str(value).strip().lower() in ("true", "1", "1.0", "yes")


def _is_digits(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10
