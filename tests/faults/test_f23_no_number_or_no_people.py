"""At the threshold, no number, or too few people: each is a failed check, and says which."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.kpi.compare import compare
from fpenet.kpi.evaluate import judge
from fpenet.kpi.gate import ChampionResult, ChampionState, GateDecision, JudgedEngine, decide
from fpenet.kpi.predictions import Predictions, predict_judged
from fpenet.params import ComparisonParams, EvaluateParams, GateParams

COUNT = 24
POINTS = np.random.default_rng(0).uniform(10, 70, (COUNT, 3, 2))
PEOPLE = [f"s{n // 2:02d}" for n in range(COUNT)]
AGAINST = ComparisonParams(
    margin=0.05, slice_margin=0.15, metrics=("crop_px/all",), slices={"tiny": ("pose",)}
)


@pytest.fixture
def store(store_of: Callable[..., CropStore]) -> CropStore:
    return store_of(POINTS, PEOPLE, pose=["front"] * (COUNT - 3) + ["side"] * 3)


def predictions_off(store: CropStore, off: float, lost: bool = False) -> Predictions:
    """Predictions ``off`` pixels from the labels; ``lost``: one of them is no number."""
    points = POINTS + np.array([off, 0.0])
    if lost:
        points[5, 1] = np.nan
    return predict_judged(lambda images: (points, np.ones((COUNT, 3))), store, COUNT)


def verdict(
    store: CropStore,
    predictions: Predictions,
    evaluate_params: EvaluateParams,
    limit: float,
    champion: Predictions | None = None,
) -> GateDecision:
    gate = GateParams(
        champion=None,
        min_faces=10,
        min_subjects=2,
        thresholds={"tiny": {"crop_px/all": limit}},
        comparison=AGAINST,
    )
    rows = (
        () if champion is None else compare(store, champion, predictions, evaluate_params, AGAINST)
    )
    kpi = judge(store, predictions, evaluate_params)
    engine = JudgedEngine("cpu/fp32", kpi, "kpi.json", 0.0, 0.1, rows)
    state = ChampionResult(
        ChampionState.FIRST_RELEASE if champion is None else ChampionState.COMPARED, ""
    )
    return decide(kpi, [engine], state, gate)


def test_f23_exactly_at_the_threshold_does_not_pass(
    store: CropStore, evaluate_params: EvaluateParams
) -> None:
    predictions = predictions_off(store, 2.0)
    value = judge(store, predictions, evaluate_params).metrics["crop_px/all"]
    assert value is not None
    at = verdict(store, predictions, evaluate_params, value)
    assert not at.passed
    assert "crop_px/all is 2 (interval 2 to 2); must be below 2" in at.reasons[0]
    assert verdict(store, predictions, evaluate_params, math.nextafter(value, math.inf)).passed


def test_f23_one_prediction_that_is_no_number_does_not_pass(
    store: CropStore, evaluate_params: EvaluateParams
) -> None:
    predictions = verdict(store, predictions_off(store, 0.1, lost=True), evaluate_params, 50.0)
    assert predictions.reasons == (
        "cpu/fp32: crop_px/all was not measured; must be below 50 (kpi.json)",
    )


def test_f23_a_required_slice_of_too_few_people_is_insufficient_evidence(
    store: CropStore, evaluate_params: EvaluateParams
) -> None:
    few = evaluate_params.slices.model_copy(update={"min_faces": 2, "min_subjects": 3})
    evaluate_params = evaluate_params.model_copy(update={"slices": few})
    predictions = verdict(
        store,
        predictions_off(store, 1.0),
        evaluate_params,
        50.0,
        champion=predictions_off(store, 2.0),
    )
    assert predictions.reasons == (
        "cpu/fp32: crop_px/all relative to the champion, pose=side: insufficient evidence: too few:"
        " 3 faces of 2 subjects; must be at least 2 of 3 (gate.champion)",
    )
    front = next(row for row in predictions.comparisons if row.slice == "pose=front")
    assert front.passed


def test_f23_a_change_exactly_at_the_margin_does_not_pass(
    store: CropStore, evaluate_params: EvaluateParams
) -> None:
    rows = compare(
        store, predictions_off(store, 2.0), predictions_off(store, 3.0), evaluate_params, AGAINST
    )
    assert rows[0].interval is not None
    at = AGAINST.model_copy(update={"margin": rows[0].interval[1]})
    again = compare(
        store, predictions_off(store, 2.0), predictions_off(store, 3.0), evaluate_params, at
    )
    assert not again[0].passed
