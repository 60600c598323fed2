import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.shape_outliers import (
    ShapeModel,
    find_swapped,
    find_unlike_shapes,
    fit_shape_model,
)
from fpenet.data.checks.window import Grey
from fpenet.data.sample import Floats
from fpenet.keypoints import scheme_for
from fpenet.params import Params

FLIP = np.array(scheme_for(68).flip_map)
WRONG = np.arange(7, 240, 24)  # ten faces of ten people


def shapes_of(faces: LabelledFaces) -> ShapeModel:
    shapes = fit_shape_model(faces)
    assert isinstance(shapes, ShapeModel), shapes
    return shapes


def with_points(faces: LabelledFaces, change: Callable[[Floats], Floats]) -> LabelledFaces:
    points = faces.points.copy()
    points[WRONG] = change(points[WRONG])
    return dataclasses.replace(faces, points=points)


@pytest.mark.parametrize("region", ["all", "eyes", "mouth"])
def test_left_and_right_swapped_is_found_in_the_face_and_in_a_region(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params], region: str
) -> None:
    indices = np.array(scheme_for(68).regions[region])

    def swap(points: Floats) -> Floats:
        points[:, indices] = points[:, FLIP[indices]]
        return points

    faces = with_points(cartoons[0], swap)
    outcome = find_swapped(faces, shapes_of(faces), params_with().validate_)
    assert sorted(outcome.details) == WRONG.tolist()
    where = "the face" if region == "all" else region
    assert f"left and right of {where}: mirrored, it fits" in outcome.details[7]


def test_no_sound_face_is_swapped_however_it_is_turned(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params]
) -> None:
    faces = cartoons[0]
    quarter = faces.points[..., ::-1] * [-1, 1]  # by 90 degrees
    turned = dataclasses.replace(faces, points=np.where(WRONG[0] % 2, quarter, faces.points))
    for each in (faces, turned):
        assert find_swapped(each, shapes_of(each), params_with().validate_).details == {}


def test_a_face_seen_from_the_side_is_not_judged_by_left_and_right(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params]
) -> None:
    faces = with_points(cartoons[0], lambda points: points[:, FLIP])
    yaw = [90.0 if row in WRONG[:5] else -75.0 for row in range(len(faces))]
    faces = dataclasses.replace(faces, attributes={**faces.attributes, "yaw": yaw})
    outcome = find_swapped(faces, shapes_of(faces), params_with().validate_)
    assert sorted(outcome.details) == WRONG[5:].tolist()


def test_without_mirror_partners_nothing_is_swapped_and_that_is_said(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params]
) -> None:
    faces = dataclasses.replace(cartoons[0], points=cartoons[0].points[:, :30])
    outcome = find_swapped(faces, shapes_of(faces), params_with().validate_)
    assert outcome.skipped == "no mirror partners are known for 30 keypoints"


def test_a_face_of_another_shape_is_found_and_a_moved_one_is_not(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params]
) -> None:
    def spoil(points: Floats) -> Floats:
        points[0, 48:] += 14.0  # a mouth beside its place
        points[1, :17] = points[1, 8]  # a collapsed contour
        points[2] = points[2] * 0.5 + 30.0  # smaller and elsewhere: the same shape
        return points

    faces = with_points(cartoons[0], spoil)
    outcome = find_unlike_shapes(shapes_of(faces), params_with().validate_)
    assert set(outcome.details) == set(WRONG[:2].tolist())
    assert "deviations from the other shapes; at most 4" in outcome.details[int(WRONG[0])]


def test_a_shape_that_several_people_have_is_rare_but_not_wrong(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params]
) -> None:
    def found_when_long(rows: list[int] | slice) -> set[int]:
        faces = with_points(cartoons[0], lambda points: points)
        faces.points[rows] *= [1.0, 1.6]
        return set(find_unlike_shapes(shapes_of(faces), params_with().validate_).details)

    assert found_when_long([7]) == {7}
    assert len(found_when_long(slice(0, 240, 6))) <= 1  # forty faces


def test_unlabelled_points_are_filled_in_from_the_mean_and_not_judged(
    cartoons: tuple[LabelledFaces, list[Grey]], params_with: Callable[..., Params]
) -> None:
    faces = with_points(cartoons[0], lambda points: points)
    faces.points[::3, 30:40] = np.nan
    shapes = shapes_of(faces)
    error = np.linalg.norm(shapes.points - cartoons[0].points, axis=2)
    assert error[::3, 30:40].mean() < 2.0  # px, of a face 50 px wide
    assert (error[1::3] == 0).all()
    found = find_unlike_shapes(shapes, params_with().validate_).details
    assert not {row for row in found if row % 3 == 0}


def test_too_few_common_keypoints_make_no_shape(cartoons: tuple[LabelledFaces, list[Grey]]) -> None:
    faces = dataclasses.replace(cartoons[0], points=cartoons[0].points[:, :3])
    assert fit_shape_model(faces) == "3 keypoints are labelled in most faces; needs 4"
