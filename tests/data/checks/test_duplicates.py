from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.checks.duplicates import (
    find_disagreeing,
    find_repeated,
    find_second_labels,
    find_shared_images,
    find_stray_counts,
    pair_labels,
)
from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.image_hash import image_hash
from fpenet.params import Params

FACE = np.array([[10.0, 10.0], [50.0, 10.0], [30.0, 30.0], [30.0, 50.0]])  # 40 px wide


def test_a_few_faces_with_more_keypoints_do_not_decide_their_number(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    three = [(1, 1), (2, 2), (np.nan, np.nan)]
    odd = [(1, 1), (2, 2), (9, 9)]
    assert find_stray_counts(faces_with(40, points=[three] * 39 + [odd]), 0.05) == (
        2,
        {39: "it has a keypoint P3; the set has 2 keypoints"},
    )
    assert find_stray_counts(faces_with(10, points=[three] * 9 + [odd]), 0.05) == (3, {})


def test_columns_of_a_scheme_that_no_face_labels_stay(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    """Of 68 columns 67 have labels: K is 68. Of 80 columns 68: K is 68."""
    nan = (np.nan, np.nan)
    points = [(float(k), float(k)) for k in range(68)]
    one_less = [*points[:67], nan]
    assert find_stray_counts(faces_with(40, points=[one_less] * 40), 0.05) == (68, {})
    assert find_stray_counts(faces_with(40, points=[points + [nan] * 12] * 40), 0.05) == (68, {})


def test_the_same_points_on_the_same_picture_are_a_repeat(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    faces = faces_with(4, points=[FACE, FACE, FACE + 1, FACE])
    found = find_repeated(faces, ["one", "one", "one", "two"])
    assert found.details == {1: "same image and points as a face of 0.png"}


def test_two_labels_of_one_face_are_paired_and_two_faces_are_not(
    faces_with: Callable[..., LabelledFaces],
) -> None:
    points = [FACE, FACE + 2, FACE + 60, FACE, FACE + 2]
    faces = faces_with(5, points=points)
    # 3 and 4 are on another picture; 3 repeats nothing there, 4 labels it again.
    assert pair_labels(faces, ["a", "a", "a", "b", "b"]) == {1: 0, 4: 3}
    assert pair_labels(faces_with(2, points=[FACE, FACE]), ["a", "a"]) == {}  # repeated


def test_two_labels_of_one_labeller_are_two_faces(faces_with: Callable[..., LabelledFaces]) -> None:
    def pairs(*labellers: str | None) -> dict[int, int]:
        faces = faces_with(2, points=[FACE, FACE + 2], attributes={"labeller": labellers})
        return pair_labels(faces, ["a", "a"])

    assert pairs("ann", "ann") == {}
    assert pairs("ann", "bob") == {1: 0}
    assert pairs("ann", None) == {1: 0}


def test_labellers_who_disagree_are_named_with_the_worst_point(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    far = FACE.copy()
    far[3] += (16.0, 0.0)  # 0.4 of the face at one of four points: 0.1 on average
    near = FACE + np.array([1.0, 0.0])  # 0.025 everywhere
    faces = faces_with(
        4,
        points=[FACE, far, FACE, near],
        attributes={"labeller": ["ann", "bob", "ann", "bob"]},
    )
    pairs = {1: 0, 3: 2}
    found = find_disagreeing(faces, pairs, params_with().validate_)
    assert found.details == {
        0: "ann's label of 0.png and bob's label of 1.png are 0.100 of the face's size"
        " apart, 0.40 at P4; at most 0.05"
    }
    assert found.scores is not None
    assert found.scores.tolist() == [2.0, 0.0, 0.5, 0.0]
    assert found.numbers == {
        "faces_with_two_labels": 2,
        "mean": 0.0625,
        "by_point": [0.0125, 0.0125, 0.0125, 0.2125],
    }
    assert find_second_labels(faces, pairs).details == {
        1: "same face as ann's label of 0.png",
        3: "same face as ann's label of 2.png",
    }


def test_without_second_labels_nobody_agrees_and_that_is_said(
    faces_with: Callable[..., LabelledFaces], params_with: Callable[..., Params]
) -> None:
    found = find_disagreeing(faces_with(2), {}, params_with().validate_)
    assert found.skipped == "no face has two labels"


@pytest.mark.parametrize(
    ("subjects", "details"),
    [
        (["ann", "bob"], {1: "the same file as 0.png: of ann and bob"}),
        (["ann", "ann"], {}),
        ([None, None], {}),
        (["ann", None], {1: "the same file as 0.png: of ann and unknown"}),
    ],
)
def test_one_picture_under_two_names_is_found(
    faces_with: Callable[..., LabelledFaces],
    params_with: Callable[..., Params],
    subjects: list[str | None],
    details: dict[int, str],
) -> None:
    look = image_hash(np.zeros((8, 8), np.uint8), "same")
    looks = {"0.png": look, "1.png": look}
    faces = faces_with(2, subjects=subjects)
    outcome, pairs = find_shared_images(faces, looks, params_with().validate_)
    assert outcome.details == details
    assert [(one, other) for one, other, _ in pairs] == ([("0.png", "1.png")] if details else [])
