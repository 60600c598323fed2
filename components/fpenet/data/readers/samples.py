"""From the faces of a reader to the samples of a set: K, subjects, attributes, boxes, origins.

Points that stand for "not labelled" in some sets become unlabelled: (0, 0), (-1, -1) and every
whole negative number with x = y, such as (-99, -99), as the label files have them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, Origins, UnreadFace
from fpenet.data.readers.sidecar import Attributes
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, FaceSample, Floats, keypoints_box
from fpenet.params import DataParams
from fpenet.params.scheme import SchemeParams


def placeholders(points: Floats) -> Bools:
    """(K,) whether a point (K, 2), as the label file has it, stands for "not labelled".

    >>> placeholders(np.array([[0, 0], [-1, -1], [-99, -99], [-3, -2], [5, 5], [-0.5, -0.5]]))
    array([ True,  True,  True, False, False, False])
    """
    x, y = points[:, 0], points[:, 1]
    with np.errstate(invalid="ignore"):
        found: Bools = (x == y) & (x <= 0.0) & (x == np.round(x)) & (x > -1e5)
    return found


def subject_pattern(text: str) -> re.Pattern[str]:
    """``data.subject_pattern``, compiled.

    Raises:
        InputError: not a regular expression with a group ``subject``.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(f"data.subject_pattern is {text!r}: {error}") from None
    if "subject" not in pattern.groupindex:
        raise InputError(f"data.subject_pattern is {text!r}; it must have a group (?P<subject>...)")
    return pattern


def keypoints_of(
    source: LabelSource,
    faces: Iterable[LabelledFace | UnreadFace],
    expected: int | Literal["auto"],
) -> int:
    """K of the set: ``data.keypoints``, or the largest keypoint number of any face.

    Raises:
        InputError: no face was read, or none has that many keypoints.
    """
    read = [face for face in faces if isinstance(face, LabelledFace)]
    if not read:
        unread = next((face for face in faces if isinstance(face, UnreadFace)), None)
        first = f"; the first face: {unread.where}: {unread.refusal.detail}" if unread else ""
        raise InputError(f"{source.labels}: no usable face in it{first}")
    largest = max(len(face.points) for face in read)
    if expected == "auto":
        return largest
    if expected > largest:
        raise InputError(
            f"data.keypoints is {expected}, but no face of {source.labels} has more than"
            f" {largest}; it must be at most {largest}, or auto"
        )
    return expected


_FROM_NAME = "image name (data.subject_pattern)"


@dataclass(frozen=True, slots=True)
class SampleMaker:
    """Makes the samples of one set.

    Attributes:
        columns: image as written -> column -> value; see ``image_columns``.
        subjects_from, boxes_from: where these came from -> number of faces; filled while used.
        placeholders: number of points taken as unlabelled -> number of faces; filled while used.
    """

    source: LabelSource
    data: DataParams
    num_keypoints: int
    columns: Mapping[str, Attributes]
    pattern: re.Pattern[str]
    subjects_from: Counter[str]
    boxes_from: Counter[str]
    placeholders: Counter[int]

    def make(self, face: LabelledFace, size: tuple[int, int], turn: bool | None) -> FaceSample:
        """The sample of a face in an image of ``size`` (width, height); ``turn`` as in FaceSample.

        Raises:
            Refusal: none of the first K keypoints is labelled.
        """
        points = np.full((self.num_keypoints, 2), np.nan)
        visible = np.zeros(self.num_keypoints, bool)
        count = min(self.num_keypoints, len(face.points))
        points[:count], visible[:count] = face.points[:count], face.visible[:count]
        missing = placeholders(points + self.source.first_pixel)
        points[missing], visible[missing] = np.nan, False
        self.placeholders[int(missing.sum())] += 1
        if np.isnan(points).all():
            detail = f"none among the first {self.num_keypoints}"
            raise Refusal("no keypoints", detail, broken=False)
        about = self._columns_of(face.image)
        subject, origin = self._subject(face, about)
        self.subjects_from[origin] += 1
        self.boxes_from["labels" if face.face_box else "box around the keypoints"] += 1
        attributes = {name: value for name, value in about.items() if name != "subject"}
        return FaceSample(
            face.image,
            size,
            face.face_box or keypoints_box(points),
            points,
            visible,
            face.occlusion_level,
            subject,
            attributes | dict(face.attributes),
            turn,
        )

    def _columns_of(self, image: str) -> Attributes:
        """The columns of the image, by its path or by any name that the labels have for it."""
        if not self.columns:
            return {}
        folder, path = self.source.folder, self.source.root / image
        below = [path.relative_to(folder).as_posix()] if path.is_relative_to(folder) else []
        names = [image, *below, *sorted(self.source.search.names.get(image, ()))]
        return next((self.columns[name] for name in names if name in self.columns), {})

    def _subject(self, face: LabelledFace, about: Attributes) -> tuple[str | None, str]:
        if face.subject:
            return face.subject, "labels"
        if about.get("subject"):
            return str(about["subject"]), "column subject"
        if self.data.subject_per_image:
            return face.image, "one per image (data.subject_per_image)"
        if match := self.pattern.search(face.image.rsplit("/", 1)[-1]):
            return match["subject"], _FROM_NAME
        return None, "none"


def origins_of(
    format_name: str,
    maker: SampleMaker,
    samples: Sequence[FaceSample],
    scheme: SchemeParams | None,
    scheme_name: str | None,
    split: str,
) -> Origins:
    """Where the values of the set came from."""
    source, search = maker.source, maker.source.search
    images = {sample.image for sample in samples}
    found = Counter("end of the path" if i in search.by_ending else "as written" for i in images)
    hides = any(bool((~s.visible & ~np.isnan(s.points[:, 0])).any()) for s in samples)
    count, named_by = maker.num_keypoints, scheme_name or "the label files"
    layout = source.layouts.get(count)
    known = f"{named_by}: {scheme.name}" if scheme else layout and f"{format_name}: {layout}"
    if scheme:
        keypoint_names = tuple(keypoint.name for keypoint in scheme.keypoints)
    else:
        keypoint_names = tuple(source.keypoint_names)
    names = f"; order of the names: {source.names_from}" if source.names_from else ""
    return Origins(
        format=format_name,
        label_files=tuple(map(source.where, source.used)),
        not_label_files={
            path.relative_to(source.folder).as_posix()
            if path.is_relative_to(source.folder)
            else str(path): reason
            for path, reason in sorted(source.skipped.items())
        },
        images=_shares(found),
        subjects=_shares(maker.subjects_from),
        face_boxes=_shares(maker.boxes_from),
        visibility=source.visible_from
        or ("labels" if hides else "all visible: the labels hide no keypoint"),
        scheme=(known or f"number of keypoints ({count})") + names,
        split=split,
        keypoint_names=keypoint_names,
        scheme_guessed=not known,
        subjects_from_names=maker.subjects_from[_FROM_NAME] > 0,
        placeholder_points=sum(n * faces for n, faces in maker.placeholders.items()),
        placeholder_faces=sum(faces for n, faces in maker.placeholders.items() if n),
    )


def _shares(counts: Counter[str]) -> str:
    """``labels``, or ``labels (18), none (2)`` where there are several."""
    if len(counts) <= 1:
        return next(iter(counts), "none")
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common())
