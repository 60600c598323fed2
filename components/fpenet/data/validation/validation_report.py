"""``report.json`` of the stage validate: what the checks of a labelled set found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fpenet.core.records import FileRecord
from fpenet.data.readers.labelled_set import Origins

VALIDATION = "report.json"


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """The result of one check, without the name of a face.

    Attributes:
        findings: number of findings.
        skipped: why it did not run; None if it ran.
        numbers: its statistics.
    """

    severity: str
    findings: int
    skipped: str | None
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ValidationReport(FileRecord):
    """``report.json``.

    Attributes:
        faces, kept, broken: number of all faces, of the kept ones, and of those with a broken label
            or image.
        dropped: reason -> number of faces.
        subjects, images: number of those of the kept faces.
        expectations: suite -> number of evaluated expectations.
        found: check -> number of findings; without the checks that found nothing.
        blocking, warnings: what stops the next stages, and what does not.
        checks: name -> its result.
        counts: attribute -> value -> number of kept faces.
        origins: where subjects, boxes, visibility, scheme and images of the set came from.
    """

    format_version: ClassVar[int] = 2

    dataset: str
    num_keypoints: int
    faces: int
    kept: int
    dropped: Mapping[str, int]
    broken: int
    subjects: int
    images: int
    expectations: Mapping[str, int]
    found: Mapping[str, int]
    passed: bool
    blocking: tuple[str, ...]
    warnings: tuple[str, ...]
    checks: Mapping[str, CheckSummary]
    counts: Mapping[str, Mapping[str, int]]
    origins: Origins = field(default_factory=Origins)
