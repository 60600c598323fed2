"""Run every check on every face; decide which faces are kept.

Input: the labelled faces and their images. Does: the checks of single labels, then decodes each
image once, then the checks of the set. Output: the kept faces, the reason of each dropped face, and
every finding with its severity: ``drop`` drops the face, ``warn`` only reports, ``block`` stops the
run.
"""

import dataclasses
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.checks import CHECKS, KEYPOINT_COUNT, LABEL_CHECKS, SET_CHECKS, check_inputs
from fpenet.data.checks.duplicates import find_stray_counts
from fpenet.data.checks.faces import Indices, LabelledFaces, Outcome, labelled_faces
from fpenet.data.checks.image_hash import ImageHash, Pair, image_hash
from fpenet.data.checks.labelled_set import check_whole_set
from fpenet.data.checks.window import WINDOW_PX, Grey, window
from fpenet.data.images import read_image
from fpenet.data.readers.labelled_set import Origins
from fpenet.data.rejected import Refusal, Rejected
from fpenet.data.sample import FaceSample, Floats
from fpenet.keypoints import KeypointScheme
from fpenet.params import Severity, ValidateParams

_BATCH = 512  # images between two progress records


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding of one check on one face.

    Attributes:
        face: index of the sample; -1 for the set as a whole.
        score: severity, 1 at the limit; NaN if the check has no scores.
    """

    check: str
    severity: Severity
    face: int
    score: float
    detail: str


@dataclass(frozen=True, slots=True)
class CheckedLabels:
    """Results of all checks on N samples.

    Attributes:
        kept: indices of the kept samples.
        num_keypoints: K of the kept samples.
        rejected: reason of each dropped sample; ``face`` is its index.
        findings: all findings, in the order of CHECKS, worst first.
        scores: check -> (N,) score, NaN where the face was not checked.
        outcomes: check -> its outcome; ``details`` and ``scores`` refer to the checked faces.
        shared: pairs of images that are copies, of two subjects.
        num_images: number of decoded images.
    """

    kept: list[int]
    num_keypoints: int
    rejected: list[Rejected]
    findings: list[Finding]
    scores: Mapping[str, Floats]
    outcomes: Mapping[str, Outcome]
    shared: list[tuple[str, str, Pair]]
    num_images: int


def run_checks(
    samples: Sequence[FaceSample],
    root: Path,
    params: ValidateParams,
    scheme: KeypointScheme | None = None,
    origins: Origins | None = None,
) -> CheckedLabels:
    """Check every face.

    Args:
        root: folder of the images.
        scheme: the custom scheme of the set, if it has one.
        origins: where the values of the set came from.

    Raises:
        InputError: there is no face to check, or no check ran.
    """
    faces = labelled_faces(samples, scheme, origins)
    turns = {sample.image: sample.turn for sample in samples}
    return run_face_checks(faces, params, lambda faces: image_features(root, faces, params, turns))


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of the images of N faces.

    Attributes:
        refusals: image -> why it cannot be used.
        hashes: image -> its hash.
        windows: (N, WINDOW_PX, WINDOW_PX); zeros where the image was refused.
    """

    refusals: Mapping[str, Refusal]
    hashes: Mapping[str, ImageHash]
    windows: Grey


def run_face_checks(
    faces: LabelledFaces,
    params: ValidateParams,
    decode: Callable[[LabelledFaces], ImageFeatures] | None,
) -> CheckedLabels:
    """``run_checks`` on arrays.

    Args:
        decode: decodes the images; None: only the checks that need no image.
    """
    if not len(faces):
        raise InputError("there is no face to check")
    record = _Record(len(faces), params)
    all_rows = np.arange(len(faces))
    for name, check in LABEL_CHECKS.items():
        record.add(name, check.find(faces, params), all_rows)
    rows = record.remaining()
    if not len(rows):
        return record.checked(faces, faces.points.shape[1], [], 0)
    num_keypoints, stray = find_stray_counts(faces.take(rows), params.max_rejected_fraction)
    record.add(KEYPOINT_COUNT, Outcome(stray), rows)
    rows = np.array([row for index, row in enumerate(rows) if index not in stray])
    features = None
    if decode is not None:
        features = decode(faces.take(rows, num_keypoints))
        windows = features.windows
        record.refuse(faces, rows, features.refusals)
        usable = np.array([faces.images[row] not in features.refusals for row in rows])
        if not usable.all():
            windows = windows[usable]
        rows = rows[usable]
    if not len(rows):
        return record.checked(faces, num_keypoints, [], 0)
    remaining = faces.take(rows, num_keypoints)
    hashes = features.hashes if features else {}
    digests = [hashes[image].digest for image in remaining.images] if hashes else []
    inputs = check_inputs(remaining, digests, hashes, windows if features else None, params)
    for name, set_check in SET_CHECKS.items():
        record.add(name, set_check.find(inputs, params), rows)
    for name, outcome in check_whole_set(remaining).items():
        record.add(name, outcome, rows)
    return record.checked(faces, num_keypoints, inputs.shared[1], len(hashes))


