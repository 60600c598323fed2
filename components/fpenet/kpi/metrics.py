"""Keypoint errors as pure functions on arrays.

Missing is NaN; a mean over no values is NaN ("n/a"), never 0. A labelled keypoint whose prediction
is not finite has an infinite error, so that it is not left out of a mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX, CropStore, Rows
from fpenet.data.sample import numbers_of
from fpenet.keypoints import KeypointScheme
from fpenet.kpi.normalisers import Bools as Bools
from fpenet.kpi.normalisers import Floats as Floats
from fpenet.kpi.normalisers import normaliser_lengths
from fpenet.params import EvaluateParams


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
        norms: normaliser -> (N,) crop pixels, NaN for a face without this length; the first is the
            headline normaliser.
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
    return FaceErrors(
        point_errors(points, store.points_crop(rows)),
        store.visible(rows),
        store.side(rows),
        normaliser_lengths(store, rows),
    )


def with_tight(
    errors: FaceErrors, store: CropStore, rows: Rows, tight_points: Floats
) -> FaceErrors:
    """``errors`` with ``tight`` set, from predictions (M, K, 2) on ``store.tight_faces()``."""
    faces = store.tight_faces()
    index = np.searchsorted(rows, numbers_of(store.tight_table, "row"))  # rows are sorted
    tight = np.full(errors.errors.shape, np.nan)
    tight[index] = point_errors(tight_points, faces.points_crop) * (faces.side / CROP_PX)[:, None]
    return replace(errors, tight=tight)


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
    labelled = np.asarray(np.isfinite(store.points_crop(rows)[:, :, 0]).any(axis=0))
    regions = regions_of(store.scheme, evaluate)
    return {
        name: [k for k in keypoints if labelled[k]] or keypoints
        for name, keypoints in regions.items()
    }
