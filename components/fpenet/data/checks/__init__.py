"""What a labelled set must satisfy. Reading order: faces, labels, shape, window, picture, look,
twice, balance; CHECKS at the foot names every check and how it is run.

LABEL_CHECKS look at one label by itself and come first: what they drop takes no part in the others,
which compare a face with all the others (Evidence).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fpenet.data.checks.appearance import (
    AppearanceModel,
    find_shifted,
    find_unlike_appearance,
    fit_appearance,
)
from fpenet.data.checks.balance import find_imbalance
from fpenet.data.checks.duplicates import (
    find_disagreeing,
    find_repeated,
    find_second_labels,
    find_shared_images,
    pair_labels,
)
from fpenet.data.checks.faces import LabelledFaces, Outcome
from fpenet.data.checks.image_hash import ImageHash, Pair
from fpenet.data.checks.labels import LABEL_CHECKS
from fpenet.data.checks.shape_outliers import (
    ShapeModel,
    find_swapped,
    find_unlike_shapes,
    fit_shape_model,
)
from fpenet.data.checks.window import Grey
from fpenet.params import ValidateParams

__all__ = ["CHECKS", "KEYPOINT_COUNT", "LABEL_CHECKS", "SET_CHECKS", "CheckInputs", "gather"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckInputs:
    """What the checks on a set look at.

    Attributes:
        faces: the N faces that passed the checks on labels.
        digests: SHA-256 of each face's image file.
        windows: (N, WINDOW_PX, WINDOW_PX), or None without pictures.
        shapes, pictures: or why there are none.
        pairs: later label -> first label of the same face.
        shared: one picture under two names: what was found, and the pairs of images.
    """

    faces: LabelledFaces
    digests: Sequence[str]
    windows: Grey | None
    shapes: ShapeModel | str
    pictures: AppearanceModel | str
    pairs: Mapping[int, int]
    shared: tuple[Outcome, list[tuple[str, str, Pair]]]


def check_inputs(
    faces: LabelledFaces,
    digests: Sequence[str],
    looks: Mapping[str, ImageHash],
    windows: Grey | None,
    params: ValidateParams,
) -> CheckInputs:
    """Fit what the checks need, once.

    Args:
        digests: one a face; looks: image -> its look; both empty where there are no pictures.
    """
    few = f"{len(faces)} faces; validate.models.min_faces is {params.models.min_faces}"
    shapes = fit_shape_model(faces) if len(faces) >= params.models.min_faces else few
    pictures: AppearanceModel | str = shapes if isinstance(shapes, str) else "there are no pictures"
    if windows is not None and not isinstance(shapes, str):
        pictures = fit_appearance(faces, shapes, windows)
    shared = find_shared_images(faces, looks, params) if looks else (_NO_PICTURES, [])
    return CheckInputs(
        faces, digests, windows, shapes, pictures, pair_labels(faces, digests), shared
    )


_NO_PICTURES = Outcome({}, skipped="there are no pictures")


def _given(fitted: T | str, find: Callable[[T], Outcome]) -> Outcome:
    """What ``find`` finds in ``fitted``; skipped where that says why it is not there."""
    return Outcome({}, skipped=fitted) if isinstance(fitted, str) else find(fitted)


def _imbalance(evidence: CheckInputs, params: ValidateParams) -> Outcome:
    shapes = None if isinstance(evidence.shapes, str) else evidence.shapes
    return find_imbalance(evidence.faces, shapes, evidence.windows, params)


@dataclass(frozen=True, slots=True)
class SetCheck:
    """One rule for a face among the others; ``broken`` as in ``Check``."""

    find: Callable[[CheckInputs, ValidateParams], Outcome]
    broken: bool = True


SET_CHECKS: dict[str, SetCheck] = {
    "repeated": SetCheck(lambda e, p: find_repeated(e.faces, e.digests)),
    "second label": SetCheck(lambda e, p: find_second_labels(e.faces, e.pairs), broken=False),
    "labels disagree": SetCheck(lambda e, p: find_disagreeing(e.faces, e.pairs, p)),
    "swapped": SetCheck(lambda e, p: _given(e.shapes, lambda s: find_swapped(e.faces, s, p))),
    "shifted": SetCheck(lambda e, p: _given(e.pictures, lambda s: find_shifted(s, p))),
    "unlike shape": SetCheck(lambda e, p: _given(e.shapes, lambda s: find_unlike_shapes(s, p))),
    "unlike picture": SetCheck(
        lambda e, p: _given(e.pictures, lambda s: find_unlike_appearance(s, p))
    ),
    "shared picture": SetCheck(lambda e, p: e.shared[0]),
    "balance": SetCheck(_imbalance, broken=False),
}
COUNT_CHECKS: dict[str, bool] = {"keypoint count": True}
"""The check between the two: it settles K, which the checks on the set need."""
(KEYPOINT_COUNT,) = COUNT_CHECKS

CHECKS: dict[str, bool] = {
    **{name: check.broken for name, check in LABEL_CHECKS.items()},
    **COUNT_CHECKS,
    **{name: check.broken for name, check in SET_CHECKS.items()},
}
"""Every check, in the order in which they give a face's reason: name -> ``broken``."""
