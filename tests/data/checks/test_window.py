import numpy as np

from fpenet.data.checks.window import WINDOW_PX, slope_maps, window, window_features
from fpenet.data.crops.geometry import CropBox, cut


def test_a_window_is_the_crop_about_the_points() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
    seen = window(image, np.array([97.3, 101.9, 60.0]))
    wanted = cut(image, CropBox(97.3, 101.9, 96.0), WINDOW_PX)
    assert seen.shape == (WINDOW_PX, WINDOW_PX)
    assert np.abs(seen.astype(int) - wanted).max() <= 1


def test_a_window_that_leaves_the_image_repeats_its_edge() -> None:
    image = np.tile(np.arange(50, dtype=np.uint8), (50, 1))
    assert (window(image, np.array([0.0, 25.0, 40.0]))[:, 0] == 0).all()


def test_a_step_in_grey_is_a_slope_in_its_direction_whatever_the_contrast() -> None:
    step = np.full((1, WINDOW_PX, WINDOW_PX), 100, np.uint8)
    step[:, :, WINDOW_PX // 2 :] = 110
    strong = (step.astype(int) * 2).astype(np.uint8)
    maps = slope_maps(np.concatenate([step, strong]))
    middle = maps[0, WINDOW_PX // 2, WINDOW_PX // 2]
    assert middle[0] > 0  # direction 0: rising to the right
    assert (middle[1:] == 0).all()
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-4)


def test_points_are_looked_at_where_they_are() -> None:
    maps = np.zeros((1, WINDOW_PX, WINDOW_PX, 6), np.float32)
    centre = (WINDOW_PX - 1) / 2
    # Half a side right of the middle are 11.25 px; its four cells lie 2.5 px about it.
    right = np.rint(centre + 11.25 + 2.5), np.rint(centre + 2.5)
    maps[0, int(right[1]), int(right[0]), 4] = 1.0
    found = window_features(maps, np.array([[[0.5, 0.0], [0.0, 0.0]]]))
    assert found.shape == (1, 2 * 4 * 6)
    assert found.reshape(2, 4, 6).sum(axis=(1, 2)).tolist() == [1.0, 0.0]