class _Record:
    """The outcomes of the checks that have run."""

    def __init__(self, count: int, params: ValidateParams) -> None:
        self.severity = params.severity
        self.outcomes: dict[str, Outcome] = {}
        self.scores: dict[str, Floats] = {}
        self.findings: list[Finding] = []
        self.rejected: dict[int, Rejected] = {}
        self.reasons: dict[int, tuple[str, str]] = {}
        self.count = count

    def add(self, name: str, outcome: Outcome, rows: Indices) -> None:
        """Add the outcome of the check ``name`` on the faces ``rows``."""
        severity = self.severity[name]
        self.outcomes[name] = outcome
        scores = np.full(len(rows), np.nan) if outcome.scores is None else outcome.scores
        if outcome.scores is not None:
            self.scores[name] = np.full(self.count, np.nan)
            self.scores[name][rows] = scores
        findings = []
        for index, detail in outcome.details.items():
            face = int(rows[index]) if index >= 0 else -1
            score = float(scores[index]) if index >= 0 else float("nan")
            findings.append(Finding(name, severity, face, score, detail))
            if severity == "drop" and face >= 0:
                self.reasons.setdefault(face, (name, detail))
        self.findings += sorted(findings, key=lambda row: (-np.nan_to_num(row.score), row.face))

    def refuse(self, faces: LabelledFaces, rows: Indices, refusals: Mapping[str, Refusal]) -> None:
        """Drop the faces of images that cannot be used."""
        for row in rows:
            image = faces.images[row]
            if image in refusals:
                refusal, face = refusals[image], int(row)
                self.rejected[face] = Rejected(
                    image, face, refusal.reason, refusal.detail, refusal.broken
                )

    def remaining(self) -> Indices:
        """The faces that are not dropped."""
        dropped = {*self.reasons, *self.rejected}
        return np.array([row for row in range(self.count) if row not in dropped], int)

    def checked(
        self,
        faces: LabelledFaces,
        num_keypoints: int,
        shared: list[tuple[str, str, Pair]],
        num_images: int,
    ) -> CheckedLabels:
        if all(outcome.skipped is not None for outcome in self.outcomes.values()):
            raise InputError("no check ran")
        rejected = dict(self.rejected)
        for face, (name, detail) in self.reasons.items():
            rejected.setdefault(
                face, Rejected(faces.images[face], face, name, detail, CHECKS[name])
            )
        kept = [row for row in range(self.count) if row not in rejected]
        dropped = [rejected[face] for face in sorted(rejected)]
        return CheckedLabels(
            kept,
            num_keypoints,
            dropped,
            self.findings,
            self.scores,
            self.outcomes,
            shared,
            num_images,
        )


def image_features(
    root: Path,
    faces: LabelledFaces,
    params: ValidateParams,
    turns: Mapping[str, bool | None],
) -> ImageFeatures:
    """Decode every image once, in threads; windows are stored in an unnamed temporary file.

    Args:
        turns: image -> ``turn`` of its faces.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, image in enumerate(faces.images):
        rows_of[image].append(row)
    shape = (len(faces), WINDOW_PX, WINDOW_PX)
    with tempfile.TemporaryFile() as file:
        windows = np.memmap(file, np.uint8, "w+", shape=shape)

    def decode(image: str) -> ImageHash | Refusal:
        try:
            grey, digest = read_image(root / image, params.max_image_megapixels, turns[image])
        except Refusal as refusal:
            return refusal
        for row in rows_of[image]:
            windows[row] = window(grey, faces.squares[row])
        return image_hash(grey, digest)

    images = sorted(rows_of)
    refusals: dict[str, Refusal] = {}
    hashes: dict[str, ImageHash] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            for image, result in zip(batch, pool.map(decode, batch), strict=True):
                if isinstance(result, Refusal):
                    refusals[image] = result
                else:
                    hashes[image] = result
            report(len(refusals) + len(hashes), len(images), "images")
    return ImageFeatures(refusals, hashes, windows)


def kept_samples(samples: Sequence[FaceSample], checked: CheckedLabels) -> list[FaceSample]:
    """The kept samples, with the K of the set."""
    count = checked.num_keypoints
    return [
        dataclasses.replace(
            samples[row], points=samples[row].points[:count], visible=samples[row].visible[:count]
        )
        for row in checked.kept
    ]


def suspicion(scores: Mapping[str, Floats]) -> Floats:
    """(N,) total suspicion of each face: the sum of its scores over the checks.

    >>> suspicion({"a": np.array([0.5, 2.0]), "b": np.array([np.nan, -1.0])}).tolist()
    [0.5, 2.0]
    """
    total: Floats = np.sum(
        [np.clip(np.nan_to_num(score), 0.0, 100.0) for score in scores.values()], axis=0
    )
    return total
