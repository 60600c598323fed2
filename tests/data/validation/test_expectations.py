import dataclasses
from collections.abc import Callable

import numpy as np

from fpenet.data.checks.faces import LabelledFaces, labelled_faces
from fpenet.data.sample import FaceSample
from fpenet.data.validation.expectations import (
    face_expectations,
    face_table,
    keypoint_table,
)
from fpenet.data.validation.point_order import SUITES
from fpenet.keypoints import SCHEMES, scheme_for
from fpenet.params import Params, ValidateParams


def faces_of_scheme(count: int) -> LabelledFaces:
    """One upright face whose regions lie where they belong, in a box of 100 px at (10, 20)."""
    scheme = scheme_for(count)
    places = {
        "chin": (50, 80),
        "eyebrows": (50, 10),
        "nose": (50, 45),
        "eyes": (50, 25),
        "mouth": (50, 65),
        "pupils": (50, 25),
        "ears": (50, 30),
        "eye_contours": (50, 25),
    }
    points = np.zeros((count, 2))
    for name, indices in scheme.regions.items():
        if name in places:
            points[list(indices)] = places[name]
    if scheme.eye_corners:
        points[list(scheme.eye_corners), 0] = 20, 80
    if "ears" in scheme.regions:
        points[[77, 79], 0] = 20, 80
    points += (10, 20)
    box = (10.0, 20.0, 100.0, 100.0)
    return labelled_faces(
        [FaceSample("a.png", (200, 200), box, points, np.ones(count, bool), 0, "ann")]
    )


def unmet(faces: LabelledFaces, params: ValidateParams) -> list[str]:
    """The columns whose order a face does not meet."""
    count = faces.points.shape[1]
    table = face_table(faces, np.ones((len(faces), count), bool))
    wrong = []
    for order in SUITES[count]:
        value = table[order.column][0]
        if not order.limit.get("min_value", -9) <= value <= order.limit.get("max_value", 9):
            wrong.append(order.column)
    return wrong


def test_every_scheme_of_fpenet_has_its_suite() -> None:
    of_fpenet = {count for count, scheme in SCHEMES.items() if scheme.of_fpenet}
    assert of_fpenet <= set(SUITES) <= set(SCHEMES)


def test_hidden_points_are_not_asked_for_their_order() -> None:
    faces = faces_of_scheme(80)
    faces.points[:, 68:76] += 60  # dummies where the pupils are not
    visible = np.ones((1, 80), bool)
    assert face_table(faces, visible)["eyes_to_pupils"][0] > 0.15
    visible[:, 68:76] = False
    assert np.isnan(face_table(faces, visible)["eyes_to_pupils"][0])


def test_a_set_with_a_scheme_file_has_no_order_of_another_scheme(
    params_with: Callable[..., Params],
) -> None:
    params = params_with().validate_
    names = [e.settings.get("column") for e in face_expectations(5, [], params)]
    own = [e.settings.get("column") for e in face_expectations(5, [], params, own_scheme=True)]
    assert [name for name in names if name not in own] == ["eyes_to_mouth"]


def test_a_face_in_order_meets_the_suite_of_its_scheme(params_with: Callable[..., Params]) -> None:
    for count in SUITES:
        assert unmet(faces_of_scheme(count), params_with().validate_) == []


def test_an_order_turned_round_is_seen(params_with: Callable[..., Params]) -> None:
    faces = faces_of_scheme(104)
    upside_down = dataclasses.replace(
        faces, points=np.array([10, 120]) + np.array([1, -1]) * (faces.points - [0, 20])
    )
    found = unmet(upside_down, params_with().validate_)
    assert {"eyes_to_mouth", "eyebrows_to_eyes", "mouth_to_chin"} <= set(found)
    points = faces.points.copy()
    points[:, 68:76] += 30  # the pupils elsewhere
    assert unmet(dataclasses.replace(faces, points=points), params_with().validate_) == [
        "eyes_to_pupils"
    ]


def test_the_table_has_a_row_a_face_and_what_was_not_said_is_missing() -> None:
    faces = faces_of_scheme(68)
    points = faces.points.copy()
    points[0, 48:] = np.nan
    changed = dataclasses.replace(faces, points=points, occlusion=np.array([np.nan]))
    scores = {"unlike shape": np.array([0.123456]), "swapped": np.array([np.inf])}
    table = face_table(changed, np.ones((1, 68), bool), scores)
    assert table["labelled_points"].tolist() == [48]
    assert table["occlusion_level"].isna().tolist() == [True]
    assert np.isnan(table["eyes_to_mouth"][0])
    assert table["score_unlike_shape"].tolist() == [0.123]
    assert np.isnan(table["score_swapped"][0])


def test_a_keypoint_that_no_face_labels_has_a_row_too() -> None:
    faces = faces_of_scheme(68)
    faces.points[0, 3] = np.nan
    table = keypoint_table(faces)
    assert table["keypoint"].tolist() == list(range(1, 69))
    assert table["labelled_faces"].tolist() == [1, 1, 1, 0] + [1] * 64
    assert (table["mean_x"][36], table["mean_y"][36]) == (0.2, 0.25)


def test_a_check_that_only_warns_makes_a_warning_of_its_expectation(
    params_with: Callable[..., Params],
) -> None:
    params = params_with({"validate.severity.swapped": "block"}).validate_
    expected = face_expectations(68, ["swapped", "unlike shape"], params)
    blocking = {e.settings["column"]: e.blocking for e in expected if "column" in e.settings}
    assert blocking["score_swapped"] is True
    assert blocking["score_unlike_shape"] is False
