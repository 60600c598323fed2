"""Triangles to pixels on squares that can be counted by hand."""

import numpy as np

from synthface.rendering.raster import rasterise
from synthface.spec import IMAGE_WIDTH

# Corners of a square around the 4 x 4 pixels (10..13, 20..23), and its two triangles.
X = np.array([9.5, 13.5, 13.5, 9.5])
Y = np.array([19.5, 19.5, 23.5, 23.5])
SQUARE = np.array([[0, 0], [1, 2], [2, 3]])


def test_two_triangles_fill_a_square_once() -> None:
    fragments = rasterise(X, Y, np.zeros(4), SQUARE)
    expected = [row * IMAGE_WIDTH + column for row in range(20, 24) for column in range(10, 14)]
    assert fragments.pixel.tolist() == expected


def test_values_blend_in_a_straight_line_between_corners() -> None:
    fragments = rasterise(X, Y, np.zeros(4), SQUARE)
    column, row = fragments.pixel % IMAGE_WIDTH, fragments.pixel // IMAGE_WIDTH
    np.testing.assert_allclose(fragments.blend(X), column, atol=1e-5)
    np.testing.assert_allclose(fragments.blend(Y), row, atol=1e-5)


def test_the_nearer_triangle_wins_whatever_the_order() -> None:
    x, y = np.tile(X, 2), np.tile(Y, 2)
    z = np.repeat([-5.0, 5.0], 4)
    for triangles in (np.hstack([SQUARE, SQUARE + 4]), np.hstack([SQUARE + 4, SQUARE])):
        fragments = rasterise(x, y, z, triangles)
        assert (fragments.corners >= 4).all()
        assert len(fragments.pixel) == 16


def test_a_triangle_turned_away_is_left_out() -> None:
    assert len(rasterise(X, Y, np.zeros(4), SQUARE[::-1]).pixel) == 0


def test_what_leaves_the_image_is_cut_off() -> None:
    fragments = rasterise(X - 12.0, Y - 22.0, np.zeros(4), SQUARE)
    assert fragments.pixel.tolist() == [0, 1, IMAGE_WIDTH, IMAGE_WIDTH + 1]
