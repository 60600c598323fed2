"""Stage split: assign faces to training and evaluation parts, with no subject in two parts.

Input: the validated faces. Does: assigns each face to a part by one of RULES. Output: parts.parquet
with the columns image and part (train, val or kpi), in the row order of samples.parquet. These are
errors, never warnings: a subject in two parts, an image in two parts, a KPI subject in training, a
face of an unknown subject, and a blocking finding of stage validate.
"""

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fpenet.core.errors import InputError
from fpenet.core.records import encode
from fpenet.data.sample import ATTRIBUTE, read_table, write_table
from fpenet.params import SplitParams

PARTS = ("train", "val", "kpi")
_TABLE_COLUMN = ATTRIBUTE + "split"
SHARED = "shared_pictures.csv"
"""File of stage validate: pairs of images that are copies, of two subjects."""
_NAMED = 5  # largest number of pairs in a message
_TREE_COLUMN = ATTRIBUTE + "recording"  # an attribute that only Multi-PIE has


@dataclass(frozen=True, slots=True)
class SplitFaces:
    """Input of a rule, one entry per face.

    Attributes:
        images: paths, for messages.
        subjects: the subject of each face.
        table: the part from the labels, from a CSV file or from the folders of the images, or None.
        is_multi_pie: whether subject numbers are those of Multi-PIE, as ``split.kpi_subjects``.
    """

    images: Sequence[str]
    subjects: Sequence[str]
    table: Sequence[str | None]
    is_multi_pie: bool


def hash_part(subject: str, seed: int) -> float:
    """A number in [0, 1) that depends only on the subject and the seed.

    >>> hash_part("079", 35) == hash_part("079", 35) != hash_part("079", 36)
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{subject}".encode()).digest()[:8], "big") / 2**64


def val_subjects(subjects: Sequence[str], split: SplitParams) -> set[str]:
    """The subjects of the part ``val``; the choice of a subject depends only on its hash.

    If no subject has a hash below ``split.val_fraction``, the subject with the smallest hash is
    chosen.
    """
    if split.val_fraction == 0:
        return set()
    numbers = {subject: hash_part(subject, split.seed) for subject in subjects}
    chosen = {subject for subject, number in numbers.items() if number < split.val_fraction}
    return chosen or {min(numbers, key=numbers.__getitem__)}


def by_kpi_subjects(faces: SplitFaces, split: SplitParams) -> list[str]:
    """The KPI subjects are ``kpi``; a hash divides the rest into ``val`` and ``train``."""
    held_out = kpi_subjects_of(faces.subjects, split)
    if not held_out:
        raise InputError(
            f"split.by is kpi_subjects, but none of split.kpi_subjects ({split.kpi_subjects[0]},"
            " ...) is in the set; use table, hash or auto"
        )
    remaining = sorted(set(faces.subjects) - held_out)
    val = val_subjects(remaining, split) if remaining else set()
    return [
        "kpi" if subject in held_out else "val" if subject in val else "train"
        for subject in faces.subjects
    ]


def by_table(faces: SplitFaces, split: SplitParams) -> list[str]:
    """The attribute ``split``: of the labels, of a CSV file, or of the folders of the images."""
    parts: list[str] = []
    for image, part in zip(faces.images, faces.table, strict=True):
        if part not in PARTS:
            raise InputError(f"{image}: split is {part!r}; it must be one of {', '.join(PARTS)}")
        parts.append(part)
    return parts


def by_hash(faces: SplitFaces, split: SplitParams) -> list[str]:
    """A hash of the subject divides the subjects into ``val`` and ``train``."""
    val = val_subjects(sorted(set(faces.subjects)), split)
    return ["val" if subject in val else "train" for subject in faces.subjects]


def choose_rule(faces: SplitFaces, split: SplitParams) -> str:
    """The rule for ``split.by: auto``."""
    if faces.is_multi_pie and kpi_subjects_of(faces.subjects, split):
        return "kpi_subjects"
    return "table" if any(part is not None for part in faces.table) else "hash"


def kpi_subjects_of(subjects: Sequence[str], split: SplitParams) -> set[str]:
    """The subjects that are in ``split.kpi_subjects``; ``79`` is ``079``."""
    kpi_subjects = {subject.zfill(3) for subject in split.kpi_subjects}
    return {subject for subject in subjects if subject.zfill(3) in kpi_subjects}


def refuse_leaks(faces: SplitFaces, parts: Sequence[str], split: SplitParams) -> None:
    """Check that no subject is in two parts, no KPI subject in training, and no part empty.

    Raises:
        InputError: names the subjects.
    """
    parts_of: dict[str, set[str]] = {}
    for subject, part in zip(faces.subjects, parts, strict=True):
        parts_of.setdefault(subject, set()).add(part)
    divided = sorted(
        subject for subject, subject_parts in parts_of.items() if len(subject_parts) > 1
    )
    if divided:
        raise InputError(
            f"{len(divided)} subjects are in more than one part: "
            + ", ".join(
                f"{subject} ({' and '.join(sorted(parts_of[subject]))})" for subject in divided
            )
            + "; split.by: hash divides by subject, not by the split of the labels or folders"
        )
    if faces.is_multi_pie:
        leaked = sorted(
            subject
            for subject in kpi_subjects_of(list(parts_of), split)
            if parts_of[subject] != {"kpi"}
        )
        if leaked:
            raise InputError(f"KPI subjects must be judged only, but are not: {', '.join(leaked)}")
    if "train" not in parts:
        raise InputError("no face to train on: every subject is in val or kpi; see split.by")
    if "val" not in parts and "kpi" not in parts:
        raise InputError(
            f"no face to judge: {len(parts_of)} subjects, split.val_fraction is"
            f" {split.val_fraction:g}"
        )


def refuse_shared_pictures(
    images: Sequence[str], parts: Sequence[str], shared: Sequence[Mapping[str, str]]
) -> None:
    """Check that no image, nor a copy of it, is in two parts under two subjects.

    Args:
        shared: rows of validate's shared_pictures.csv.

    Raises:
        InputError: names the images.
    """
    parts_of: dict[str, set[str]] = {}
    for image, part in zip(images, parts, strict=True):
        parts_of.setdefault(image, set()).add(part)
    divided = [
        row
        for row in shared
        if row["image"] in parts_of
        and row["other"] in parts_of
        and len(parts_of[row["image"]] | parts_of[row["other"]]) > 1
    ]
    if divided:
        raise InputError(
            f"{len(divided)} images are in more than one part under two subjects: "
            + "; ".join(
                f"{row['image']} ({' and '.join(sorted(parts_of[row['image']]))}) and"
                f" {row['other']} ({' and '.join(sorted(parts_of[row['other']]))}) differ in"
                f" {row['bits']} of 256 bits"
                for row in divided[:_NAMED]
            )
            + "; label both images with the same subject, or leave one image out"
            " (validate.max_near_duplicate_bits is the limit of similarity)"
        )


@dataclass(frozen=True, slots=True)
class PartSize:
    """Number of faces and of subjects of a part."""

    faces: int
    subjects: int


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The summary of stage split: the rule, a key of ``RULES``, and the size of each part."""

    rule: str
    train: PartSize
    val: PartSize
    kpi: PartSize


