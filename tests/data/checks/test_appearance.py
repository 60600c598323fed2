import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.checks.appearance import (
    AppearanceModel,
    find_shifted,
    find_unlike_appearance,
    fit_appearance,
)
from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.shape_outliers import ShapeModel, fit_shape_model
from fpenet.data.checks.window import Grey, window
from fpenet.data.sample import Floats
from fpenet.params import Params

WRONG = np.arange(5, 240, 40)  # six faces of six people
MOUTH = WRONG + 3
Judged = tuple[AppearanceModel, Floats]


def pictures_of(faces: LabelledFaces, windows: Grey) -> AppearanceModel:
    shapes = fit_shape_model(faces)
    assert isinstance(shapes, ShapeModel), shapes
    pictures = fit_appearance(faces, shapes, windows)
    assert isinstance(pictures, AppearanceModel), pictures
    return pictures


@pytest.fixture(scope="module")
def judged(cartoons: tuple[LabelledFaces, list[Grey]]) -> Judged:
    """The cartoons, six of them with all points shifted and six with a mouth beside its place."""
    faces, pictures = cartoons
    points, boxes = faces.points.copy(), faces.boxes.copy()
    side = faces.squares[:, 2]
    angle = np.arange(len(WRONG))
    moved = 0.15 * side[WRONG, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points[WRONG] += moved[:, None]
    boxes[WRONG, :2] += moved  # the face box is of no help
    points[MOUTH, 48:, 0] += 0.15 * side[MOUTH, None]
    changed = dataclasses.replace(faces, points=points, boxes=boxes)
    windows = np.stack([window(*pair) for pair in zip(pictures, changed.squares, strict=True)])
    return pictures_of(changed, windows), moved / side[WRONG, None]


def test_points_shifted_with_their_box_are_found_by_the_picture(
    judged: Judged, params_with: Callable[..., Params]
) -> None:
    pictures, moved = judged
    outcome = find_shifted(pictures, params_with().validate_)
    assert sorted(outcome.details) == WRONG.tolist()
    np.testing.assert_allclose(pictures.shift[WRONG], moved, atol=0.04)
    assert outcome.details[5].startswith("points (+0.1")


def test_a_mouth_beside_its_place_is_seen_and_the_eyes_are_not_blamed(judged: Judged) -> None:
    regions = judged[0].regions
    others = np.setdiff1d(np.arange(240), [*MOUTH, *WRONG])
    assert np.median(regions["mouth"][MOUTH]) > np.quantile(regions["mouth"][others], 0.95)
    assert np.median(regions["eyes"][MOUTH]) < np.quantile(regions["eyes"][others], 0.95)


def test_the_worst_region_is_named_with_how_far_it_is_off(
    params_with: Callable[..., Params],
) -> None:
    random = np.random.default_rng(0)
    regions = {name: np.exp(random.normal(np.log(0.03), 0.2, 400)) for name in ("eyes", "mouth")}
    regions["mouth"][17] = 0.2
    regions["eyes"][30] = np.nan  # none labelled
    outcome = find_unlike_appearance(
        AppearanceModel(np.zeros((400, 2)), regions), params_with().validate_
    )
    assert list(outcome.details) == [17]
    assert outcome.details[17].startswith("mouth 0.20 of the face's size off the image")


def test_the_same_faces_give_the_same_numbers(
    cartoons: tuple[LabelledFaces, list[Grey]], judged: Judged
) -> None:
    faces, pictures = cartoons
    windows = np.stack([window(*pair) for pair in zip(pictures, faces.squares, strict=True)])
    one, two = (pictures_of(faces, windows) for _ in range(2))
    assert np.array_equal(one.shift, two.shift)


def test_one_person_cannot_be_judged_by_others(cartoons: tuple[LabelledFaces, list[Grey]]) -> None:
    faces = cartoons[0]
    alone = dataclasses.replace(faces, subjects=["ann"] * len(faces))
    windows = np.zeros((len(faces), 36, 36), np.uint8)
    shapes = fit_shape_model(alone)
    assert isinstance(shapes, ShapeModel)
    found = fit_appearance(alone, shapes, windows)
    assert found == "1 subjects are too few for 3 folds of subjects"
