"""Checks of the set as a whole: a set that fires each, and one that does not."""

from typing import Any

import numpy as np
import pytest

from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.labelled_set import check_whole_set
from fpenet.data.readers.labelled_set import Origins

FACE = np.array([[20.0, 20.0], [40.0, 20.0], [30.0, 30.0], [24.0, 40.0], [36.0, 40.0]])
TEN = np.stack([FACE + np.array([3 * n, 0]) for n in range(10)])
BOXES = np.array([(18.0 + 3 * n, 18.0, 24.0, 24.0) for n in range(10)])


def ten(**changed: Any) -> dict[str, Any]:
    """Ten faces of five people, with other values of some fields."""
    plain: dict[str, Any] = {
        "images": [f"a{n}.png" for n in range(10)],
        "subjects": [f"s{n // 2}" for n in range(10)],
        "points": TEN,
        "boxes": BOXES,
        "sizes": np.full((10, 2), 100.0),
        "occlusion": np.full(10, np.nan),
        "attributes": {},
    }
    return plain | changed


def found(**changed: Any) -> dict[str, str]:
    """Check -> what it says of the set."""
    outcomes = check_whole_set(LabelledFaces(**ten(**changed)))
    return {name: outcome.details[-1] for name, outcome in outcomes.items() if outcome.details}


def some_visible(count: int) -> Any:
    visible = np.zeros((10, 5), bool)
    visible.reshape(-1)[:count] = True
    return visible


def test_a_sound_set_passes_every_check() -> None:
    assert found() == {}
    assert found(visibility=some_visible(25)) == {}  # half of 50
    assert found(origins=Origins(subjects_from_names=True)) == {}
    assert found(subjects=[None] * 10, origins=Origins(subjects_from_names=True)) == {}


@pytest.mark.parametrize(
    ("changed", "check", "said"),
    [
        ({"visibility": some_visible(0)}, "no visible point", "none of the 50 labelled points"),
        ({"visibility": some_visible(24)}, "few visible points", "48% of the labelled points"),
        (
            {"origins": Origins(keypoint_names=("nose", "left_shoulder", "left_hip"))},
            "body keypoints",
            "2 of the 3 keypoints are of a body (left_shoulder, left_hip, ...)",
        ),
        (
            {
                "subjects": ["20240501", "20240502"] * 5,
                "origins": Origins(subjects_from_names=True),
            },
            "doubtful subjects",
            "2 of 2 look like dates (e.g. 20240501)",
        ),
        (
            {
                "subjects": [f"p{n}" for n in range(10)],
                "origins": Origins(subjects_from_names=True),
            },
            "doubtful subjects",
            "each of the 10 images has a subject of its own (e.g. p0)",
        ),
        (
            {"boxes": np.tile([0.0, 0.0, 100.0, 100.0], (10, 1))},
            "equal boxes",
            "all 10 face boxes are 100x100 px at (0, 0), but the faces are up to 27 px apart",
        ),
        (
            {"origins": Origins(scheme_guessed=True)},
            "unknown scheme",
            "5 keypoints are taken for those of eye centres, nose tip and mouth corners",
        ),
        ({"points": TEN[:, :4]}, "unknown scheme", "the order of 4 keypoints is not known"),
        (
            {"origins": Origins(placeholder_points=12, placeholder_faces=6)},
            "placeholder",
            "12 points of 6 faces are at (0, 0), (-1, -1)",
        ),
    ],
)
def test_each_check_says_what_is_wrong(changed: dict[str, Any], check: str, said: str) -> None:
    messages = found(**changed)
    assert list(messages) == [check]
    assert said in messages[check]


def test_subjects_of_the_labels_are_not_doubted() -> None:
    assert found(subjects=["20240501"] * 10) == {}
    assert found(subjects=[f"p{n}" for n in range(10)]) == {}
