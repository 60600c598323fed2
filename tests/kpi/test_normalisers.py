"""The lengths of a face: by hand, and as a face turns."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpenet.data.crops.store import CropStore
from fpenet.keypoints import scheme_for
from fpenet.kpi.evaluate import judge
from fpenet.kpi.metrics import face_errors
from fpenet.kpi.normalisers import (
    NORMALISERS,
    LabelledShapes,
    normaliser_lengths,
    normalisers_of,
)
from fpenet.kpi.predictions import predict_judged
from fpenet.params import EvaluateParams
from synthface.geometry.landmarks import landmarks
from synthface.spec import Expression, Identity

HEAD = landmarks(Identity(), Expression(), (0.0, 0.0))[:80]
CORNERS = (36, 45)
NAN = math.nan


def turned(yaw_deg: float) -> LabelledShapes:
    """The mean head at a yaw, all points visible, its face box around the first 68 points."""
    yaw = math.radians(yaw_deg)
    x = HEAD[:, 0] * math.cos(yaw) + HEAD[:, 2] * math.sin(yaw)
    points = np.stack([x, HEAD[:, 1]], axis=1)[None]
    box = np.ptp(points[:, :68], axis=1)
    visible = np.ones((1, len(HEAD)), bool)
    return LabelledShapes(scheme_for(80), points, visible, box, np.array([yaw_deg]))


def eyes(count: int) -> np.ndarray:
    """Points (count, 80, 2) with outer eye corners 50 px and pupils 13 px apart."""
    points = np.zeros((count, 80, 2))
    points[:, 36], points[:, 45] = (10.0, 20.0), (40.0, 60.0)
    points[:, 68:72], points[:, 72:76] = (20.0, 30.0), (32.0, 35.0)
    return points


def test_the_lengths_are_those_of_the_labels(store_of: Callable[..., CropStore]) -> None:
    lengths = normaliser_lengths(store_of(eyes(1), ["a"], side=160.0), np.arange(1))
    # The face box is 80 px square in the image, 40 px in the crop.
    known = {"box": 40.0, "diagonal": 40.0 * math.sqrt(2), "interocular": 50.0, "interpupil": 13.0}
    assert {name: float(lengths[name][0]) for name in known} == pytest.approx(known)


def test_the_headline_is_the_square_root_of_the_area_of_the_face_box() -> None:
    shapes = LabelledShapes(
        scheme_for(3), np.zeros((1, 3, 2)), np.ones((1, 3), bool), np.array([[30, 40]]), np.zeros(1)
    )
    assert list(normalisers_of(scheme_for(3))) == ["box", "diagonal"]
    assert NORMALISERS["box"].length(shapes)[0] == pytest.approx(math.sqrt(1200))
    assert NORMALISERS["diagonal"].length(shapes)[0] == 50.0
    assert next(iter(normalisers_of(scheme_for(68)))) == "box"


def test_a_length_between_the_eyes_needs_both_of_its_ends_visible(
    store_of: Callable[..., CropStore],
) -> None:
    visible = np.ones((4, 80), bool)
    visible[1, 36] = visible[2, 45] = visible[2, 75] = False
    visible[3, 72:76] = False  # of the right pupil no point, of face 2 three of four
    lengths = normaliser_lengths(store_of(eyes(4), list("abcd"), visible=visible), np.arange(4))
    assert lengths["interocular"].tolist() == pytest.approx([50.0, NAN, NAN, 50.0], nan_ok=True)
    assert lengths["interpupil"].tolist() == pytest.approx([13.0, 13.0, 13.0, NAN], nan_ok=True)
    assert lengths["box"].tolist() == pytest.approx([40.0] * 4)


def test_an_unlabelled_eye_corner_gives_no_length(store_of: Callable[..., CropStore]) -> None:
    points = eyes(2)
    points[1, 45] = NAN
    lengths = normaliser_lengths(store_of(points, ["a", "b"]), np.arange(2))
    assert lengths["interocular"].tolist() == pytest.approx([50.0, NAN], nan_ok=True)


def test_a_known_yaw_above_60_degrees_gives_no_length_and_an_unknown_yaw_does(
    store_of: Callable[..., CropStore],
) -> None:
    store = store_of(eyes(5), list("abcde"), yaw=[0.0, -60.0, 61.0, -90.0, None])
    lengths = normaliser_lengths(store, np.arange(5))
    assert lengths["interocular"].tolist() == pytest.approx([50, 50, NAN, NAN, 50], nan_ok=True)
    assert lengths["box"].tolist() == pytest.approx([40.0] * 5)


def test_a_yaw_in_words_is_an_unknown_one(store_of: Callable[..., CropStore]) -> None:
    store = store_of(eyes(2), ["a", "b"], yaw=["left", "right"])
    assert normaliser_lengths(store, np.arange(2))["interocular"].tolist() == [50.0, 50.0]


@given(st.floats(-90, 90))
def test_the_face_box_of_a_turned_face_does_not_collapse(yaw_deg: float) -> None:
    frontal, face = (
        NORMALISERS["box"].length(turned(0.0)),
        NORMALISERS["box"].length(turned(yaw_deg)),
    )
    assert 0.75 * frontal[0] < face[0] < 1.25 * frontal[0]


@given(st.floats(61, 90), st.sampled_from([-1.0, 1.0]))
def test_the_distance_of_the_eyes_of_a_turned_face_does_and_is_not_used(
    yaw_deg: float, side: float
) -> None:
    shapes = turned(side * yaw_deg)
    apart = np.ptp(shapes.points[0, list(CORNERS), 0])
    assert apart < 0.6 * np.ptp(turned(0.0).points[0, list(CORNERS), 0])
    assert np.isnan(NORMALISERS["interocular"].length(shapes)).all()


def test_the_report_says_over_how_many_faces_each_number_is(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    points = eyes(6)
    visible = np.ones((6, 80), bool)
    visible[0, 36] = False
    yaw = [0.0, 0.0, 30.0, 75.0, -75.0, None]
    store = store_of(points, list("abcdef"), visible=visible, yaw=yaw)
    length = np.array([1.0, 2.0, 3.0, 40.0, 50.0, 6.0])[:, None, None]
    moved = points + length * np.array([1.0, 0.0])
    predictions = predict_judged(lambda images: (moved, np.ones((6, 80))), store, 64)
    kpi = judge(store, predictions, evaluate_params)
    assert kpi.normaliser == "box"
    assert kpi.metrics["nme_box/all"] == pytest.approx((1 + 2 + 3 + 40 + 50 + 6) / 6 / 40)
    assert kpi.metrics["nme_interocular/all"] == pytest.approx((2 + 3 + 6) / 3 / 50)
    assert (kpi.metric_faces["nme_box/all"], kpi.metric_faces["nme_interocular/all"]) == (6, 3)
    assert kpi.metric_faces["image_px/all"] == 6
    # Failure rate, area and PCK are of the box: 40 / 40 and 50 / 40 are above 8 %, and 6 / 40.
    assert kpi.metrics["failure_rate_box_8/all"] == 0.5
    assert not any(name.startswith("failure_rate_interocular") for name in kpi.metrics)
    sliced = {row.value: row for row in kpi.slices if row.attribute == "yaw_range"}
    assert sliced["above 60"].metrics["nme_box/all"] == pytest.approx((40 + 50) / 2 / 40)


def test_large_errors_of_the_confidence_are_above_a_tenth_of_the_box(
    store_of: Callable[..., CropStore],
) -> None:
    points = eyes(1)
    errors = face_errors(store_of(points, ["a"]), np.arange(1), points)
    assert errors.headline[0] == "box"
    assert errors.headline[1].tolist() == pytest.approx([40.0])
