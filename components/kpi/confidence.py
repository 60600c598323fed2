"""Whether a confidence means something: does it tell bad points from good ones, hidden from seen?

Pure functions on arrays. The confidence of our nets is the probability that a keypoint is visible
and within ``train.confidence_px`` of its label; a keypoint is taken for visible from 0.5 on.
"""

import numpy as np

from components.kpi.metrics import Bools, Floats

VISIBLE_FROM = 0.5
LARGE_ERROR = 0.1
"""Of the NME's normaliser: a keypoint farther away than this has failed."""
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


def calibration_error(probability: Floats, happened: Bools) -> float | None:
    """Expected calibration error (Guo 2017, eq. 3) over bins of equal width.

    >>> calibration_error(np.array([0.8, 0.8, 0.8, 0.8]), np.array([True, True, True, False]))
    0.05
    """
    if not len(probability):
        return None
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(probability[place == b].sum() - happened[place == b].sum()) for b in np.unique(place)
    ]
    return round(float(sum(gaps) / len(probability)), 12)


def describe_confidence(
    confidence: Floats, errors: Floats, norm: Floats, labelled: Bools, visible: Bools
) -> dict[str, float | None]:
    """What the confidence (N, K) tells; None where the labels cannot say.

    Args:
        errors: (N, K) in the unit of ``norm`` (N,), NaN where unlabelled.
        labelled, visible: (N, K).

    Returns:
        auroc_large_error: of 1 - confidence, for visible points with an error above LARGE_ERROR.
        auroc_hidden: of 1 - confidence, for hidden points.
        visible_balanced_accuracy: mean share of visible and of hidden points that are taken for
        what they are.
    """
    known = labelled & np.isfinite(norm)[:, None]
    seen = known & visible
    far = errors[seen] > (LARGE_ERROR * norm[:, None] * np.ones_like(errors))[seen]
    hidden = ~visible[labelled]
    taken = confidence[labelled] >= VISIBLE_FROM
    shares = (
        [np.mean(taken[~hidden]), np.mean(~taken[hidden])] if 0 < hidden.sum() < hidden.size else []
    )
    return {
        "auroc_large_error": auroc(1.0 - confidence[seen], far),
        "auroc_hidden": auroc(1.0 - confidence[labelled], hidden),
        "visible_balanced_accuracy": float(np.mean(shares)) if shares else None,
    }
