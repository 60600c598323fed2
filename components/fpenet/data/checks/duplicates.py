"""Duplicate faces: repeated labels, two labels of one face, and one image of two subjects."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from fpenet.data.checks.faces import LabelledFaces, Outcome
from fpenet.data.checks.image_hash import BITS, ImageHash, Pair, near_pairs
from fpenet.data.sample import Floats
from fpenet.keypoints import SCHEMES
from fpenet.params import ValidateParams

LABELLER = "labeller"
_OVERLAP = 0.5  # least intersection over union of the squares of two labels of one face


def find_stray_counts(faces: LabelledFaces, max_fraction: float) -> tuple[int, dict[int, str]]:
    """The number of keypoints of the set, and the faces with more labelled keypoints.

    A few faces with more keypoints than all remaining faces have a wrong count; they do not
    determine K of the set. If no face has a label of the last keypoints, K stays that of a known
    scheme: a set may label only some of its points.

    Args:
        max_fraction: largest fraction of faces that may be treated as broken.

    Returns:
        K, and index of a face -> description of the problem.
    """
    count = faces.points.shape[1]
    largest = count - np.argmax(faces.labelled[:, ::-1], axis=1)
    agreed = count
    known = {*SCHEMES, *([faces.own_scheme.num_keypoints] if faces.own_scheme else [])}
    while (share := (largest >= agreed).mean()) < max_fraction:
        fewer = int(largest[largest < agreed].max())
        if share == 0 and agreed in known and fewer not in known:
            break
        agreed = fewer
    stray = {
        int(index): f"it has a keypoint P{largest[index]}; the set has {agreed} keypoints"
        for index in np.flatnonzero(largest > agreed)
    }
    return agreed, stray


def find_repeated(faces: LabelledFaces, digests: Sequence[str]) -> Outcome:
    """Faces with the same image and the same points as an earlier face, which is kept.

    Args:
        digests: SHA-256 of each face's image file.
    """
    first: dict[tuple[str, bytes], str] = {}
    details: dict[int, str] = {}
    for row, digest in enumerate(digests):
        key = (digest, faces.points[row].tobytes())
        if key in first:
            details[row] = f"same image and points as a face of {first[key]}"
        else:
            first[key] = faces.images[row]
    return Outcome(details)


def pair_labels(faces: LabelledFaces, digests: Sequence[str]) -> dict[int, int]:
    """Later label -> first label of the same face: overlapping points on the same image.

    If labels have a ``labeller``, two labels of one labeller are two faces.
    """
    rows_of_image: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows_of_image[digest].append(row)
    labellers = faces.attribute(LABELLER)
    pairs: dict[int, int] = {}
    for rows in rows_of_image.values():
        for position, later in enumerate(rows):
            for first in rows[:position]:
                both = labellers[first] is not None and labellers[later] is not None
                if first in pairs or (both and labellers[first] == labellers[later]):
                    continue
                if np.array_equal(faces.points[first], faces.points[later], equal_nan=True):
                    continue  # repeated, not labelled again
                if _overlap(faces.squares[first], faces.squares[later]) >= _OVERLAP:
                    pairs[later] = first
                    break
    return pairs


def _overlap(square: Floats, reference: Floats) -> float:
    """Intersection over union of two squares (centre x, centre y, side)."""
    distance = np.abs(square[:2] - reference[:2])
    common = np.clip(
        np.minimum((square[2] + reference[2]) / 2 - distance, min(square[2], reference[2])), 0, None
    )
    area = float(common.prod())
    return area / max(float(square[2] ** 2 + reference[2] ** 2) - area, 1e-9)


def find_second_labels(faces: LabelledFaces, pairs: Mapping[int, int]) -> Outcome:
    """Second labels of a face; the first in the label file is used."""
    return Outcome(
        {later: f"same face as {_label_of(faces, first)}" for later, first in pairs.items()}
    )


def find_disagreeing(
    faces: LabelledFaces, pairs: Mapping[int, int], params: ValidateParams
) -> Outcome:
    """Faces on which two labellers disagree, with the mean distance of each keypoint."""
    if not pairs:
        return Outcome({}, skipped="no face has two labels")
    later, first = np.array(list(pairs)), np.array(list(pairs.values()))
    side = np.maximum(faces.squares[first, 2, None], 1.0)
    distance = (
        np.linalg.norm(faces.points[later] - faces.points[first], axis=2) / side
    )  # (pairs, K)
    known = ~np.isnan(distance)
    zeros = np.where(known, distance, 0.0)
    mean = zeros.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    limit = params.max_labeller_distance
    details = {}
    scores = np.zeros(len(faces))
    for index in range(len(pairs)):
        scores[first[index]] = max(scores[first[index]], mean[index] / limit)
        if mean[index] > limit:
            worst = int(np.argmax(zeros[index]))
            details[int(first[index])] = (
                f"{_label_of(faces, int(first[index]))} and"
                f" {_label_of(faces, int(later[index]))} are"
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


def _label_of(faces: LabelledFaces, row: int) -> str:
    labeller = faces.attribute(LABELLER)[row]
    return faces.images[row] if labeller is None else f"{labeller}'s label of {faces.images[row]}"


def find_shared_images(
    faces: LabelledFaces, hashes: Mapping[str, ImageHash], params: ValidateParams
) -> tuple[Outcome, list[tuple[str, str, Pair]]]:
    """Images that are labelled as two subjects: one could be in training, one in evaluation.

    Args:
        hashes: image -> its hash.

    Returns:
        The outcome, and the pairs of images, which the split checks.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, image in enumerate(faces.images):
        rows_of[image].append(row)
    images = sorted(rows_of)
    subjects = [[faces.subjects[row] or "unknown" for row in rows_of[image]] for image in images]
    pairs = near_pairs([hashes[i] for i in images], subjects, params.max_near_duplicate_bits)
    details = {}
    for pair in pairs:
        first, second = images[pair.first], images[pair.second]
        relation = "the same file as" if pair.exact else f"{pair.bits} of {BITS} bits from"
        mirrored = "mirrored, " if pair.mirrored else ""
        names = f"{subjects[pair.first][0]} and {subjects[pair.second][0]}"
        details[rows_of[second][0]] = f"{mirrored}{relation} {first}: of {names}"
    return Outcome(details), [(images[pair.first], images[pair.second], pair) for pair in pairs]
