"""Faces that are there more than once: repeated, labelled by two people, or under two names."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from fpenet.data.checks.faces import LabelledFaces, Outcome
from fpenet.data.checks.image_hash import BITS, ImageHash, Pair, near_pairs
from fpenet.data.sample import Floats
from fpenet.params import ValidateParams

LABELLER = "labeller"
_OVERLAP = 0.5  # of two squares about points, over their union: from here on it is one face


def find_stray_counts(faces: LabelledFaces, max_fraction: float) -> tuple[int, dict[int, str]]:
    """The number of keypoints the set agrees on, and the faces that label more than that.

    A few faces with a larger keypoint number than all others have a wrong count; they must not
    decide K for the set.

    Args:
        max_fraction: of the faces, that may be taken for broken.

    Returns:
        K, and index of a face -> what is wrong with it.
    """
    count = faces.points.shape[1]
    largest = count - np.argmax(faces.labelled[:, ::-1], axis=1)
    agreed = count
    while (largest >= agreed).mean() < max_fraction:
        agreed = int(largest[largest < agreed].max())
    stray = {
        int(index): f"labels P{largest[index]}, where the set has {agreed} keypoints"
        for index in np.flatnonzero(largest > agreed)
    }
    return agreed, stray


def find_repeated(faces: LabelledFaces, digests: Sequence[str]) -> Outcome:
    """The same picture with the same points; the first one stays.

    Args:
        digests: SHA-256 of each face's image file.
    """
    first: dict[tuple[str, bytes], str] = {}
    details: dict[int, str] = {}
    for row, digest in enumerate(digests):
        key = (digest, faces.points[row].tobytes())
        if key in first:
            details[row] = f"same picture and points as a face of {first[key]}"
        else:
            first[key] = faces.images[row]
    return Outcome(details)


def pair_labels(faces: LabelledFaces, digests: Sequence[str]) -> dict[int, int]:
    """Later label -> first label of the same face: overlapping points on the same picture.

    Where labels name their ``labeller``, two of one labeller are two faces.
    """
    on_picture: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        on_picture[digest].append(row)
    labellers = faces.attribute(LABELLER)
    pairs: dict[int, int] = {}
    for rows in on_picture.values():
        for place, later in enumerate(rows):
            for first in rows[:place]:
                both = labellers[first] is not None and labellers[later] is not None
                if first in pairs or (both and labellers[first] == labellers[later]):
                    continue
                if np.array_equal(faces.points[first], faces.points[later], equal_nan=True):
                    continue  # repeated, not labelled again
                if _overlap(faces.squares[first], faces.squares[later]) >= _OVERLAP:
                    pairs[later] = first
                    break
    return pairs


def _overlap(one: Floats, reference: Floats) -> float:
    """Intersection over union of two squares (centre x, centre y, side)."""
    apart = np.abs(one[:2] - reference[:2])
    common = np.clip(
        np.minimum((one[2] + reference[2]) / 2 - apart, min(one[2], reference[2])), 0, None
    )
    area = float(common.prod())
    return area / max(float(one[2] ** 2 + reference[2] ** 2) - area, 1e-9)


def find_second_labels(faces: LabelledFaces, pairs: Mapping[int, int]) -> Outcome:
    """A label that checks another one; the first in the label file is the one that is used."""
    return Outcome(
        {later: f"labels the same face as {_who(faces, first)}" for later, first in pairs.items()}
    )


def find_disagreeing(
    faces: LabelledFaces, pairs: Mapping[int, int], params: ValidateParams
) -> Outcome:
    """Faces on whose points two labellers do not agree, and how far apart they are by point."""
    if not pairs:
        return Outcome({}, skipped="no face has two labels")
    later, first = np.array(list(pairs)), np.array(list(pairs.values()))
    side = np.maximum(faces.squares[first, 2, None], 1.0)
    apart = np.linalg.norm(faces.points[later] - faces.points[first], axis=2) / side  # (pairs, K)
    known = ~np.isnan(apart)
    zeros = np.where(known, apart, 0.0)
    mean = zeros.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    limit = params.max_labeller_distance
    details = {}
    scores = np.zeros(len(faces))
    for index in range(len(pairs)):
        scores[first[index]] = max(scores[first[index]], mean[index] / limit)
        if mean[index] > limit:
            worst = int(np.argmax(zeros[index]))
            details[int(first[index])] = (
                f"{_who(faces, int(first[index]))} and {_who(faces, int(later[index]))} are"
                f" {mean[index]:.3f} of the face's size apart, {zeros[index, worst]:.2f} at"
                f" P{worst + 1}; at most {limit:g}"
            )
    by_point = zeros.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    numbers = {
        "faces_with_two_labels": len(pairs),
        "mean": round(float(mean.mean()), 4),
        "by_point": [round(float(value), 4) for value in by_point],
    }
    return Outcome(details, scores, None, numbers)


def _who(faces: LabelledFaces, row: int) -> str:
    labeller = faces.attribute(LABELLER)[row]
    return faces.images[row] if labeller is None else f"{labeller}'s of {faces.images[row]}"


def find_shared_images(
    faces: LabelledFaces, looks: Mapping[str, ImageHash], params: ValidateParams
) -> tuple[Outcome, list[tuple[str, str, Pair]]]:
    """One picture under two people's names: who is trained on would be judged, too.

    Args:
        looks: image -> its look.

    Returns:
        the outcome, and the pairs of images for the split to look at.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, image in enumerate(faces.images):
        rows_of[image].append(row)
    images = sorted(rows_of)
    people = [[faces.subjects[row] or "nobody known" for row in rows_of[image]] for image in images]
    pairs = near_pairs([looks[i] for i in images], people, params.max_near_duplicate_bits)
    details = {}
    for pair in pairs:
        one, other = images[pair.one], images[pair.other]
        said = "the same file as" if pair.exact else f"{pair.bits} of {BITS} bits from"
        mirrored = "mirrored, " if pair.mirrored else ""
        who = f"{people[pair.one][0]} and {people[pair.other][0]}"
        details[rows_of[other][0]] = f"{mirrored}{said} {one}: of {who}"
    return Outcome(details), [(images[pair.one], images[pair.other], pair) for pair in pairs]
