"""Checks of a labelled set. Reading order: faces, labels, shape_outliers, window, appearance,
image_hash, duplicates, balance; CHECKS at the end lists every check.

LABEL_CHECKS test each label separately and run first. The faces that they drop are not used by
SET_CHECKS, which compare a face with all remaining faces of the set. WHOLE_SET_CHECKS ask whether
the labels of the set make sense together.
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
from fpenet.data.checks.labelled_set import WHOLE_SET_CHECKS
from fpenet.data.checks.labels import LABEL_CHECKS
from fpenet.data.checks.shape_outliers import (
    ShapeModel,
    find_swapped,
    find_unlike_shapes,
    fit_shape_model,
)
from fpenet.data.checks.window import Grey
from fpenet.params import ValidateParams

__all__ = ["CHECKS", "KEYPOINT_COUNT", "LABEL_CHECKS", "SET_CHECKS", "WHOLE_SET_CHECKS"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckInputs:
    """Inputs of the checks on a set.

    Attributes:
        faces: the N faces that passed the label checks.
        digests: SHA-256 of each face's image file.
        windows: (N, WINDOW_PX, WINDOW_PX), or None without images.
        shapes, appearance: shape model and appearance model, or the reason why there is none.
        pairs: later label -> first label of the same face.
        shared: outcome of the check for one image of two subjects, and the pairs of images.
    """

    faces: LabelledFaces
    digests: Sequence[str]
    windows: Grey | None
    shapes: ShapeModel | str
    appearance: AppearanceModel | str
    pairs: Mapping[int, int]
    shared: tuple[Outcome, list[tuple[str, str, Pair]]]


def check_inputs(
    faces: LabelledFaces,
    digests: Sequence[str],
    hashes: Mapping[str, ImageHash],
    windows: Grey | None,
    params: ValidateParams,
) -> CheckInputs:
    """Compute the inputs of the checks on a set.

    Args:
        digests: one per face; hashes: image -> its hash; both are empty without images.
    """
    too_few = f"{len(faces)} faces; validate.models.min_faces is {params.models.min_faces}"
    shapes = fit_shape_model(faces) if len(faces) >= params.models.min_faces else too_few
    appearance: AppearanceModel | str = shapes if isinstance(shapes, str) else "there are no images"
    if windows is not None and not isinstance(shapes, str):
        appearance = fit_appearance(faces, shapes, windows)
    shared = find_shared_images(faces, hashes, params) if hashes else (_NO_IMAGES, [])
    return CheckInputs(
        faces, digests, windows, shapes, appearance, pair_labels(faces, digests), shared
    )


_NO_IMAGES = Outcome({}, skipped="there are no images")


def _if_fitted(fitted: T | str, find: Callable[[T], Outcome]) -> Outcome:
    """The outcome of ``find`` on a fitted model; skipped if ``fitted`` is the reason for none."""
    return Outcome({}, skipped=fitted) if isinstance(fitted, str) else find(fitted)


def _imbalance(inputs: CheckInputs, params: ValidateParams) -> Outcome:
    shapes = None if isinstance(inputs.shapes, str) else inputs.shapes
    return find_imbalance(inputs.faces, shapes, inputs.windows, params)


@dataclass(frozen=True, slots=True)
class SetCheck:
    """One rule that compares a face with the set; ``broken`` as in ``LabelCheck``."""

    find: Callable[[CheckInputs, ValidateParams], Outcome]
    broken: bool = True


SET_CHECKS: dict[str, SetCheck] = {
    "repeated": SetCheck(lambda e, p: find_repeated(e.faces, e.digests)),
    "second label": SetCheck(lambda e, p: find_second_labels(e.faces, e.pairs), broken=False),
    "labels disagree": SetCheck(lambda e, p: find_disagreeing(e.faces, e.pairs, p)),
    "swapped": SetCheck(lambda e, p: _if_fitted(e.shapes, lambda s: find_swapped(e.faces, s, p))),
    "shifted": SetCheck(lambda e, p: _if_fitted(e.appearance, lambda s: find_shifted(s, p))),
    "unlike shape": SetCheck(lambda e, p: _if_fitted(e.shapes, lambda s: find_unlike_shapes(s, p))),
    "unlike picture": SetCheck(
        lambda e, p: _if_fitted(e.appearance, lambda s: find_unlike_appearance(s, p))
    ),
    "shared picture": SetCheck(lambda e, p: e.shared[0]),
    "balance": SetCheck(_imbalance, broken=False),
}
COUNT_CHECKS: dict[str, bool] = {"keypoint count": True}
"""The check that runs between the two groups: it determines K for SET_CHECKS."""
(KEYPOINT_COUNT,) = COUNT_CHECKS

CHECKS: dict[str, bool] = {
    **{name: check.broken for name, check in LABEL_CHECKS.items()},
    **COUNT_CHECKS,
    **{name: check.broken for name, check in SET_CHECKS.items()},
    **dict.fromkeys(WHOLE_SET_CHECKS, False),
}
"""Every check, name -> ``broken``; the first that a face fails is its reason."""
