"""Measured: the errors of a model's points on some faces, and the lengths they are divided by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.data.crop_store import CROP_PX, CropStore, Rows
from components.data.sample import numbers_of
from components.keypoints import KeypointScheme
from components.kpi.metrics import Bools, Floats, interocular, interpupil, point_errors
from components.params import EvaluateParams


@dataclass(frozen=True, slots=True)
class Measured:
    """The errors of some faces.

    Attributes:
        errors: (N, K) 80x80 crop pixels, NaN where unlabelled.
        visible: (N, K) bool.
        side: (N,) of the crop, image pixels.
        norms: normaliser -> (N,) crop pixels; the first is the headline.
        tight: (N, K) image pixels on the original's tight crop, NaN where a face has none; None
            where that crop was not judged.
    """

    errors: Floats
    visible: Bools
    side: Floats
    norms: Mapping[str, Floats]
    tight: Floats | None = None


def measure(store: CropStore, rows: Rows, points: Floats) -> Measured:
    """The errors of ``points`` (N, K, 2), pixels of the clean 80x80 crops of the faces ``rows``."""
    target, side = store.points_crop(rows), store.side(rows)
    scale = CROP_PX / side
    width, height = (numbers_of(store.table, f"box_{of}")[rows] for of in ("width", "height"))
    norms = _lengths(store.scheme, target, width * scale, height * scale)
    return Measured(point_errors(points, target), store.visible(rows), side, norms)


def with_tight(found: Measured, store: CropStore, rows: Rows, tight_points: Floats) -> Measured:
    """``found`` with the errors on the original's tight crops, (M, K, 2) on ``tight_faces()``."""
    tight = store.tight_faces()
    place = np.searchsorted(rows, numbers_of(store.tight_table, "row"))  # rows are in order
    errors = np.full(found.errors.shape, np.nan)
    errors[place] = point_errors(tight_points, tight.points_crop) * (tight.side / CROP_PX)[:, None]
    return replace(found, tight=errors)


def _lengths(
    scheme: KeypointScheme, points: Floats, box_width: Floats, box_height: Floats
) -> dict[str, Floats]:
    """(N,) each length that an error may be divided by; NaN where its points are unlabelled."""
    lengths: dict[str, Floats] = {}
    if scheme.eye_corners is not None:
        lengths["interocular"] = interocular(points, scheme.eye_corners)
    if scheme.pupils is not None:
        lengths["interpupil"] = interpupil(points, scheme.pupils)
    lengths["box"] = np.sqrt(box_width * box_height)
    lengths["diagonal"] = np.hypot(box_width, box_height)
    return lengths


def normalisers_of(scheme: KeypointScheme) -> dict[str, str]:
    """What the lengths of ``measure`` are, in words; the first is the headline.

    >>> from components.keypoints import scheme_for
    >>> list(normalisers_of(scheme_for(68))), list(normalisers_of(scheme_for(10)))
    (['interocular', 'interpupil', 'box', 'diagonal'], ['box', 'diagonal'])
    """
    words: dict[str, str] = {}
    if scheme.eye_corners is not None:
        left, right = scheme.eye_corners
        words["interocular"] = (
            f"inter-ocular distance, of the outer eye corners (points {left + 1} and {right + 1})"
        )
    if scheme.pupils is not None:
        first, second = (f"{group[0] + 1} to {group[-1] + 1}" for group in scheme.pupils)
        words["interpupil"] = (
            f"inter-pupil distance, of the means of points {first} and of {second}"
        )
    words["box"] = "square root of the face box's area"
    words["diagonal"] = "diagonal of the face box"
    return words


def regions_of(scheme: KeypointScheme, evaluate: EvaluateParams) -> dict[str, Sequence[int]]:
    """Region -> 0-based keypoints: those of the scheme, and the user's own.

    Raises:
        ValueError: naming the key of params.yaml: no such keypoint, or a region twice.
    """
    num_keypoints = scheme.num_keypoints
    regions: dict[str, Sequence[int]] = dict(scheme.regions)
    for name, numbers in evaluate.regions.items():
        key = f"evaluate.regions.{name}"
        if name in regions:
            raise ValueError(f"{key}: is a region of {num_keypoints} keypoints already; rename it")
        wrong = [number for number in numbers if number > num_keypoints]
        if wrong or not numbers:
            raise ValueError(
                f"{key}: {wrong or 'empty'}; wanted keypoints from 1 to {num_keypoints}"
            )
        regions[name] = tuple(sorted({number - 1 for number in numbers}))
    return regions
