"""Stage validate: check labelled faces; keep the usable ones, and record why others are dropped.

Input: the labelled set at ``data.labels``. Does: reads the labels, checks each label separately,
decodes every image once, compares each face with the set (see ``checks``), and evaluates the
expectation suites on the kept faces. Output: samples.parquet, drops.csv, findings.csv,
shared_pictures.csv, report.json, report.html, data_docs/. A blocking finding does not stop this
stage, so that the report is written; stage split then raises the error.
"""

import csv
import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.records import encode
from fpenet.data.checks.faces import labelled_faces
from fpenet.data.readers import LabelledSet, read_labels
from fpenet.data.rejected import Rejected
from fpenet.data.sample import FaceSample, table_of, write_table
from fpenet.data.validation.docs_process import Suites, suite_process
from fpenet.data.validation.expectations import (
    face_expectations,
    face_table,
    keypoint_expectations,
    keypoint_table,
)
from fpenet.data.validation.point_order import orders_of
from fpenet.data.validation.report import render_report
from fpenet.data.validation.run_checks import CheckedLabels, kept_samples, run_checks
from fpenet.data.validation.validation_report import VALIDATION, CheckSummary, ValidationReport
from fpenet.keypoints import KeypointScheme, custom_scheme
from fpenet.params import DataParams, ValidateParams


def validate_labels(*, data: DataParams, validate: ValidateParams, out_dir: Path) -> dict[str, Any]:
    """Read and check the faces of the labelled set, and keep the usable ones.

    Returns:
        name of the data set, K, numbers of kept and of dropped faces by reason, number of findings
        by check, and the blocking findings.

    Raises:
        InputError: no labels, no check that ran, or too few usable faces.
    """
    with suite_process() as process:
        labelled = read_labels(Path(data.labels), data)
        scheme = custom_scheme(labelled.scheme) if labelled.scheme else None
        checked = run_checks(labelled.samples, labelled.root, validate, scheme, labelled.origins)
        rejected = _all_rejected(labelled, checked)
        faces = len(labelled.samples) + len(labelled.rejected)
        dropped = dict(Counter(face.reason for face in rejected).most_common())
        if len(checked.kept) < max(validate.min_faces, 1):
            raise InputError(
                f"{data.labels}: {len(checked.kept)} usable faces of {faces}, fewer than"
                f" validate.min_faces {validate.min_faces}; dropped: {dropped or 'none'};"
                f" {_first_of_each(rejected)}"
            )
        kept = kept_samples(labelled.samples, checked)
        suites = process.evaluate(suites_of(kept, checked, validate, scheme), out_dir / "data_docs")
    broken = find_too_broken(faces, rejected, validate.max_rejected_fraction)
    failed = [line for result in suites.values() for line in result.failed]
    blocking = [
        *([broken] if broken else []),
        *failed,
        *_contradicted_guess(failed, checked),
        *_messages(checked, validate, "block"),
    ]
    write_table(
        table_of(kept),
        out_dir / "samples.parquet",
        name=labelled.name,
        root=str(labelled.root),
        num_keypoints=str(checked.num_keypoints),
        scheme=_scheme_of(labelled, checked.num_keypoints),
        blocking="; ".join(blocking),
    )
    _write_tables(labelled, checked, rejected, out_dir)
    warned = [line for result in suites.values() for line in result.warned]
    report = ValidationReport(
        dataset=labelled.name,
        num_keypoints=checked.num_keypoints,
        faces=faces,
        kept=len(kept),
        dropped=dropped,
        broken=sum(face.broken for face in rejected),
        subjects=len({sample.subject for sample in kept if sample.subject is not None}),
        images=len({sample.image for sample in kept}),
        expectations={name: result.evaluated for name, result in suites.items()},
        found={
            name: len(outcome.details)
            for name, outcome in checked.outcomes.items()
            if outcome.details
        },
        passed=not blocking,
        blocking=tuple(blocking),
        warnings=(*warned, *_messages(checked, validate, "warn", whole=True)),
        checks=describe_checks(checked, validate),
        counts=count_faces(kept, checked),
        origins=labelled.origins,
    )
    report.write(out_dir / VALIDATION)
    page = render_report(report, labelled.samples, checked, labelled.root, validate.report_faces)
    (out_dir / "report.html").write_text(page, encoding="utf-8")
    summary: dict[str, Any] = encode(report)
    return {key: summary[key] for key in summary if key not in ("warnings", "checks", "counts")}


def _scheme_of(labelled: LabelledSet, num_keypoints: int) -> str:
    """The custom scheme of the set as JSON; empty if it has none, or one of another K."""
    scheme = labelled.scheme
    return scheme.model_dump_json() if scheme and len(scheme.keypoints) == num_keypoints else ""


