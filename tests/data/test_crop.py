"""The crop geometry, with a dot whose place is known."""

import numpy as np
import pytest

from components.data.crop import CropBox, cut, face_crop_box, tight_crop_box


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


@pytest.mark.parametrize("side", [40.0, 80.0, 133.7, 400.0])
def test_a_dot_lands_where_the_box_says(side: float) -> None:
    x, y = 251.0, 243.0
    rows, columns = np.mgrid[0:500, 0:500]
    width = max(side / 80.0, 1.0) * 2
    dot = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
    box = CropBox(248.3, 246.9, side)
    seen = cut(dot.round().astype(np.uint8), box, 80).astype(float)
    grid_y, grid_x = np.mgrid[0:80, 0:80]
    found = np.array([(seen * grid_x).sum(), (seen * grid_y).sum()]) / seen.sum()
    assert np.abs(found - box.to_crop(np.array([x, y]))).max() < 0.03


def test_edges_are_replicated_and_counted() -> None:
    image = np.full((50, 50), 90, np.uint8)
    box = CropBox(0.0, 24.5, 50.0)
    assert (cut(image, box, 80) == 90).all()
    assert box.outside(50, 50) == pytest.approx(1 - 25.5 / 50)


def test_the_tight_crop_is_the_original_s_whole_pixel_square() -> None:
    # x 10.4..29.2 -> 10..30, y 5.5..14.1 -> 5..15; y grows by ceil(10/2) up and floor(10/2) down.
    box = tight_crop_box(np.array([[10.4, 5.5], [29.2, 14.1], [np.nan, np.nan]]))
    assert box == CropBox(10 + 10 - 0.5, 0 + 10 - 0.5, 20.0)
