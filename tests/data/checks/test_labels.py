import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.labels import (
    LABEL_CHECKS,
    coincident_fraction,
    outside_fraction,
    visible_fraction,
)
from fpenet.params import Params


def test_a_sound_face_passes_every_check(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    for name, check in LABEL_CHECKS.items():
        assert check.find(faces_with(3), params_with().validate_).details == {}, name


@pytest.mark.parametrize(
    ("changed", "check", "said"),
    [
        pytest.param(
            {"points": [[(12, 12), (1e9, 9)]]},
            "far point",
            r"P2 is \(1e\+09, 9\) px in a 100x80 image",
            id="huge",
        ),
        pytest.param(
            {"points": [[(12, 12), (30, -81)]]}, "far point", r"P2 is \(30, -81\)", id="negative"
        ),
        pytest.param(
            {"points": [[(12, 12), (12.2, 12)]]},
            "collapsed",
            "all 2 points are within one pixel",
            id="a dot",
        ),
        pytest.param(
            {"boxes": [(12.0, 12.0, 0.5, 0.5)]}, "collapsed", "face box is 0.5x0.5 px", id="no face"
        ),
        pytest.param(
            {"points": [[(12, 12), (12, 12), (48, 14), (48, 14)]]},
            "coincident points",
            r"0\.50 of the points coincide with another; at most 0\.25",
            id="doubled",
        ),
        pytest.param({"occlusion": [6]}, "occluded", "occlusion level 6; at most 5", id="occluded"),
        pytest.param(
            {"boxes": [(-20.5, 10.0, 40.0, 40.0)]},
            "face cut off",
            r"0\.50 of the face box is inside; at least 0\.6",
            id="cut",
        ),
        pytest.param(
            {"points": [[(12, 12), (-3, 12), (40, -2)]]},
            "points outside",
            r"0\.67 of the points are outside; at most 0\.5",
            id="outside the image",
        ),
        pytest.param(
            {"points": [[(12, 12), (48, 14), (30, 46), (30, 60)]]},
            "outside face box",  # 10..50 and a margin of 8
            r"0\.25 of the points are outside the face box 40x40 px at \(10, 10\)",
            id="outside the box",
        ),
    ],
)
def test_each_check_names_what_is_wrong(
    faces_with: Callable[..., LabelledFaces],
    params_with: Callable[..., Params],
    changed: dict[str, Any],
    check: str,
    said: str,
) -> None:
    outcome = LABEL_CHECKS[check].find(faces_with(**changed), params_with().validate_)
    assert list(outcome.details) == [0]
    assert re.search(said, outcome.details[0])
    assert outcome.scores is None or outcome.scores[0] > 1


def test_a_score_is_one_at_the_limit(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    faces = faces_with(points=[[(12, 12), (-3, 12), (40, 20), (-2, 9)]])
    outcome = LABEL_CHECKS["points outside"].find(faces, params_with().validate_)
    assert outcome.scores is not None
    assert (outcome.scores.tolist(), outcome.details) == ([1.0], {})


def test_only_broken_labels_count_against_the_budget() -> None:
    sound = {name for name, check in LABEL_CHECKS.items() if not check.broken}
    assert sound == {"occluded", "face cut off", "points outside"}


def test_the_border_of_the_image_is_half_a_pixel_out(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    assert visible_fraction(faces_with(boxes=[(-0.5, -0.5, 100, 80)])).tolist() == [1.0]
    edge = faces_with(points=[[(-0.5, 0), (99.5, 79.5), (-0.6, 0), (0, 79.6)]])
    assert outside_fraction(edge).tolist() == [0.5]


def test_a_line_of_points_is_visible_where_it_lies_inside(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    lines = faces_with(2, boxes=[(10.0, 10.0, 40.0, 0.0), (-90.0, 10.0, 40.0, 0.0)])
    assert visible_fraction(lines).tolist() == [1.0, 0.0]


def test_points_in_one_place_count_once_each_and_unlabelled_ones_never(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    nan = np.nan
    faces = faces_with(
        2,
        points=[
            [(10, 10), (10, 10), (10, 10), (50, 50)],  # two of four lie on an earlier one
            [(10, 10), (nan, nan), (nan, nan), (50, 50)],
        ],
    )
    assert coincident_fraction(faces).tolist() == [0.5, 0.0]
