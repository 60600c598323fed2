"""Where the 104 points lie, on a head that is its own mirror image."""

import numpy as np

from fpenet.keypoints import SCHEMES
from synthface.geometry.landmarks import landmarks
from synthface.spec import EXPRESSIONS, Expression, Identity

MEAN_HEAD = landmarks(Identity(), Expression(), (0.0, 0.0))


def test_mirroring_a_symmetric_head_is_the_same_as_the_flip_map() -> None:
    flip_map = SCHEMES[104].flip_map
    assert flip_map is not None
    for expression in EXPRESSIONS.values():
        points = landmarks(Identity(), expression, (0.0, 0.0))
        mirrored = points * np.array([-1.0, 1.0, 1.0])
        np.testing.assert_allclose(mirrored[list(flip_map)], points, atol=1e-9)


def test_no_two_points_of_a_neutral_head_coincide_but_the_closed_lips() -> None:
    apart = np.linalg.norm(MEAN_HEAD[:, None] - MEAN_HEAD[None], axis=2)
    first, second = np.nonzero((apart < 0.05) & (np.arange(104)[:, None] < np.arange(104)))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(61, 67), (62, 66), (63, 65)]


def test_points_are_where_their_names_say() -> None:
    x, y, z = MEAN_HEAD.T
    assert z.argmax() == 30  # the tip of the nose is nearest to the camera
    assert y[:80].argmax() == 8  # the chin is lowest
    assert x[36] < x[39] < 0 < x[42] < x[45]  # eye corners, outer and inner
    assert (y[17:27] < y[36:48].min()).all()  # brows over the eyes
    assert x[68] < x[70]
    assert y[69] < y[71]  # iris: left, top, right, bottom
    np.testing.assert_allclose(MEAN_HEAD[102, :2], (-32.0, 0.5 * (y[69] + y[71])))
    assert y[76] < y[77]
    assert y[78] < y[79]  # ears: top, lobe
    assert y[86] < min(y[37], y[38])  # the fold is over the lid


def test_jaw_points_are_evenly_spaced_as_seen_from_the_front() -> None:
    steps = np.hypot(*(MEAN_HEAD[1:17, :2] - MEAN_HEAD[:16, :2]).T)
    assert steps.max() / steps.min() < 1.05


def test_an_open_mouth_moves_the_lower_lip_and_the_chin_only_down() -> None:
    scream = landmarks(Identity(), EXPRESSIONS["scream"], (0.0, 0.0))
    assert scream[66, 1] - scream[62, 1] > 30.0
    assert scream[8, 1] - MEAN_HEAD[8, 1] == 24.0
    assert abs(scream[27, 1] - MEAN_HEAD[27, 1]) < 1e-9


def test_gaze_moves_both_irises_alike() -> None:
    aside = landmarks(Identity(), Expression(), (2.0, -1.0))
    moved = aside[68:76, :2] - MEAN_HEAD[68:76, :2]
    np.testing.assert_allclose(moved, np.tile([2.0, -1.0], (8, 1)))
