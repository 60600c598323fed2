"""Keypoint errors as pure functions on arrays.

Missing is NaN; a mean over nothing is NaN ("n/a"), never 0. A labelled keypoint whose prediction is
not finite has an infinite error, so that no mean passes over it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def point_errors(predicted: Floats, target: Floats) -> Floats:
    """Euclidean distances (N, K) between points (N, K, 2), in their unit.

    Returns:
        NaN where unlabelled, infinite where labelled and not predicted as a number.

    >>> point_errors(np.array([[[3.0, 4.0], [np.nan, 0.0]]]), np.zeros((1, 2, 2)))
    array([[ 5., inf]])
    """
    difference = predicted.astype(np.float64) - target
    errors: Floats = np.sqrt((difference**2).sum(axis=-1))
    errors[~np.isfinite(errors) & np.isfinite(target).all(axis=-1)] = np.inf
    return errors


def masked_mean(values: Floats, mask: Bools, axis: int) -> Floats:
    """Mean of ``values`` along ``axis`` where ``mask``; NaN where nothing is left.

    >>> masked_mean(np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([[True, True], [False, False]]), 1)
    array([ 2., nan])
    """
    count = mask.sum(axis=axis)
    total = np.where(mask, values, 0.0).sum(axis=axis)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def region_error(per_point: Floats, keypoints: Sequence[int]) -> float:
    """Plain mean of the per-keypoint means (K,) over a region: not weighted by samples (FACTS 4).

    NaN as soon as one keypoint of the region has no sample: a region without evidence for all of
    its points is not judged on the rest.
    """
    return float(np.mean(per_point[list(keypoints)]))


def interocular(points: Floats, corners: tuple[int, int]) -> Floats:
    """(N,) distance between the outer eye corners of points (N, K, 2); NaN where one is missing."""
    left, right = corners
    distance: Floats = np.sqrt(((points[:, left] - points[:, right]) ** 2).sum(axis=-1))
    return distance


def interpupil(points: Floats, pupils: tuple[tuple[int, ...], tuple[int, ...]]) -> Floats:
    """(N,) distance between the means of two groups of points (N, K, 2).

    >>> interpupil(np.array([[[0.0, 0], [2, 0], [4, 3], [4, 5]]]), ((0, 1), (2, 3)))
    array([5.])
    """
    left, right = (points[:, list(group)].mean(axis=1) for group in pupils)
    distance: Floats = np.sqrt(((left - right) ** 2).sum(axis=-1))
    return distance


def nme(errors: Floats, mask: Bools, norm: Floats) -> Floats:
    """Normalised mean error of each face.

    Args:
        errors: (N, K) distances.
        mask: (N, K) the points that count.
        norm: (N,) length that makes the error a ratio, in the same unit.

    Returns:
        (N,) ratio; NaN for a face without a point that counts or without a norm.

    >>> nme(np.array([[5.0, 1.0]]), np.array([[True, False]]), np.array([10.0]))
    array([0.5])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = masked_mean(errors, mask, axis=1) / norm
    return np.where(norm > 0, ratio, np.nan)
