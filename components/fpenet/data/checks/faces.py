"""The labels of a set as arrays, the input of the checks; Outcome: the result of a check.

Frame: image pixels, pixel centres at integers, so an image of width W covers -0.5 to W - 0.5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fpenet.data.readers.labelled_set import Origins
from fpenet.data.sample import Bools, FaceSample, Floats
from fpenet.keypoints import KeypointScheme, scheme_for
from fpenet.params import ValidateParams

Indices = NDArray[np.int64]
Value = str | float | None


@dataclass(frozen=True)
class LabelledFaces:
    """The labels of N faces.

    Attributes:
        images, subjects: as in ``FaceSample``.
        points: (N, K, 2) image pixels, NaN where unlabelled.
        boxes: (N, 4) x, y, width, height of the face box.
        sizes: (N, 2) width and height of the image.
        occlusion: (N,) level 0-9, NaN where not labelled.
        attributes: name -> value of each face, None where missing.
        own_scheme: the keypoint scheme of the set, if it has one.
        visibility: (N, K) False where hidden or unlabelled; None: as ``labelled``.
        origins: where the values of the set came from.
    """

    images: Sequence[str]
    subjects: Sequence[str | None]
    points: Floats
    boxes: Floats
    sizes: Floats
    occlusion: Floats
    attributes: Mapping[str, Sequence[Value]]
    own_scheme: KeypointScheme | None = None
    visibility: Bools | None = None
    origins: Origins = field(default_factory=Origins)

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def labelled(self) -> Bools:
        """(N, K) whether the point is labelled."""
        labelled: Bools = ~np.isnan(self.points[..., 0])
        return labelled

    @property
    def visible(self) -> Bools:
        """(N, K) whether the point is labelled and not hidden."""
        return self.labelled if self.visibility is None else self.visibility & self.labelled

    @cached_property
    def squares(self) -> Floats:
        """(N, 3) centre and side of the square about the labelled points, the longer side."""
        low, high = np.nanmin(self.points, axis=1), np.nanmax(self.points, axis=1)
        side = (high - low).max(axis=1, keepdims=True)
        squares: Floats = np.concatenate([(low + high) / 2, side], axis=1)
        return squares

    @property
    def scheme(self) -> KeypointScheme:
        """The keypoint scheme: that of the set, or the default one for K."""
        count = self.points.shape[1]
        scheme = self.own_scheme
        return scheme if scheme and scheme.num_keypoints == count else scheme_for(count)

    def take(self, rows: Indices, num_keypoints: int | None = None) -> "LabelledFaces":
        """The faces of ``rows``, with the first ``num_keypoints`` points (all of them: None)."""
        return replace(
            self,
            images=[self.images[row] for row in rows],
            subjects=[self.subjects[row] for row in rows],
            points=self.points[rows, :num_keypoints],
            visibility=(None if self.visibility is None else self.visibility[rows, :num_keypoints]),
            boxes=self.boxes[rows],
            sizes=self.sizes[rows],
            occlusion=self.occlusion[rows],
            attributes={
                name: [column[row] for row in rows] for name, column in self.attributes.items()
            },
        )

    def attribute(self, name: str) -> Sequence[Value]:
        """One value per face; None where missing."""
        return self.attributes.get(name) or [None] * len(self)

    def subject_of(self, row: int) -> str:
        """The subject of a face; a face without one is a separate subject."""
        return self.subjects[row] or f"? {self.images[row]}"


def labelled_faces(
    samples: Sequence[FaceSample],
    scheme: KeypointScheme | None = None,
    origins: Origins | None = None,
) -> LabelledFaces:
    """The labels of ``samples``, which all have the same K; ``scheme`` is that of the set."""
    levels = [np.nan if s.occlusion_level is None else s.occlusion_level for s in samples]
    names = {name for sample in samples for name in sample.attributes}
    return LabelledFaces(
        [s.image for s in samples],
        [s.subject for s in samples],
        np.stack([s.points for s in samples]),
        np.array([s.face_box for s in samples], float),
        np.array([s.image_size for s in samples], float),
        np.array(levels, float),
        {name: [s.attributes.get(name) for s in samples] for name in sorted(names)},
        scheme,
        np.stack([s.visible for s in samples]),
        origins or Origins(),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one check.

    Attributes:
        details: index of a face -> problem with values; -1 for the set as a whole.
        scores: (N,) severity of each face, 1 at the limit; None if the check has no scores.
        skipped: why the check did not run; None if it did.
        numbers: statistics of the whole set, for the report.
    """

    details: Mapping[int, str]
    scores: Floats | None = None
    skipped: str | None = None
    numbers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """One rule for a single label.

    Attributes:
        broken: whether a face that fails counts against ``validate.max_rejected_fraction``; False
            for a correct label that the model card's rules exclude.
    """

    find: Callable[[LabelledFaces, ValidateParams], Outcome]
    broken: bool = True


def flag(scores: Floats, detail: Callable[[int], str], **numbers: object) -> Outcome:
    """The outcome of a check with scores (N,): a finding where the score is above 1.

    Args:
        detail: index of a face -> the text of its finding.
    """
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(scores > 1.0)
    return Outcome({int(row): detail(int(row)) for row in rows}, scores, None, numbers)


def over(values: Floats, limit: float) -> Floats:
    """``values`` divided by ``limit``; for a limit of 0, positive values become infinite.

    >>> over(np.array([0.0, 0.5, 1.0]), 0.5).tolist(), over(np.array([0.0, 0.5]), 0.0).tolist()
    ([0.0, 1.0, 2.0], [0.0, inf])
    """
    if limit > 0:
        scaled: Floats = values / limit
        return scaled
    return np.where(values > 0, np.inf, 0.0)
