"""Keypoint errors as pure functions on arrays.

Missing is NaN; a mean over no values is NaN ("n/a"), never 0. A labelled keypoint whose prediction
is not finite has an infinite error, so that it is not left out of a mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX, CropStore, Rows
from fpenet.data.sample import numbers_of
from fpenet.keypoints import KeypointScheme
from fpenet.params import EvaluateParams

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def point_errors(predicted: Floats, target: Floats) -> Floats:
    """Euclidean distances (N, K) between points (N, K, 2), in their unit.

    Returns:
        NaN where unlabelled, infinite where labelled and the prediction is not finite.

    >>> point_errors(np.array([[[3.0, 4.0], [np.nan, 0.0]]]), np.zeros((1, 2, 2)))
    array([[ 5., inf]])
    """
    difference = predicted.astype(np.float64) - target
    errors: Floats = np.sqrt((difference**2).sum(axis=-1))
    errors[~np.isfinite(errors) & np.isfinite(target).all(axis=-1)] = np.inf
    return errors


def masked_mean(values: Floats, mask: Bools, axis: int) -> Floats:
    """Mean of ``values`` along ``axis`` where ``mask``; NaN where no value is left.

    >>> masked_mean(np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([[True, True], [False, False]]), 1)
    array([ 2., nan])
    """
    count = mask.sum(axis=axis)
    total = np.where(mask, values, 0.0).sum(axis=axis)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def region_error(per_point: Floats, keypoints: Sequence[int]) -> float:
    """Plain mean of the per-keypoint means (K,) over a region, not weighted by samples
    (docs/fpenet.md, KPI). NaN if any keypoint of the region has no sample.
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
        mask: (N, K) the points to include.
        norm: (N,) length to divide by, in the same unit.

    Returns:
        (N,) ratio; NaN for a face without an included point or without a norm.

    >>> nme(np.array([[5.0, 1.0]]), np.array([[True, False]]), np.array([10.0]))
    array([0.5])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = masked_mean(errors, mask, axis=1) / norm
    return np.where(norm > 0, ratio, np.nan)


@dataclass(frozen=True, slots=True)
class FaceErrors:
    """The errors of some faces.

    Attributes:
        errors: (N, K) 80x80 crop pixels, NaN where unlabelled.
        visible: (N, K) bool.
        side: (N,) side of the crop in image pixels.
        norms: normaliser -> (N,) crop pixels; the first is the headline normaliser.
        tight: (N, K) image pixels on the original's tight crop, NaN for a face without one; None
            if the tight crops were not evaluated.
    """

    errors: Floats
    visible: Bools
    side: Floats
    norms: Mapping[str, Floats]
    tight: Floats | None = None


def face_errors(store: CropStore, rows: Rows, points: Floats) -> FaceErrors:
    """The errors of ``points`` (N, K, 2), pixels of the clean 80x80 crops of the faces ``rows``."""
    target, side = store.points_crop(rows), store.side(rows)
    scale = CROP_PX / side
    width, height = (numbers_of(store.table, f"box_{of}")[rows] for of in ("width", "height"))
    norms = _lengths(store.scheme, target, width * scale, height * scale)
    return FaceErrors(point_errors(points, target), store.visible(rows), side, norms)


def with_tight(
    errors: FaceErrors, store: CropStore, rows: Rows, tight_points: Floats
) -> FaceErrors:
    """``errors`` with ``tight`` set, from predictions (M, K, 2) on ``store.tight_faces()``."""
    tight = store.tight_faces()
    index = np.searchsorted(rows, numbers_of(store.tight_table, "row"))  # rows are sorted
    distances = np.full(errors.errors.shape, np.nan)
    distances[index] = (
        point_errors(tight_points, tight.points_crop) * (tight.side / CROP_PX)[:, None]
    )
    return replace(errors, tight=distances)


def _lengths(
    scheme: KeypointScheme, points: Floats, box_width: Floats, box_height: Floats
) -> dict[str, Floats]:
    """Normaliser -> (N,) length in the unit of ``points``; NaN where its points are unlabelled."""
    lengths: dict[str, Floats] = {}
    if scheme.eye_corners is not None:
        lengths["interocular"] = interocular(points, scheme.eye_corners)
    if scheme.pupils is not None:
        lengths["interpupil"] = interpupil(points, scheme.pupils)
    lengths["box"] = np.sqrt(box_width * box_height)
    lengths["diagonal"] = np.hypot(box_width, box_height)
    return lengths


def normalisers_of(scheme: KeypointScheme) -> dict[str, str]:
    """Description of each normaliser of ``face_errors``; the first is the headline normaliser.

    >>> from fpenet.keypoints import scheme_for
    >>> list(normalisers_of(scheme_for(68))), list(normalisers_of(scheme_for(10)))
    (['interocular', 'interpupil', 'box', 'diagonal'], ['box', 'diagonal'])
    """
    descriptions: dict[str, str] = {}
    if scheme.eye_corners is not None:
        left, right = scheme.eye_corners
        descriptions["interocular"] = (
            f"inter-ocular distance, of the outer eye corners (points {left + 1} and {right + 1})"
        )
    if scheme.pupils is not None:
        first, second = (f"{group[0] + 1} to {group[-1] + 1}" for group in scheme.pupils)
        descriptions["interpupil"] = (
            f"inter-pupil distance, of the means of points {first} and of {second}"
        )
    descriptions["box"] = "square root of the face box's area"
    descriptions["diagonal"] = "diagonal of the face box"
    return descriptions


def regions_of(scheme: KeypointScheme, evaluate: EvaluateParams) -> dict[str, Sequence[int]]:
    """Region -> 0-based keypoints: the regions of the scheme and of ``evaluate.regions``.

    Raises:
        InputError: names the key of params.yaml: no such keypoint, or a region defined twice.
    """
    num_keypoints = scheme.num_keypoints
    regions: dict[str, Sequence[int]] = dict(scheme.regions)
    for name, numbers in evaluate.regions.items():
        key = f"evaluate.regions.{name}"
        if name in regions:
            raise InputError(f"{key}: is a region of {num_keypoints} keypoints already; rename it")
        unknown = [number for number in numbers if number > num_keypoints]
        if unknown or not numbers:
            raise InputError(
                f"{key}: {unknown or 'empty'}; must be keypoints from 1 to {num_keypoints}"
            )
        regions[name] = tuple(sorted({number - 1 for number in numbers}))
    return regions
