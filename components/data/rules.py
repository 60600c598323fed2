"""CHECKS: what one labelled face must satisfy; a check returns what it found wrong, or None.

Frame: image pixels, pixel centres at integers, so an image of width W covers -0.5 to W - 0.5. The
first rows of the registry find broken labels, the last ones apply the model card's rules.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from components.data.rejected import Rejected
from components.data.sample import FaceSample
from components.params import ValidateParams

FAR = 1.0
"""A point further outside than this many image sizes is no point of this image."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule.

    Attributes:
        broken: whether a face that fails counts against ``validate.max_rejected_fraction``.
    """

    find: Callable[[FaceSample, ValidateParams], str | None]
    broken: bool


def find_placeholder(sample: FaceSample, params: ValidateParams) -> str | None:
    """Points at exactly (0, 0) or (-1, -1), which stand for "not labelled" in some label files."""
    zeros = np.flatnonzero((sample.points == 0.0).all(axis=1) | (sample.points == -1.0).all(axis=1))
    if not len(zeros):
        return None
    x, y = sample.points[zeros[0]]
    return f"P{zeros[0] + 1} is ({x:g}, {y:g}) px; leave an unlabelled point out of the labels"


def find_far_point(sample: FaceSample, params: ValidateParams) -> str | None:
    """Points more than a whole image away from the image."""
    size = np.array(sample.image_size, float)
    with np.errstate(invalid="ignore"):
        far = ((sample.points < -FAR * size) | (sample.points > (1 + FAR) * size)).any(axis=1)
    if not far.any():
        return None
    k = int(np.flatnonzero(far)[0])
    x, y = sample.points[k]
    width, height = sample.image_size
    return f"P{k + 1} is ({x:g}, {y:g}) px in a {width}x{height} image"


def find_collapse(sample: FaceSample, params: ValidateParams) -> str | None:
    """A face that is smaller than one pixel."""
    _, _, width, height = sample.face_box
    if max(width, height) < 1.0:
        return f"face box is {width:g}x{height:g} px"
    labelled = sample.points[~np.isnan(sample.points[:, 0])]
    if len(labelled) > 1 and np.ptp(labelled, axis=0).max() < 1.0:
        return f"all {len(labelled)} points lie within one pixel"
    return None


def find_occlusion(sample: FaceSample, params: ValidateParams) -> str | None:
    """A face occluded more than the model card trains on."""
    level = sample.occlusion_level
    if level is None or level <= params.max_occlusion_level:
        return None
    return f"occlusion level {level}; at most {params.max_occlusion_level}"


def find_cut_face(sample: FaceSample, params: ValidateParams) -> str | None:
    """A face at the image's edge, less visible than the model card allows."""
    fraction = visible_fraction(sample)
    if fraction >= params.min_visible_fraction:
        return None
    return f"{fraction:.2f} of the face box is inside; at least {params.min_visible_fraction:g}"


def find_points_outside(sample: FaceSample, params: ValidateParams) -> str | None:
    """A face with too many of its points outside the image."""
    fraction = outside_fraction(sample)
    if fraction <= params.max_points_outside_fraction:
        return None
    return f"{fraction:.2f} of the points are outside; at most {params.max_points_outside_fraction}"


def visible_fraction(sample: FaceSample) -> float:
    """Share of the face box's area that lies inside the image."""
    x, y, width, height = sample.face_box
    right, bottom = sample.image_size[0] - 0.5, sample.image_size[1] - 0.5
    inside_x = min(x + width, right) - max(x, -0.5)
    inside_y = min(y + height, bottom) - max(y, -0.5)
    area = width * height
    if area <= 0:  # a line of points: only its length counts
        return float(inside_x >= 0 and inside_y >= 0)
    return max(inside_x, 0.0) * max(inside_y, 0.0) / area


def outside_fraction(sample: FaceSample) -> float:
    """Share of the labelled points that lie outside the image."""
    points = sample.points[~np.isnan(sample.points[:, 0])]
    far_side = np.array(sample.image_size) - 0.5
    return float(((points < -0.5) | (points > far_side)).any(axis=1).mean())


def find_stray_counts(
    samples: Sequence[FaceSample], max_fraction: float
) -> tuple[int, dict[int, str]]:
    """The number of keypoints the set agrees on, and the faces that label more than that.

    A few faces with a larger keypoint number than all others have a wrong count; they must not
    decide K for the set.

    Args:
        max_fraction: of the faces, that may be taken for broken.

    Returns:
        K, and index of a sample -> what is wrong with it.
    """
    labelled = ~np.isnan(np.stack([sample.points[:, 0] for sample in samples]))  # (N, K)
    largest = labelled.shape[1] - np.argmax(labelled[:, ::-1], axis=1)
    agreed = labelled.shape[1]
    while (largest >= agreed).mean() < max_fraction:
        agreed = int(largest[largest < agreed].max())
    stray = {
        int(index): f"labels P{largest[index]}, where the set has {agreed} keypoints"
        for index in np.flatnonzero(largest > agreed)
    }
    return agreed, stray


def find_repeats(samples: Sequence[FaceSample], digests: Sequence[str]) -> dict[int, str]:
    """Faces that are there twice: the same image content with the same points.

    Args:
        digests: SHA-256 of each sample's image file.

    Returns:
        index of each later sample -> which one it repeats.
    """
    first: dict[tuple[str, bytes], str] = {}
    repeats: dict[int, str] = {}
    for index, (sample, digest) in enumerate(zip(samples, digests, strict=True)):
        key = (digest, sample.points.tobytes())
        if key in first:
            repeats[index] = f"same picture and points as a face of {first[key]}"
        else:
            first[key] = sample.image
    return repeats


def apply_checks(sample: FaceSample, number: int, params: ValidateParams) -> Rejected | None:
    """The first check that ``sample`` fails, as the record of its rejection."""
    for reason, check in CHECKS.items():
        detail = check.find(sample, params)
        if detail is not None:
            return Rejected(sample.image, number, reason, detail, check.broken)
    return None


CHECKS: dict[str, Check] = {
    "placeholder": Check(find_placeholder, broken=True),
    "far point": Check(find_far_point, broken=True),
    "collapsed": Check(find_collapse, broken=True),
    "occluded": Check(find_occlusion, broken=False),
    "face cut off": Check(find_cut_face, broken=False),
    "points outside": Check(find_points_outside, broken=False),
}
