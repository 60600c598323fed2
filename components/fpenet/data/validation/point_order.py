"""The relative position of groups of keypoints, which a set of another order of points breaks."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """A rule on the relative position of two groups of keypoints, in face boxes (x right, y down).

    Attributes:
        column: column of the table of faces: the mean of ``second`` minus that of ``first``.
        axis: 0 for x, 1 for y; None for the distance.
        first, second: regions, or single keypoints.
    """

    column: str
    axis: int | None
    first: str | int
    second: str | int
    limit: Mapping[str, float]
    why: str


_ORDER_68 = (
    Order(
        "eye_span",
        0,
        36,
        45,
        {"min_value": -0.25},
        "order of the points: 37 is left of 46 in the image",
    ),
    Order(
        "eyes_to_mouth",
        1,
        "eyes",
        "mouth",
        {"min_value": 0.0},
        "order of the points: the eyes are above the mouth",
    ),
    Order(
        "eyebrows_to_eyes",
        1,
        "eyebrows",
        "eyes",
        {"min_value": -0.1},
        "order of the points: the eyebrows are above the eyes",
    ),
    Order(
        "mouth_to_chin",
        1,
        "mouth",
        8,
        {"min_value": -0.1},
        "order of the points: 9, the chin, is below the mouth",
    ),
)
_ORDER_80 = (
    *_ORDER_68,
    Order(
        "eyes_to_pupils",
        None,
        "eyes",
        "pupils",
        {"max_value": 0.15},
        "order of the points: 69-76 are the pupils",
    ),
    Order(
        "ear_span",
        0,
        77,
        79,
        {"min_value": -0.25},
        "order of the points: 77-78 are the ear on the left of the image",
    ),
)
_ORDER_104 = (
    *_ORDER_80,
    Order(
        "eyes_to_contours",
        None,
        "eyes",
        "eye_contours",
        {"max_value": 0.15},
        "order of the points: 81-104 are around the eyes",
    ),
)


def _order_of(eye_span: tuple[int, int], chin: int) -> tuple[Order, ...]:
    """The orders of a layout with eye corners, eyebrows, mouth and the tip of the chin."""
    first, second = eye_span
    left, right = f"order of the points: {first + 1}", f"{second + 1} in the image"
    return (
        Order("eye_span", 0, first, second, {"min_value": -0.25}, f"{left} is left of {right}"),
        *_ORDER_68[1:3],
        Order(
            "mouth_to_chin",
            1,
            "mouth",
            chin,
            {"min_value": -0.1},
            f"order of the points: {chin + 1}, the chin, is below the mouth",
        ),
    )


def orders_of(num_keypoints: int, own_scheme: bool) -> tuple[Order, ...]:
    """The orders of K keypoints; none of a set with a scheme file, whose points are others."""
    return () if own_scheme else SUITES.get(num_keypoints, ())


SUITES: dict[int, tuple[Order, ...]] = {
    68: _ORDER_68,
    80: _ORDER_80,
    104: _ORDER_104,
    98: _order_of((60, 72), 16),
    106: _order_of((66, 79), 16),
    29: _order_of((8, 9), 28),
    5: _ORDER_68[1:2],
}
"""K -> the orders of its scheme."""
