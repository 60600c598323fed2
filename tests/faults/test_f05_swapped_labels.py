import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.checks.faces import LabelledFaces, labelled_faces
from fpenet.data.sample import FaceSample, keypoints_box
from fpenet.data.validation.run_checks import run_face_checks
from fpenet.keypoints import scheme_for
from fpenet.params import Params
from synthface import EXPRESSIONS
from synthface.geometry.landmarks import landmarks
from synthface.sampling import sample_identity

YAWS = (-60, -30, 0, 15, 45)


@pytest.fixture(scope="module")
def heads() -> LabelledFaces:
    """The labels of 300 rendered heads, from profile to profile; no picture is needed."""
    samples = []
    for subject in range(60):
        points = landmarks(sample_identity(35, subject), EXPRESSIONS["neutral"], (0.0, 0.0))
        for yaw in YAWS:
            turn = np.radians(yaw)
            x = points[:, 0] * np.cos(turn) + points[:, 2] * np.sin(turn)
            seen = np.column_stack([x, points[:, 1]]) + np.array([320, 240])
            name, visible = f"{subject:03d}_{yaw}.png", np.ones(len(seen), bool)
            box = keypoints_box(seen)
            samples.append(FaceSample(name, (640, 480), box, seen, visible, 0, f"{subject:03d}"))
    return labelled_faces(samples)


@pytest.mark.parametrize("region", ["all", "eyes", "mouth"])
def test_f05_one_percent_of_swapped_faces_is_dropped_and_no_other(
    heads: LabelledFaces, params_with: Callable[..., Params], region: str
) -> None:
    scheme = scheme_for(104)
    indices, flip = np.array(scheme.regions[region]), np.array(scheme.flip_map)
    swapped = np.array([42, 134, 250])
    assert [YAWS[row % 5] for row in swapped] == [0, 45, -60]
    points = heads.points.copy()
    points[np.ix_(swapped, indices)] = points[np.ix_(swapped, flip[indices])]
    sifted = run_face_checks(
        dataclasses.replace(heads, points=points), params_with().validate_, None
    )
    assert [(one.face, one.reason, one.broken) for one in sifted.rejected] == [
        (row, "swapped", True) for row in swapped
    ]
    assert "mirrored, it fits" in sifted.rejected[0].detail
