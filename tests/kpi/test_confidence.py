"""Whether the confidence tells: hand values, and a slow reference for the rank statistic."""

import numpy as np
import pytest

from fpenet.kpi.confidence import (
    ConfidenceMetrics,
    auroc,
    calibration_error,
    describe_confidence,
    reliability,
)
from fpenet.kpi.metrics import FaceErrors


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    chance = np.random.default_rng(0)
    scores, positive = chance.integers(0, 9, 200) / 8, chance.random(200) < 0.3
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in scores[positive]
        for low in scores[~positive]
    ]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_without_both_kinds_nothing_can_be_said() -> None:
    assert auroc(np.array([0.1, 0.9]), np.array([True, True])) is None
    assert auroc(np.array([]), np.array([], bool)) is None
    assert calibration_error(reliability(np.array([]), np.array([], bool))) is None


def test_calibration_error_is_weighted_by_the_bins() -> None:
    probability = np.array([0.95, 0.95, 0.95, 0.95, 0.05, 0.05])
    observed = np.array([True, True, False, True, False, True])
    bins = reliability(probability, observed)
    assert [(one.observed, one.points) for one in bins] == [(0.5, 2), (0.75, 4)]
    # |3.8 - 3| of four, |0.1 - 1| of two: (0.8 + 0.9) / 6
    assert calibration_error(bins) == pytest.approx(1.7 / 6)


def measured(errors: np.ndarray, visible: np.ndarray) -> FaceErrors:
    return FaceErrors(
        errors, visible, np.full(len(errors), 80.0), {"box": np.full(len(errors), 100.0)}
    )


def test_large_errors_and_hidden_points_are_told_apart() -> None:
    errors = np.array([[1.0, 20.0, 1.0, np.nan], [2.0, 1.0, 30.0, 1.0]])
    visible = np.array([[True, True, False, False], [True, True, True, True]])
    confidence = np.array([[0.9, 0.2, 0.4, 0.0], [0.8, 0.7, 0.6, 0.3]])
    result = describe_confidence(measured(errors, visible), confidence, 1.5)
    # Failed: 0.2 and 0.6; sound: 0.9, 0.8, 0.7, 0.3: 0.2 is below all four, 0.6 below three.
    assert result.auroc_large_error == pytest.approx(7 / 8)
    # Hidden: 0.4; visible: 0.9 0.2 0.8 0.7 0.6 0.3: it is below four of six.
    assert result.auroc_hidden == pytest.approx(4 / 6)
    # Visible taken for visible: 4 of 6; hidden taken for hidden: 1 of 1.
    assert result.visible_balanced_accuracy == pytest.approx((4 / 6 + 1) / 2)
    # Rightly placed and visible: 0.9, 0.7 and 0.3; not 0.2, 0.4 (hidden), 0.8 and 0.6.
    gaps = [0.1, -0.2, -0.4, -0.8, 0.3, -0.6, 0.7]
    assert result.ece == pytest.approx(sum(map(abs, gaps)) / 7)


def test_without_hidden_points_only_errors_are_judged() -> None:
    errors, seen = np.array([[1.0, 20.0]]), np.ones((1, 2), bool)
    found = describe_confidence(measured(errors, seen), np.array([[0.9, 0.1]]), None)
    assert found == ConfidenceMetrics(
        auroc_large_error=1.0,
        auroc_hidden=None,
        visible_balanced_accuracy=None,
        ece=None,
        within_px=None,
        reliability=(),
    )
