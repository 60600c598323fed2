"""The crop geometry, with a dot whose place is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fpenet.data.crops.geometry import CropBox, cut, face_crop_box, tight_crop_box


def test_a_face_box_becomes_a_square_about_its_centre() -> None:
    assert face_crop_box((10.0, 20.0, 40.0, 20.0), 1.5) == CropBox(30.0, 30.0, 60.0)


def test_a_face_box_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        face_crop_box((10.0, 20.0, 0.0, 0.0), 1.2)


def test_the_centre_of_the_box_is_the_centre_of_the_crop() -> None:
    assert CropBox(33.25, 47.5, 57.0).to_crop(np.array([33.25, 47.5])).tolist() == [39.5, 39.5]


def test_crop_and_back_gives_the_same_points() -> None:
    points = np.random.default_rng(0).uniform(0, 640, (7, 2))
    box = CropBox(211.3, 98.7, 173.9)
    assert np.allclose(box.to_image(box.to_crop(points)), points, atol=1e-9)


def render_dot(width: int, height: int, x: float, y: float, radius: float) -> NDArray[np.uint8]:
    """A smooth round dot about (x, y), pixel centres at integers, on black."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    square = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
    return (250 * np.maximum(0.0, 1.0 - square) ** 2).round().astype(np.uint8)


def centroid(seen: NDArray[np.uint8]) -> NDArray[np.float64]:
    levels = seen.astype(float)
    rows, columns = np.indices(seen.shape)
    total = levels.sum()
    return np.array([(levels * columns).sum() / total, (levels * rows).sum() / total])


@pytest.mark.parametrize("size_px", [80, 112])
@pytest.mark.parametrize("side", [20.0, 40.0, 79.3, 80.0, 81.7, 133.7, 400.0, 977.0, 2000.0])
def test_a_dot_lands_where_the_box_says(side: float, size_px: int) -> None:
    chance = np.random.default_rng(int(side))
    radius = max(10.0 * side / size_px, 8.0)  # image pixels; grey levels blur a smaller one
    size = int(4 * radius)
    for _ in range(20):
        x, y = chance.uniform(radius, size - 1 - radius, 2)
        off_x, off_y = chance.uniform(-1, 1, 2) * (side / 2 - radius)  # all of it is in the crop
        box = CropBox(x + off_x, y + off_y, side)
        seen = cut(render_dot(size, size, x, y, radius), box, size_px)
        assert np.abs(centroid(seen) - box.to_crop(np.array([x, y]), size_px)).max() < 0.02


@pytest.mark.parametrize("side", [40.0, 90.0, 160.0, 500.0])
def test_a_dot_at_the_border_lands_where_the_box_says(side: float) -> None:
    radius = max(10.0 * side / 80, 8.0)
    size, edge = math.ceil(4 * radius), radius + 0.5
    for x, y in [(edge, edge), (size - 1 - edge, edge + 0.37), (edge + 0.5, size - 1 - edge)]:
        # The square reaches out of the image on the dot's side.
        off = 0.5 * (side / 2 - radius) * np.sign([x - size / 2, y - size / 2])
        box = CropBox(x + off[0], y + off[1], side)
        assert box.outside(size, size) > 0.2
        seen = cut(render_dot(size, size, x, y, radius), box, 80)
        assert np.abs(centroid(seen) - box.to_crop(np.array([x, y]))).max() < 0.02


def triangle_weights(start: float, step: float, count: int, length: int) -> NDArray[np.float64]:
    """(count, length) weights of an anti-aliased linear filter, edges going on: slow and plain."""
    weights = np.zeros((count, length))
    width = max(step, 1.0)
    for u in range(count):
        centre = start + (u + 0.5) * step - 0.5
        taps = range(math.floor(centre - width), math.ceil(centre + width) + 1)
        values = [max(0.0, 1.0 - abs(tap - centre) / width) for tap in taps]
        for tap, value in zip(taps, values, strict=True):
            weights[u, min(max(tap, 0), length - 1)] += value / sum(values)
    return weights