def suites_of(
    kept: Sequence[FaceSample],
    checked: CheckedLabels,
    validate: ValidateParams,
    scheme: KeypointScheme | None = None,
) -> Suites:
    """The suites of the set's keypoint scheme, with the tables of the kept faces."""
    faces = labelled_faces(kept, scheme)
    scores = {name: score[checked.kept] for name, score in checked.scores.items()}
    table, keypoints = face_table(faces, faces.visible, scores), keypoint_table(faces)
    count = checked.num_keypoints
    return {
        f"faces-{count}": (
            table,
            face_expectations(count, list(scores), validate, scheme is not None),
        ),
        f"keypoints-{count}": (keypoints, keypoint_expectations(count)),
    }


def find_too_broken(faces: int, rejected: Sequence[Rejected], max_fraction: float) -> str | None:
    """The error if more than ``max_fraction`` of the faces have a broken label or image, or
    None."""
    broken = [face for face in rejected if face.broken]
    if len(broken) <= max_fraction * faces:
        return None
    return (
        f"{len(broken)} of {faces} faces are broken, more than validate.max_rejected_fraction"
        f" {max_fraction:g}: {_first_of_each(broken)}"
    )


def _first_of_each(rejected: Sequence[Rejected]) -> str:
    """The three most frequent reasons, with the first face of each."""
    counts = Counter(face.reason for face in rejected)
    first = {face.reason: face for face in reversed(rejected)}
    return "; ".join(
        f"{count} {reason} (first: {first[reason].image}: {first[reason].detail})"
        for reason, count in counts.most_common(3)
    )


def _messages(
    checked: CheckedLabels, validate: ValidateParams, severity: str, whole: bool = False
) -> list[str]:
    """One line for each check of this severity with findings; ``whole``: only those on the set."""
    lines = []
    for name, outcome in checked.outcomes.items():
        details = {f: d for f, d in outcome.details.items() if f < 0 or not whole}
        if details and validate.severity[name] == severity:
            first = next(row for row in checked.findings if row.check == name)
            lines.append(
                f"{name}: {first.detail}"
                if first.face < 0
                else f"{name}: {len(details)} faces, the worst: {first.detail}"
            )
    return lines


def _contradicted_guess(failed: Sequence[str], checked: CheckedLabels) -> list[str]:
    """Where points have another order than a scheme that was guessed from K: that it was guessed.

    The message also says how the right scheme is given.
    """
    orders = tuple(order.why for order in orders_of(checked.num_keypoints, own_scheme=False))
    outcome = checked.outcomes.get("unknown scheme")
    contradicted = any(line.startswith(orders) for line in failed)
    return list(outcome.details.values()) if contradicted and outcome else []


def describe_checks(checked: CheckedLabels, validate: ValidateParams) -> dict[str, CheckSummary]:
    """Check -> its summary, without names of faces."""
    return {
        name: CheckSummary(
            validate.severity[name], len(outcome.details), outcome.skipped, dict(outcome.numbers)
        )
        for name, outcome in checked.outcomes.items()
    }


def count_faces(kept: Sequence[FaceSample], checked: CheckedLabels) -> dict[str, dict[str, int]]:
    """The number of kept faces by occlusion level, yaw and light."""
    levels = Counter(sample.occlusion_level for sample in kept)
    order = sorted(levels, key=lambda level: -1 if level is None else level)
    counts = {"occlusion level": {"unknown" if v is None else str(v): levels[v] for v in order}}
    balance = checked.outcomes.get("balance")
    for name, classes in (balance.numbers if balance else {}).items():
        if isinstance(classes, Mapping):
            counts[f"{name}, from {classes['from']}"] = dict(classes["faces"])
    return counts


def face_numbers(labelled: LabelledSet) -> list[int]:
    """The number of each sample among all faces of the set, including rejected ones."""
    unread = {face.face for face in labelled.rejected}
    total = len(labelled.samples) + len(unread)
    return [number for number in range(total) if number not in unread]


def _all_rejected(labelled: LabelledSet, checked: CheckedLabels) -> list[Rejected]:
    """Why each face is not used, by its number among all faces."""
    numbers = face_numbers(labelled)
    renumbered = [dataclasses.replace(face, face=numbers[face.face]) for face in checked.rejected]
    return sorted([*labelled.rejected, *renumbered], key=lambda face: face.face)


def _write_tables(
    labelled: LabelledSet, checked: CheckedLabels, rejected: Sequence[Rejected], out_dir: Path
) -> None:
    numbers = face_numbers(labelled)
    _write_csv(
        out_dir / "drops.csv",
        ("image", "face", "reason", "detail"),
        ((row.image, row.face, row.reason, row.detail) for row in rejected),
    )
    _write_csv(
        out_dir / "findings.csv",
        ("image", "face", "check", "severity", "score", "detail"),
        (
            (
                labelled.samples[row.face].image if row.face >= 0 else "",
                numbers[row.face] if row.face >= 0 else "",
                row.check,
                row.severity,
                "" if math.isnan(row.score) else f"{row.score:.3f}",
                row.detail,
            )
            for row in checked.findings
        ),
    )
    _write_csv(
        out_dir / "shared_pictures.csv",
        ("image", "other", "bits", "exact", "mirrored"),
        (
            (first, second, pair.bits, int(pair.exact), int(pair.mirrored))
            for first, second, pair in checked.shared
        ),
    )


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
