"""Two models on the same faces."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.kpi.compare import Difference, compare
from fpenet.kpi.predictions import Predictions, predict_judged
from fpenet.params import ComparisonParams, EvaluateParams

COUNT = 40
PEOPLE = [f"s{number // 2}" for number in range(COUNT)]
POINTS = np.random.default_rng(0).uniform(10, 70, (COUNT, 3, 2))
AGAINST = ComparisonParams(
    margin=0.05,
    slice_margin=0.15,
    metrics=("crop_px/all", "crop_px/eyes"),
    slices={"tiny": ("half",), "other": ()},
)


@pytest.fixture
def store(store_of: Callable[..., CropStore]) -> CropStore:
    return store_of(POINTS, PEOPLE, half=["left", "right"] * 20, pose=["a"] * 39 + ["b"])


@pytest.fixture
def off(store: CropStore) -> Callable[..., Predictions]:
    """Predictions whose errors are those of hard and easy faces, times a factor a face."""

    def make(factor: np.ndarray | float) -> Predictions:
        hard = np.random.default_rng(1).uniform(0.2, 6.0, COUNT) * factor
        moved = POINTS + np.array([1.0, 0.0]) * hard[:, None, None]
        return predict_judged(lambda images: (moved, np.ones((COUNT, 3))), store, COUNT)

    return make


def by_slice(rows: list[Difference]) -> dict[str | None, Difference]:
    return {row.slice: row for row in rows}


def test_a_model_beside_itself_is_no_worse(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    rows = compare(store, off(1.0), off(1.0), evaluate_params, AGAINST)
    assert [row.slice for row in rows if row.required] == [None, "half=left", "half=right"]
    assert all(row.passed for row in rows if row.required)
    assert by_slice(rows)[None].interval == pytest.approx((0.0, 0.0), abs=1e-6)
    assert {row.metric for row in rows} == {"crop_px/all"}  # three keypoints have no eyes


def test_a_loss_within_the_margin_passes_and_a_larger_one_does_not(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    noise = np.random.default_rng(2).normal(1, 0.02, COUNT)
    assert by_slice(compare(store, off(1.0), off(1.02 * noise), evaluate_params, AGAINST))[
        None
    ].passed
    row = by_slice(compare(store, off(1.0), off(1.10 * noise), evaluate_params, AGAINST))[None]
    assert not row.passed
    assert row.change == pytest.approx(0.10, abs=0.02)
    assert "its upper end must be below +5.0%" in row.why


def test_the_margin_is_held_by_the_upper_end_and_not_by_the_mean(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    wild = np.random.default_rng(3).uniform(0.4, 1.6, COUNT)
    wild /= (wild * np.random.default_rng(1).uniform(0.2, 6.0, COUNT)).sum() / (
        np.random.default_rng(1).uniform(0.2, 6.0, COUNT).sum()
    )
    row = by_slice(compare(store, off(1.0), off(wild), evaluate_params, AGAINST))[None]
    assert row.change == pytest.approx(0.0, abs=1e-4)
    assert not row.passed


def test_a_loss_in_one_slice_is_seen_though_the_whole_is_better(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    factor = np.array([0.5, 1.3] * 20)
    rows = by_slice(compare(store, off(1.0), off(factor), evaluate_params, AGAINST))
    assert rows["half=left"].passed
    assert rows["half=left"].verdict() == "better"
    assert not rows["half=right"].passed
    assert rows["half=right"].change == pytest.approx(0.3, abs=1e-4)


def test_pairing_sees_what_two_intervals_do_not(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    row = by_slice(compare(store, off(1.0), off(1.03), evaluate_params, AGAINST))[None]
    assert row.interval is not None
    assert row.interval[1] - row.interval[0] < 1e-4  # each model alone: tens of percent


def test_a_slice_with_too_few_or_unknown_is_insufficient_evidence(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    against = AGAINST.model_copy(update={"slices": {"tiny": ("pose", "light")}})
    rows = by_slice(compare(store, off(1.0), off(0.5), evaluate_params, against))
    assert rows["pose=b"].why == (
        "insufficient evidence: too few: 1 faces of 1 subjects; must be at least 2 of 2"
    )
    assert (
        rows["light=?"].why
        == "insufficient evidence: no slices: the data set has no such attribute"
    )
    assert not rows["pose=b"].passed
    assert not rows["light=?"].passed


def test_a_length_between_the_eyes_is_compared_on_the_faces_that_have_it(
    store_of: Callable[..., CropStore], evaluate_params: EvaluateParams
) -> None:
    points = np.random.default_rng(0).uniform(10, 70, (COUNT, 68, 2))
    yaw = [0.0] * 20 + [75.0] * 19 + [0.0]
    store = store_of(points, PEOPLE, yaw=yaw)

    def moved(px: float) -> Predictions:
        return predict_judged(lambda images: (points + px, np.ones((COUNT, 68))), store, COUNT)

    first, second = moved(1.0), moved(2.0)
    metrics = ("nme_box/all", "nme_interocular/all")
    against = AGAINST.model_copy(update={"metrics": metrics, "slices": {"other": ()}})
    rows = {
        (row.metric, row.slice): row
        for row in compare(store, first, second, evaluate_params, against)
    }
    assert (rows["nme_box/all", None].num_faces, rows["nme_box/all", None].num_subjects) == (40, 20)
    eyes = rows["nme_interocular/all", None]
    assert (eyes.num_faces, eyes.num_subjects) == (21, 11)
    assert eyes.change == pytest.approx(1.0, rel=1e-4)
    assert rows["nme_box/all", "yaw_range=above 60"].num_faces == 19
    turned = rows["nme_interocular/all", "yaw_range=above 60"]
    assert (turned.num_faces, turned.change) == (0, None)
    assert "too few: 0 faces of 0 subjects" in turned.why


def test_other_faces_are_not_compared(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    other = dataclasses.replace(off(1.0), faces="0" * 64)
    with pytest.raises(ValueError, match="judged on different faces"):
        compare(store, other, off(1.0), evaluate_params, AGAINST)


def test_a_prediction_that_is_no_number_does_not_pass(
    store: CropStore, off: Callable[..., Predictions], evaluate_params: EvaluateParams
) -> None:
    points = off(1.0).points.copy()
    points[3, 0] = np.nan
    row = by_slice(
        compare(
            store, off(1.0), dataclasses.replace(off(1.0), points=points), evaluate_params, AGAINST
        )
    )
    assert not row[None].passed
    assert "insufficient evidence" in row[None].why