@pytest.mark.parametrize(
    ("x", "y", "side"),
    [
        pytest.param(50.3, 40.7, 61.4, id="inside, enlarged"),
        pytest.param(55.1, 44.4, 83.3, id="inside, reduced"),
        pytest.param(8.0, 80.2, 120.0, id="over the left and the bottom"),
        pytest.param(101.7, 3.1, 77.7, id="over the right and the top"),
        pytest.param(55.0, 45.0, 400.0, id="all of the image and more"),
        pytest.param(-70.0, 45.0, 60.0, id="beside the image"),
        pytest.param(300.0, 400.0, 90.0, id="beyond a corner"),
    ],
)
def test_a_crop_is_an_anti_aliased_resize_of_the_image_with_its_edges_going_on(
    x: float, y: float, side: float
) -> None:
    image = np.random.default_rng(3).integers(0, 256, (90, 110)).astype(np.uint8)
    left, top, step = x + 0.5 - side / 2, y + 0.5 - side / 2, side / 80
    across = triangle_weights(left, step, 80, 110)
    down = triangle_weights(top, step, 80, 90)
    wanted = down @ image.astype(float) @ across.T
    assert np.abs(cut(image, CropBox(x, y, side), 80) - wanted).max() <= 0.501


@given(
    st.floats(-500, 5000),
    st.floats(-500, 5000),
    st.floats(1, 4000),
    st.lists(st.tuples(st.floats(-500, 5000), st.floats(-500, 5000)), min_size=1),
)
def test_crop_and_back_is_where_it_was(
    x: float, y: float, side: float, places: list[tuple[float, float]]
) -> None:
    box, points = CropBox(x, y, side), np.array(places)
    np.testing.assert_allclose(box.to_image(box.to_crop(points)), points, atol=1e-6)
    # The margin crop shows the same pixels about the same centre: 112 px, 16 more on each side.
    margin = CropBox(x, y, side * 112 / 80)
    scale = max(1.0, 80 / side)
    np.testing.assert_allclose(
        margin.to_crop(points, 112) - 16, box.to_crop(points), atol=1e-6 * scale
    )


def test_edges_are_replicated_and_counted() -> None:
    image = np.full((50, 50), 90, np.uint8)
    box = CropBox(0.0, 24.5, 50.0)
    assert (cut(image, box, 80) == 90).all()
    assert box.outside(50, 50) == pytest.approx(1 - 25.5 / 50)


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        # The shorter side grows by ceil(d / 2) at its start and by floor(d / 2) at its end.
        # x 10..30; y 5..15, d = 10: y 0..20
        pytest.param([(10.4, 5.5), (29.2, 14.1)], CropBox(19.5, 9.5, 20.0), id="wide, even"),
        # x 10..30; y 5..14, d = 11: y -1..19
        pytest.param([(10.4, 5.5), (29.2, 13.9)], CropBox(19.5, 8.5, 20.0), id="wide, odd"),
        # x 3..10, d = 6: x 0..13; y 20..33
        pytest.param([(3.2, 20.7), (9.9, 32.5)], CropBox(6.0, 26.0, 13.0), id="tall, even"),
        # x 3..10, d = 5: x 0..12; y 20..32, a whole number already
        pytest.param([(3.2, 20.7), (9.9, 32.0)], CropBox(5.5, 25.5, 12.0), id="tall, odd"),
        # x 3..10; y 20..28, d = 1: x 2..10
        pytest.param([(3.2, 20.7), (9.9, 27.1)], CropBox(5.5, 23.5, 8.0), id="tall by one"),
        # x 0..8; y 1..9
        pytest.param([(0.5, 1.2), (7.5, 8.8)], CropBox(3.5, 4.5, 8.0), id="square"),
        # x -1..5, floor and not towards 0; y -3..3
        pytest.param([(-0.2, -2.5), (4.6, 2.1)], CropBox(1.5, -0.5, 6.0), id="below zero"),
    ],
)
def test_the_tight_crop_is_the_original_s_whole_pixel_square(
    corners: list[tuple[float, float]], expected: CropBox
) -> None:
    (x1, y1), (x2, y2) = corners
    inner = ((x1 + x2) / 2, (y1 + y2) / 2)
    for points in ([(x1, y1), (x2, y2)], [(x2, y1), inner, (np.nan, np.nan), (x1, y2)]):
        assert tight_crop_box(np.array(points)) == expected