def split_subjects(*, validate_dir: Path, split: SplitParams, out_dir: Path) -> dict[str, Any]:
    """Assign every validated face to a part (see the top of this file).

    Returns:
        the rule, and the number of faces and subjects of each part.

    Raises:
        InputError: a face of an unknown subject, a rule that does not fit the set, a leak.
    """
    table, about = read_table(validate_dir / "samples.parquet")
    if about.get("blocking"):
        raise InputError(f"stage validate has blocking findings: {about['blocking']}")
    images = table["image"].to_pylist()
    subjects = _known_subjects(images, table["subject"].to_pylist())
    listed = (
        [None if part is None else str(part) for part in table[_TABLE_COLUMN].to_pylist()]
        if _TABLE_COLUMN in table.column_names
        else [None] * len(images)
    )
    faces = SplitFaces(images, subjects, listed, _TREE_COLUMN in table.column_names)
    rule = choose_rule(faces, split) if split.by == "auto" else split.by
    parts = RULES[rule](faces, split)
    refuse_leaks(faces, parts, split)
    refuse_shared_pictures(images, parts, _shared_pictures(validate_dir))
    write_table(
        pa.table({"image": images, "part": parts}),
        out_dir / "parts.parquet",
        dataset=about["name"],
        rule=rule,
    )
    train, val, kpi = (_count(part, parts, subjects) for part in ("train", "val", "kpi"))
    summary: dict[str, Any] = encode(SplitSummary(rule, train, val, kpi))
    return summary


def _shared_pictures(validate_dir: Path) -> list[dict[str, str]]:
    with (validate_dir / SHARED).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _known_subjects(images: Sequence[str], subjects: Sequence[str | None]) -> list[str]:
    known = [subject for subject in subjects if subject is not None]
    if len(known) < len(subjects):
        first = images[subjects.index(None)]
        raise InputError(
            f"{len(subjects) - len(known)} faces have no subject, the first is {first}; add a CSV"
            " file filename,subject to the folder of the labels, set data.subject_pattern, or set"
            " data.subject_per_image=true for one subject per image"
        )
    return known


def _count(part: str, parts: Sequence[str], subjects: Sequence[str]) -> PartSize:
    chosen = [
        subject for subject, its_part in zip(subjects, parts, strict=True) if its_part == part
    ]
    return PartSize(len(chosen), len(set(chosen)))


RULES: dict[str, Callable[[SplitFaces, SplitParams], list[str]]] = {
    "kpi_subjects": by_kpi_subjects,
    "table": by_table,
    "hash": by_hash,
}
