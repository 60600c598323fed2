import dataclasses
import re

import numpy as np
import pytest

from components.data.rules import (
    CHECKS,
    apply_checks,
    find_repeats,
    find_stray_counts,
    outside_fraction,
    visible_fraction,
)
from components.data.sample import FaceSample

SOUND = FaceSample(
    image="a.png",
    image_size=(100, 80),
    face_box=(10.0, 10.0, 40.0, 40.0),
    points=np.array([[12.0, 12.0], [48.0, 14.0], [30.0, 46.0], [np.nan, np.nan]]),
    visible=np.array([True, True, False, False]),
    occlusion_level=0,
    subject="a",
)


def with_points(*points):
    return dataclasses.replace(SOUND, points=np.array(points, float))


def test_a_sound_face_passes_every_check(params_with):
    assert apply_checks(SOUND, 0, params_with().validate_) is None


@pytest.mark.parametrize(
    ("sample", "reason", "said"),
    [
        pytest.param(
            with_points((12, 12), (0, 0), (30, 40)), "placeholder", r"P2 is \(0, 0\) px", id="zero"
        ),
        pytest.param(
            with_points((12, 12), (30, 9), (-1, -1)), "placeholder", r"P3 is \(-1, -1\)", id="minus"
        ),
        pytest.param(
            with_points((12, 12), (1e9, 9)),
            "far point",
            r"P2 is \(1e\+09, 9\) px in a 100x80 image",
            id="huge",
        ),
        pytest.param(
            with_points((12, 12), (30, -81)), "far point", r"P2 is \(30, -81\)", id="negative"
        ),
        pytest.param(
            with_points((12, 12), (12.2, 12)), "collapsed", "all 2 points lie within", id="a dot"
        ),
        pytest.param(
            dataclasses.replace(SOUND, face_box=(12.0, 12.0, 0.5, 0.5)),
            "collapsed",
            "face box is 0.5x0.5 px",
            id="no face",
        ),
        pytest.param(
            dataclasses.replace(SOUND, occlusion_level=6),
            "occluded",
            "level 6; at most 5",
            id="occluded",
        ),
        pytest.param(
            dataclasses.replace(SOUND, face_box=(-20.5, 10.0, 40.0, 40.0)),
            "face cut off",
            "0.50 of the face box is inside; at least 0.6",
            id="cut",
        ),
        pytest.param(
            with_points((12, 12), (-3, 12), (40, -2)),
            "points outside",
            "0.67 of the points are outside; at most 0.5",
            id="outside",
        ),
    ],
)
def test_each_check_names_what_is_wrong(params_with, sample, reason, said):
    found = apply_checks(sample, 7, params_with().validate_)
    assert (found.reason, found.face, found.image) == (reason, 7, "a.png")
    assert re.search(said, found.detail)


def test_only_broken_labels_count_against_the_budget():
    broken = {reason for reason, check in CHECKS.items() if check.broken}
    assert broken == {"placeholder", "far point", "collapsed"}


def test_the_border_of_the_image_is_half_a_pixel_out():
    assert visible_fraction(dataclasses.replace(SOUND, face_box=(-0.5, -0.5, 100, 80))) == 1.0
    edge = with_points((-0.5, 0), (99.5, 79.5), (-0.6, 0), (0, 79.6))
    assert outside_fraction(edge) == 0.5


def test_a_few_faces_with_more_keypoints_do_not_decide_their_number():
    three = np.array([[1.0, 1.0], [2.0, 2.0], [np.nan, np.nan]])
    samples = [dataclasses.replace(SOUND, points=three) for _ in range(39)]
    odd = dataclasses.replace(SOUND, points=np.array([[1.0, 1.0], [2.0, 2.0], [9.0, 9.0]]))
    agreed, stray = find_stray_counts([*samples, odd], 0.05)
    assert (agreed, stray) == (2, {39: "labels P3, where the set has 2 keypoints"})
    assert find_stray_counts([*samples[:9], odd], 0.05) == (3, {})


def test_the_same_points_on_the_same_picture_are_a_repeat():
    other = dataclasses.replace(SOUND, image="b.png")
    moved = dataclasses.replace(SOUND, points=SOUND.points + 1)
    found = find_repeats([SOUND, other, moved, other], ["one", "one", "one", "two"])
    assert found == {1: "same picture and points as a face of a.png"}
