"""Quality of the confidence: detection of large errors and of hidden points, and calibration.

Pure functions on arrays. A learned confidence is the probability that a keypoint is visible and
within ``train.confidence_px`` of its label; a keypoint is predicted as visible from 0.5 on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpenet.kpi.metrics import Bools, FaceErrors, Floats

VISIBLE_FROM = 0.5
LARGE_ERROR = 0.1
"""Fraction of the headline normaliser above which the error of a keypoint is large."""
_BINS = 15


def auroc(scores: Floats, positive: Bools) -> float | None:
    """Probability that a positive has a larger score than a negative; ties count half.

    Returns:
        None if there is no positive or no negative.

    >>> auroc(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]))
    0.75
    """
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    _, group, members = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(members) - (members - 1) / 2)[group]  # ties share their mean rank
    wins = ranks[positive].sum() - count * (count + 1) / 2
    return float(wins / (count * (len(positive) - count)))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of the reliability diagram.

    Attributes:
        predicted: mean predicted probability.
        observed: observed frequency.
        points: number of keypoints.
    """

    predicted: float
    observed: float
    points: int


@dataclass(frozen=True, slots=True)
class ConfidenceMetrics:
    """Metrics of the confidence; None where labels or net do not allow the metric.

    Attributes:
        auroc_large_error: see ``large_error_auroc``.
        auroc_hidden: AUROC of 1 - confidence as a detector of hidden points.
        visible_balanced_accuracy: mean of the accuracies on visible and on hidden points.
        ece, reliability: the expected calibration error and its bins.
        within_px: see ``describe_confidence``.
    """

    auroc_large_error: float | None
    auroc_hidden: float | None
    visible_balanced_accuracy: float | None
    ece: float | None
    within_px: float | None
    reliability: tuple[ReliabilityBin, ...]


def reliability(probability: Floats, observed: Bools) -> tuple[ReliabilityBin, ...]:
    """Reliability diagram in bins of equal width; empty bins are left out.

    >>> reliability(np.array([0.7, 0.7, 0.7, 0.7]), np.array([True, True, True, False]))
    (ReliabilityBin(predicted=0.7, observed=0.75, points=4),)
    """
    index = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    return tuple(
        ReliabilityBin(
            round(float(probability[index == b].mean()), 6),
            round(float(observed[index == b].mean()), 6),
            int((index == b).sum()),
        )
        for b in np.unique(index)
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Expected calibration error (Guo 2017, eq. 3) of ``reliability``; None without points.

    >>> calibration_error([ReliabilityBin(0.8, 0.75, 4)])
    0.05
    """
    points = sum(row.points for row in bins)
    if not points:
        return None
    gaps = sum(row.points * abs(row.predicted - row.observed) for row in bins)
    return round(gaps / points, 12)


def large_error_auroc(errors: FaceErrors, confidence: Floats) -> float | None:
    """AUROC of 1 - confidence as a detector of errors above LARGE_ERROR, on visible points.

    Returns:
        None without a confidence (all NaN), a large error or a small one.
    """
    if np.isnan(confidence).all():
        return None
    norm = errors.headline[1][:, None]
    visible = ~np.isnan(errors.errors) & errors.visible & np.isfinite(norm)
    far = errors.errors > LARGE_ERROR * norm
    return auroc(1.0 - confidence[visible], far[visible])


def describe_confidence(
    errors: FaceErrors, confidence: Floats, within_px: float | None
) -> ConfidenceMetrics:
    """Metrics of the confidence (N, K); all None for a model without one (all NaN).

    Args:
        within_px: the confidence is the probability of a visible point nearer than this to its
            label, pixels of the 80x80 crop; None if the confidence is not a probability.
    """
    if np.isnan(confidence).all():
        return ConfidenceMetrics(None, None, None, None, None, ())
    labelled = ~np.isnan(errors.errors)
    hidden = ~errors.visible[labelled]
    scores = confidence[labelled]
    predicted = scores >= VISIBLE_FROM
    accuracies = (
        [np.mean(predicted[~hidden]), np.mean(~predicted[hidden])]
        if 0 < hidden.sum() < hidden.size
        else []
    )
    bins: tuple[ReliabilityBin, ...] = ()
    if within_px is not None:
        bins = reliability(scores, (errors.errors[labelled] < within_px) & ~hidden)
    return ConfidenceMetrics(
        auroc_large_error=large_error_auroc(errors, confidence),
        auroc_hidden=auroc(1.0 - scores, hidden),
        visible_balanced_accuracy=float(np.mean(accuracies)) if accuracies else None,
        ece=calibration_error(bins),
        within_px=within_px,
        reliability=bins,
    )
