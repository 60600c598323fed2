"""Keypoint errors as pure functions on arrays.

Missing is NaN; a mean over no values is NaN ("n/a"), never 0. A labelled keypoint whose prediction
is not finite has an infinite error, so that it is not left out of a mean.
"""

from collections.abc import Callable, Mapping, Sequence
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

    @property
    def headline(self) -> tuple[str, Floats]:
        """The headline normaliser: its name, and (N,) crop pixels."""
        return next(iter(self.norms.items()))


def face_errors(store: CropStore, rows: Rows, points: Floats) -> FaceErrors:
    """The errors of ``points`` (N, K, 2), pixels of the clean 80x80 crops of the faces ``rows``."""
    target, side = store.points_crop(rows), store.side(rows)
    width, height = (numbers_of(store.table, f"box_{of}")[rows] for of in ("width", "height"))
    box = np.stack([width, height], axis=1) * (CROP_PX / side)[:, None]
    norms = {
        name: NORMALISERS[name].length(store.scheme, target, box)
        for name in normalisers_of(store.scheme)
    }
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


def normalisers_of(scheme: KeypointScheme) -> dict[str, str]:
    """Description of each normaliser of ``face_errors``; the first is the headline normaliser.

    >>> from fpenet.keypoints import scheme_for
    >>> list(normalisers_of(scheme_for(68))), list(normalisers_of(scheme_for(10)))
    (['interocular', 'interpupil', 'box', 'diagonal'], ['box', 'diagonal'])
    """
    words = {name: normaliser.describe(scheme) for name, normaliser in NORMALISERS.items()}
    return {name: text for name, text in words.items() if text is not None}


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


def judged_regions(
    store: CropStore, rows: Rows, evaluate: EvaluateParams
) -> dict[str, Sequence[int]]:
    """``regions_of`` without the keypoints that no face of ``rows`` has a label of.

    A region of which no keypoint is labelled keeps all, so that its metrics are n/a.

    Raises:
        InputError: see ``regions_of``.
    """
    labelled: Bools = np.isfinite(store.points_crop(rows)[:, :, 0]).any(axis=0)
    regions = regions_of(store.scheme, evaluate)
    return {
        name: [k for k in keypoints if labelled[k]] or keypoints
        for name, keypoints in regions.items()
    }


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A length of a face, by which its errors are divided.

    Attributes:
        length: scheme, points (N, K, 2) and box sizes (N, 2) -> (N,) in the unit of the points; NaN
            where its points are unlabelled.
        describe: the description for a keypoint scheme; None if the scheme does not have it.
    """

    length: Callable[[KeypointScheme, Floats, Floats], Floats]
    describe: Callable[[KeypointScheme], str | None]


def _interocular_length(scheme: KeypointScheme, points: Floats, box: Floats) -> Floats:
    assert scheme.eye_corners is not None
    return interocular(points, scheme.eye_corners)


def _interocular_words(scheme: KeypointScheme) -> str | None:
    if scheme.eye_corners is None:
        return None
    left, right = (corner + 1 for corner in scheme.eye_corners)
    return f"inter-ocular distance, of the outer eye corners (points {left} and {right})"


def _interpupil_length(scheme: KeypointScheme, points: Floats, box: Floats) -> Floats:
    assert scheme.pupils is not None
    return interpupil(points, scheme.pupils)


def _interpupil_words(scheme: KeypointScheme) -> str | None:
    if scheme.pupils is None:
        return None
    first, second = (f"{group[0] + 1} to {group[-1] + 1}" for group in scheme.pupils)
    return f"inter-pupil distance, of the means of points {first} and of {second}"


NORMALISERS: dict[str, Normaliser] = {
    "interocular": Normaliser(_interocular_length, _interocular_words),
    "interpupil": Normaliser(_interpupil_length, _interpupil_words),
    "box": Normaliser(
        lambda scheme, points, box: np.sqrt(box[:, 0] * box[:, 1]),
        lambda scheme: "square root of the face box's area",
    ),
    "diagonal": Normaliser(
        lambda scheme, points, box: np.hypot(box[:, 0], box[:, 1]),
        lambda scheme: "diagonal of the face box",
    ),
}
"""Name -> length; the first that the keypoint scheme has is the headline normaliser."""
