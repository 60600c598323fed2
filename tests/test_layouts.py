"""Layouts of 98, 106, 29 and 5 points: flips that flip back, on a face drawn by hand."""

import numpy as np
import pytest

from fpenet.data.readers.datasets.wflw import TO_68
from fpenet.keypoints import scheme_for
from fpenet.layouts import COFW_29, FIVE, JD_106, WFLW_98, Layout

LAYOUTS = [WFLW_98, JD_106, COFW_29, FIVE]
PAIRS_29 = {0: 1, 2: 3, 4: 6, 5: 7, 8: 9, 10: 11, 12: 14, 13: 15, 16: 17, 18: 19, 22: 23}


def row(first: float, last: float, y: float, count: int) -> list[tuple[float, float]]:
    """``count`` points of one height, from left to right."""
    return [(float(x), y) for x in np.linspace(first, last, count)]


def eye(corner: float, other: float) -> list[tuple[float, float]]:
    """Eight points round an eye: upper lid from left to right, lower lid back."""
    upper = row(corner, other, 0.0, 5)
    upper[1:4] = [(x, 1.0) for x, _ in upper[1:4]]
    return [*upper, *((x, -1.0) for x, _ in reversed(upper[1:4]))]


def brows() -> list[tuple[float, float]]:
    """Nine points of each, clockwise: upper edge from left to right, lower edge back."""
    left_upper, left_lower = row(-9, -3, 4.0, 5), row(-3.5, -8, 3.0, 4)
    right_upper, right_lower = row(3, 9, 4.0, 5), row(8, 3.5, 3.0, 4)
    return [*left_upper, *left_lower, *right_upper, *right_lower]


def mouth() -> list[tuple[float, float]]:
    """Twenty points: outer contour of 12, inner contour of 8, clockwise from the left corner."""
    outer = [*row(-4, 4, -8.0, 7), *row(3, -3, -11.0, 5)]
    inner = [*row(-3, 3, -9.0, 5), *row(2, -2, -10.0, 3)]
    return [*outer, *inner]


JAW = row(-12, 12, -14.0, 33)
BRIDGE = [(0.0, float(-k)) for k in range(4)]
FACE_98 = [
    *JAW,
    *brows(),
    *BRIDGE,
    *row(-2, 2, -5.0, 5),
    *eye(-8, -4),
    *eye(4, 8),
    *mouth(),
    (-6.0, 0.0),
    (6.0, 0.0),
]
FACE_106 = [
    *JAW,
    *brows(),
    *BRIDGE,
    *row(-2, 2, -5.0, 11),
    *eye(-8, -4),
    (-6.0, 0.2),
    *eye(4, 8),
    (6.0, 0.2),
    *mouth(),
    (-6.0, 0.0),
    (6.0, 0.0),
]
FACE_29 = [
    (-9, 4),
    (9, 4),
    (-3, 4),
    (3, 4),
    (-6, 5),
    (-6, 3),
    (6, 5),
    (6, 3),
    (-8, 0),
    (8, 0),
    (-4, 0),
    (4, 0),
    (-6, 1),
    (-6, -1),
    (6, 1),
    (6, -1),
    (-6, 0),
    (6, 0),
    (-2, -5),
    (2, -5),
    (0, -4),
    (0, -6),
    (-4, -9),
    (4, -9),
    (0, -8),
    (0, -9),
    (0, -10),
    (0, -11),
    (0, -14),
]
FACE_5 = [(-6, 0), (6, 0), (0, -4), (-4, -9), (4, -9)]


@pytest.mark.parametrize(
    ("layout", "face"),
    [(WFLW_98, FACE_98), (JD_106, FACE_106), (COFW_29, FACE_29), (FIVE, FACE_5)],
)
def test_a_mirrored_face_is_the_same_face(layout: Layout, face: list[tuple[float, float]]) -> None:
    points = np.array(face, float)
    assert len(points) == layout.num_keypoints
    flip = np.array(layout.flip_map)
    np.testing.assert_array_equal(flip[flip], np.arange(len(points)))
    np.testing.assert_allclose((points * (-1, 1))[flip], points)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_corners_and_pupils_are_left_and_right_in_the_image(layout: Layout) -> None:
    faces = {98: FACE_98, 106: FACE_106, 29: FACE_29, 5: FACE_5}
    points = np.array(faces[layout.num_keypoints], float)
    if layout.eye_corners is not None:
        np.testing.assert_array_equal(points[list(layout.eye_corners)], [(-8, 0), (8, 0)])
    pupils = [points[list(group)].mean(axis=0) for group in layout.pupils]
    np.testing.assert_array_equal(pupils, [(-6, 0), (6, 0)])
    if layout.chin is not None:
        assert points[layout.chin].tolist() == [0.0, -14.0]


def test_cofw_has_the_pairs_of_its_figure() -> None:
    flip = COFW_29.flip_map
    pairs = {k: partner for k, partner in enumerate(flip) if k < partner}
    assert pairs == PAIRS_29


def test_the_68_of_the_98_flip_alike() -> None:
    flip_98, flip_68 = scheme_for(98).flip_map, scheme_for(68).flip_map
    assert flip_98 is not None
    assert flip_68 is not None
    assert [TO_68.index(flip_98[k]) for k in TO_68] == list(flip_68)
