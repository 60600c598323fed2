"""WHOLE_SET_CHECKS: whether the labels of the set as a whole can mean what they seem to mean.

Each finding is on the set, not on a face. No image is needed.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date

import numpy as np

from fpenet.data.checks.faces import LabelledFaces, Outcome

FEW_VISIBLE = 0.5
"""Share of the labelled points; a set and a training with fewer visible ones are reported."""
_SAMPLE = 10  # faces from which on equal boxes or a subject in each image mean something
_BODY = re.compile(r"shoulder|elbow|wrist|hip|knee|ankle|thumb|finger|toe|heel", re.IGNORECASE)
_DATE = re.compile(r"[A-Za-z]*((?:19|20)\d\d)(\d\d)(\d\d)", re.ASCII)


def find_placeholders(faces: LabelledFaces) -> Outcome:
    """Points that the reader took as unlabelled; see ``data.readers.samples``."""
    count, of_faces = faces.origins.placeholder_points, faces.origins.placeholder_faces
    if not count:
        return Outcome({})
    return Outcome(
        {
            -1: f"{count} points of {of_faces} faces are at (0, 0), (-1, -1) or another negative"
            " position with x = y; they are taken as unlabelled"
        },
        numbers={"points": count, "faces": of_faces},
    )


def find_hidden(faces: LabelledFaces) -> Outcome:
    """A set of which no labelled point is visible: ``train.mask_hidden`` would leave no loss."""
    if faces.visible.any():
        return Outcome({})
    return Outcome(
        {
            -1: f"none of the {int(faces.labelled.sum())} labelled points is visible; with"
            " train.mask_hidden no point counts in the loss. Correct the flags (in COCO, v = 2 is"
            " visible and v = 1 hidden), or set train.mask_hidden=false and"
            " validate.severity of 'no visible point' to warn"
        }
    )


def find_mostly_hidden(faces: LabelledFaces) -> Outcome:
    """A set of which under half of the labelled points is visible."""
    share = float(faces.visible.sum() / max(int(faces.labelled.sum()), 1))
    if share == 0.0 or share >= FEW_VISIBLE:
        return Outcome({})
    return Outcome(
        {-1: f"{share:.0%} of the labelled points are visible; only they count in the loss"},
        numbers={"visible": round(share, 4)},
    )


def find_body(faces: LabelledFaces) -> Outcome:
    """Keypoints with the names of a body's joints."""
    joints = [name for name in faces.origins.keypoint_names if _BODY.search(name)]
    if not joints:
        return Outcome({})
    count = len(faces.origins.keypoint_names)
    return Outcome(
        {
            -1: f"{len(joints)} of the {count} keypoints are of a body ({', '.join(joints[:3])},"
            " ...), not of a face; export the face's keypoints alone"
        }
    )


def find_doubtful_subjects(faces: LabelledFaces) -> Outcome:
    """Subjects from image names that look like dates, or of which each image has one of its own."""
    if not faces.origins.subjects_from_names:
        return Outcome({})
    subjects = {subject for subject in faces.subjects if subject is not None}
    images = len(set(faces.images))
    dates = sorted(subject for subject in subjects if _is_date(subject))
    why = ""
    if dates and 2 * len(dates) >= len(subjects):
        why = f"{len(dates)} of {len(subjects)} look like dates (e.g. {dates[0]})"
    elif images >= _SAMPLE and len(subjects) == images:
        why = f"each of the {images} images has a subject of its own (e.g. {min(subjects)})"
    if not why:
        return Outcome({})
    return Outcome(
        {
            -1: "subjects are taken from the names of the images (data.subject_pattern), and"
            f" {why}; if they are not people, name the subjects in a CSV filename,subject beside"
            " the labels"
        }
    )


def _is_date(subject: str) -> bool:
    """
    >>> _is_date("20240501"), _is_date("IMG20240501"), _is_date("20241399"), _is_date("079")
    (True, True, False, False)
    """
    match = _DATE.fullmatch(subject)
    if match is None:
        return False
    try:
        date(*map(int, match.groups()))
    except ValueError:
        return False
    return True


def find_equal_boxes(faces: LabelledFaces) -> Outcome:
    """The same face box for every face, though their points differ."""
    if len(faces) < _SAMPLE or not (faces.boxes == faces.boxes[0]).all():
        return Outcome({})
    spread = float(np.ptp(faces.squares[:, :2], axis=0).max())
    if spread <= 0.1 * faces.boxes[0, 2:].max():
        return Outcome({})
    x, y, width, height = faces.boxes[0]
    return Outcome(
        {
            -1: f"all {len(faces)} face boxes are {width:g}x{height:g} px at ({x:g}, {y:g}), but"
            f" the faces are up to {spread:.0f} px apart; leave out boxes that were not labelled"
        }
    )


def find_unknown_scheme(faces: LabelledFaces) -> Outcome:
    """A scheme that is known from the number of keypoints alone, or not at all."""
    scheme, origins = faces.scheme, faces.origins
    if faces.own_scheme is not None:
        return Outcome({})
    count = scheme.num_keypoints
    if scheme.flip_map is None:
        return Outcome(
            {
                -1: f"the order of {count} keypoints is not known: no region, no eye corners, and"
                " no mirror partners, so training needs train.augment.flip_probability=0; write a"
                " scheme.yaml beside the labels (schemes/README.md says how)"
            }
        )
    if origins.scheme_guessed:
        return Outcome(
            {
                -1: f"{count} keypoints are taken for those of {scheme.layout} by their number"
                " alone; if their order is another one, write a scheme.yaml beside the labels"
                " (schemes/README.md says how)"
            }
        )
    return Outcome({})


WHOLE_SET_CHECKS: dict[str, Callable[[LabelledFaces], Outcome]] = {
    "placeholder": find_placeholders,
    "no visible point": find_hidden,
    "few visible points": find_mostly_hidden,
    "body keypoints": find_body,
    "doubtful subjects": find_doubtful_subjects,
    "equal boxes": find_equal_boxes,
    "unknown scheme": find_unknown_scheme,
}
"""Name -> check; a finding is on the set as a whole."""


def check_whole_set(faces: LabelledFaces) -> Mapping[str, Outcome]:
    """The outcome of every check of ``WHOLE_SET_CHECKS``."""
    return {name: find(faces) for name, find in WHOLE_SET_CHECKS.items()}
