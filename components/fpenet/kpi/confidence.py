"""Whether a confidence means something: does it tell bad points from good ones, hidden from seen?

Pure functions on arrays. The confidence of our nets is the probability that a keypoint is visible
and within ``train.confidence_px`` of its label; a keypoint is taken for visible from 0.5 on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fpenet.kpi.metrics import Bools, FaceErrors, Floats

VISIBLE_FROM = 0.5
LARGE_ERROR = 0.1
"""Of the headline normaliser: a keypoint farther away than this has failed."""
_BINS = 15


def auroc(scores: Floats, positive: Bools) -> float | None:
    """Probability that a positive has the larger score than a negative; ties count half.

    Returns:
        None where there is no positive or no negative.

    >>> auroc(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]))
    0.75
    """
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    _, place, members = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(members) - (members - 1) / 2)[place]  # ties share their mean rank
    wins = ranks[positive].sum() - count * (count + 1) / 2
    return float(wins / (count * (len(positive) - count)))


def reliability(probability: Floats, happened: Bools) -> list[dict[str, float | int]]:
    """The probability that was told beside the share that happened, in bins of equal width.

    >>> reliability(np.array([0.7, 0.7, 0.7, 0.7]), np.array([True, True, True, False]))
    [{'told': 0.7, 'happened': 0.75, 'points': 4}]
    """
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    return [
        {
            "told": round(float(probability[place == b].mean()), 6),
            "happened": round(float(happened[place == b].mean()), 6),
            "points": int((place == b).sum()),
        }
        for b in np.unique(place)
    ]


def calibration_error(bins: Sequence[Mapping[str, float | int]]) -> float | None:
    """Expected calibration error (Guo 2017, eq. 3) of ``reliability``; None of no points.

    >>> calibration_error([{"told": 0.8, "happened": 0.75, "points": 4}])
    0.05
    """
    points = sum(one["points"] for one in bins)
    if not points:
        return None
    gaps = sum(one["points"] * abs(one["told"] - one["happened"]) for one in bins)
    return round(gaps / points, 12)


def large_error_auroc(errors: FaceErrors, confidence: Floats) -> float | None:
    """AUROC of 1 - confidence for visible points with an error above LARGE_ERROR."""
    norm = next(iter(errors.norms.values()))[:, None]
    seen = ~np.isnan(errors.errors) & errors.visible & np.isfinite(norm)
    far = errors.errors > LARGE_ERROR * norm
    return auroc(1.0 - confidence[seen], far[seen])


def describe_confidence(
    errors: FaceErrors, confidence: Floats, within_px: float | None
) -> dict[str, Any]:
    """What the confidence (N, K) tells; None where the labels, or the net, cannot say.

    Args:
        within_px: the confidence is the probability of a visible point nearer than this to its
            label, pixels of the 80x80 crop; None where it is no probability.

    Returns:
        auroc_large_error: see ``large_error_auroc``.
        auroc_hidden: of 1 - confidence, for hidden points.
        visible_balanced_accuracy: mean share of visible and of hidden points that are taken for
        what they are.
        ece, reliability: the expected calibration error and its bins; within_px.
    """
    labelled = ~np.isnan(errors.errors)
    hidden = ~errors.visible[labelled]
    told = confidence[labelled]
    taken = told >= VISIBLE_FROM
    shares = (
        [np.mean(taken[~hidden]), np.mean(~taken[hidden])] if 0 < hidden.sum() < hidden.size else []
    )
    bins = []
    if within_px is not None:
        bins = reliability(told, (errors.errors[labelled] < within_px) & ~hidden)
    return {
        "auroc_large_error": large_error_auroc(errors, confidence),
        "auroc_hidden": auroc(1.0 - told, hidden),
        "visible_balanced_accuracy": float(np.mean(shares)) if shares else None,
        "ece": calibration_error(bins),
        "within_px": within_px,
        "reliability": bins,
    }
