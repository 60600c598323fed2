"""Normalisers: the lengths of a face by which its errors are divided. NORMALISERS at the end lists
them; the first that a keypoint scheme has is the headline normaliser.

The distance between two eyes, seen from the side, is a few pixels and says nothing about the size
of the face: on a profile both eyes project onto each other. The headline is therefore the square
root of the face box's area, which is defined at any yaw; lengths between the eyes are computed only
where both ends are visible and the yaw is at most MOST_YAW_DEG.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpenet.data.crops.store import CROP_PX, CropStore, Rows
from fpenet.data.sample import numbers_of
from fpenet.keypoints import KeypointScheme

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
MOST_YAW_DEG = 60.0
"""Largest absolute yaw at which a distance between the eyes is a normaliser; above it NVIDIA's
model card warns of larger errors."""


@dataclass(frozen=True, slots=True)
class LabelledShapes:
    """The labels of N faces from which a normaliser is computed.

    Attributes:
        scheme: the keypoint scheme of the points.
        points: (N, K, 2) crop pixels, NaN where unlabelled.
        visible: (N, K) bool.
        box: (N, 2) width and height of the face box, crop pixels.
        yaw_deg: (N,) NaN where unknown.
    """

    scheme: KeypointScheme
    points: Floats
    visible: Bools
    box: Floats
    yaw_deg: Floats


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A length of a face, by which its errors are divided.

    Attributes:
        length: labels of N faces -> (N,) crop pixels; NaN for a face without this length.
        describe: the description for a keypoint scheme; None if the scheme does not have it.
    """

    length: Callable[[LabelledShapes], Floats]
    describe: Callable[[KeypointScheme], str | None]


def normalisers_of(scheme: KeypointScheme) -> dict[str, str]:
    """Description of each normaliser of a scheme; the first is the headline normaliser.

    >>> from fpenet.keypoints import scheme_for
    >>> list(normalisers_of(scheme_for(68))), list(normalisers_of(scheme_for(10)))
    (['box', 'diagonal', 'interocular', 'interpupil'], ['box', 'diagonal'])
    """
    words = {name: normaliser.describe(scheme) for name, normaliser in NORMALISERS.items()}
    return {name: text for name, text in words.items() if text is not None}


def normaliser_lengths(store: CropStore, rows: Rows) -> dict[str, Floats]:
    """Normaliser -> (N,) crop pixels of the labelled faces ``rows``; NaN where a face has none."""
    width, height = (numbers_of(store.table, f"box_{of}")[rows] for of in ("width", "height"))
    shapes = LabelledShapes(
        store.scheme,
        store.points_crop(rows),
        store.visible(rows),
        np.stack([width, height], axis=1) * (CROP_PX / store.side(rows))[:, None],
        yaw_deg(store.attribute("yaw", rows)),
    )
    return {name: NORMALISERS[name].length(shapes) for name in normalisers_of(store.scheme)}


def yaw_deg(values: Sequence[str | float | None]) -> Floats:
    """(N,) the attribute ``yaw`` in degrees; NaN where it is unknown or no number.

    >>> yaw_deg([-45.0, "30", None, "left"])
    array([-45.,  30.,  nan,  nan])
    """

    def degrees(value: str | float | None) -> float:
        try:
            return np.nan if value is None else float(value)
        except ValueError:
            return np.nan

    return np.array([degrees(value) for value in values], dtype=np.float64)


def box_length(shapes: LabelledShapes) -> Floats:
    """(N,) square root of the face box's area."""
    return np.asarray(np.sqrt(shapes.box[:, 0] * shapes.box[:, 1]))


def box_diagonal(shapes: LabelledShapes) -> Floats:
    """(N,) diagonal of the face box."""
    return np.asarray(np.hypot(shapes.box[:, 0], shapes.box[:, 1]))


def interocular(shapes: LabelledShapes) -> Floats:
    """(N,) distance between the outer eye corners; NaN where ``between_eyes`` does not hold."""
    assert shapes.scheme.eye_corners is not None
    left, right = shapes.scheme.eye_corners
    return _distance(shapes, (left,), (right,))


def interpupil(shapes: LabelledShapes) -> Floats:
    """(N,) distance between the means of the points of both pupils; NaN as ``interocular``."""
    assert shapes.scheme.pupils is not None
    return _distance(shapes, *shapes.scheme.pupils)


def between_eyes(shapes: LabelledShapes, left: Sequence[int], right: Sequence[int]) -> Bools:
    """(N,) whether the distance between keypoints of both eyes is a normaliser of the face: all
    are labelled, at least one of each eye is visible, and the yaw is at most MOST_YAW_DEG or
    unknown.
    """
    labelled = np.isfinite(shapes.points[:, [*left, *right]]).all(axis=(1, 2))
    visible = [shapes.visible[:, list(group)].any(axis=1) for group in (left, right)]
    turned = np.abs(shapes.yaw_deg) > MOST_YAW_DEG  # NaN is not above it
    seen: Bools = labelled & visible[0] & visible[1] & ~turned
    return seen


def _distance(shapes: LabelledShapes, left: Sequence[int], right: Sequence[int]) -> Floats:
    """(N,) distance between the means of two groups of keypoints, one of each eye."""
    means = [shapes.points[:, list(group)].mean(axis=1) for group in (left, right)]
    distance = np.sqrt(((means[0] - means[1]) ** 2).sum(axis=-1))
    return np.where(between_eyes(shapes, left, right), distance, np.nan)


_SEEN = f"where both are visible and a known yaw is at most {MOST_YAW_DEG:g} degrees"


def _interocular_words(scheme: KeypointScheme) -> str | None:
    if scheme.eye_corners is None:
        return None
    left, right = (corner + 1 for corner in scheme.eye_corners)
    return f"inter-ocular distance, of the outer eye corners (points {left} and {right}), {_SEEN}"


def _interpupil_words(scheme: KeypointScheme) -> str | None:
    if scheme.pupils is None:
        return None
    first, second = (f"{group[0] + 1} to {group[-1] + 1}" for group in scheme.pupils)
    return f"inter-pupil distance, of the means of points {first} and of {second}, {_SEEN}"


NORMALISERS: dict[str, Normaliser] = {
    "box": Normaliser(box_length, lambda scheme: "square root of the face box's area"),
    "diagonal": Normaliser(box_diagonal, lambda scheme: "diagonal of the face box"),
    "interocular": Normaliser(interocular, _interocular_words),
    "interpupil": Normaliser(interpupil, _interpupil_words),
}
"""Name -> length; the first that the keypoint scheme has is the headline normaliser."""
