"""Stage validate: labelled faces in; the usable ones out, and every other with its reason.

Input: the labelled set at ``data.labels``. Does: reads the labels, decodes every image once,
applies CHECKS to each face and the expectation suites to the whole. Output: samples.parquet,
drops.csv, report.json, data_docs/. A broken face is dropped; too many of them, or a failed suite,
stop the run.
"""

import csv
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.data.expectations import (
    SuiteResult,
    evaluate_suites,
    face_expectations,
    face_table,
    keypoint_expectations,
    keypoint_table,
)
from components.data.images import read_image
from components.data.readers import LabelledSet, read_labels
from components.data.rejected import Refusal, Rejected
from components.data.rules import apply_checks, find_repeats, find_stray_counts
from components.data.sample import FaceSample, table_of, write_table
from components.params import DataParams, ValidateParams
from components.progress import report

_BATCH = 512  # images between two progress records


def check_images(
    root: Path, images: Sequence[str], max_megapixels: float
) -> dict[str, str | Refusal]:
    """Decode every image once, in threads.

    Returns:
        image -> SHA-256 of its file, or why it cannot be used.
    """

    def check(image: str) -> str | Refusal:
        try:
            return read_image(root / image, max_megapixels)[1]
        except Refusal as refusal:
            return refusal

    found: dict[str, str | Refusal] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            found.update(zip(batch, pool.map(check, batch), strict=True))
            report(len(found), len(images), "images")
    return found


def sift(
    samples: Sequence[FaceSample], images: dict[str, str | Refusal], validate: ValidateParams
) -> tuple[list[FaceSample], list[Rejected]]:
    """Part the samples that pass every check from those that do not.

    Args:
        images: what ``check_images`` found.

    Returns:
        the kept samples, all with the K that the set agrees on; why the others are not, each
        ``face`` being the index in ``samples``.
    """
    readable: list[tuple[int, FaceSample, str]] = []
    out: list[Rejected] = []
    for number, sample in enumerate(samples):
        image = images[sample.image]
        found = (
            Rejected(sample.image, number, image.reason, image.detail, image.broken)
            if isinstance(image, Refusal)
            else apply_checks(sample, number, validate)
        )
        if found is not None:
            out.append(found)
        else:
            readable.append((number, sample, str(image)))
    if not readable:
        return [], out
    kept = [sample for _, sample, _ in readable]
    agreed, stray = find_stray_counts(kept, validate.max_rejected_fraction)
    repeats = find_repeats(kept, [digest for _, _, digest in readable])
    for reason, found_by_index in (("keypoint count", stray), ("repeated", repeats)):
        for index, detail in found_by_index.items():
            if reason == "repeated" and index in stray:
                continue
            number, sample, _ = readable[index]
            out.append(Rejected(sample.image, number, reason, detail))
    return [
        dataclasses.replace(sample, points=sample.points[:agreed], visible=sample.visible[:agreed])
        for index, sample in enumerate(kept)
        if index not in stray and index not in repeats
    ], out


def refuse_if_too_broken(
    labels: str, faces: int, rejected: Sequence[Rejected], max_fraction: float
) -> None:
    """Stop when more than ``max_fraction`` of the ``faces`` have a broken label or image.

    Raises:
        ValueError: with the count of each reason and the first of each.
    """
    broken = [one for one in rejected if one.broken]
    if len(broken) <= max_fraction * faces:
        return
    counts = Counter(one.reason for one in broken)
    first = {one.reason: one for one in reversed(broken)}
    said = "; ".join(
        f"{count} {reason} (first: {first[reason].image}: {first[reason].detail})"
        for reason, count in counts.most_common(3)
    )
    raise ValueError(
        f"{labels}: {len(broken)} of {faces} faces are broken, more than"
        f" validate.max_rejected_fraction {max_fraction:g}: {said}"
    )


def validate_labels(*, data: DataParams, validate: ValidateParams, out_dir: Path) -> dict[str, Any]:
    """Read, check and keep the faces of the labelled set (see the top of this file).

    Returns:
        the data set's name, K, and how many faces were kept and dropped, by reason.

    Raises:
        ValueError: no labels, too many broken ones, too few usable faces, a failed expectation.
    """
    labelled = read_labels(Path(data.labels), data)
    faces = len(labelled.samples) + len(labelled.rejected)
    names = sorted({sample.image for sample in labelled.samples})
    images = check_images(labelled.root, names, validate.max_image_megapixels)
    kept, sifted = sift(labelled.samples, images, validate)
    rejected = [*labelled.rejected, *_renumbered(labelled, sifted)]
    refuse_if_too_broken(data.labels, faces, rejected, validate.max_rejected_fraction)
    dropped = dict(Counter(one.reason for one in rejected).most_common())
    if len(kept) < max(validate.min_faces, 1):
        raise ValueError(
            f"{data.labels}: {len(kept)} usable faces of {faces}, fewer than validate.min_faces"
            f" {validate.min_faces}; dropped: {dropped or 'none'}"
        )
    num_keypoints = len(kept[0].points)
    suites = _evaluate(kept, validate, out_dir / "data_docs")
    write_table(
        table_of(kept),
        out_dir / "samples.parquet",
        name=labelled.name,
        root=str(labelled.root),
        num_keypoints=str(num_keypoints),
    )
    _write_drops(out_dir / "drops.csv", rejected)
    summary = {
        "dataset": labelled.name,
        "num_keypoints": num_keypoints,
        "faces": faces,
        "kept": len(kept),
        "dropped": dropped,
        "broken": sum(one.broken for one in rejected),
        "subjects": len({sample.subject for sample in kept if sample.subject is not None}),
        "images": len({sample.image for sample in kept}),
        "expectations": {name: result.evaluated for name, result in suites.items()},
    }
    text = json.dumps(summary, indent=1, sort_keys=True)
    (out_dir / "report.json").write_text(text + "\n", encoding="utf-8")
    return summary


def _evaluate(
    kept: Sequence[FaceSample], validate: ValidateParams, docs_dir: Path
) -> dict[str, SuiteResult]:
    """Evaluate the suites on the kept faces.

    Raises:
        ValueError: naming every expectation that failed.
    """
    faces, keypoints = face_table(kept), keypoint_table(kept)
    results = evaluate_suites(
        {
            "faces": (faces, face_expectations(list(faces.columns), validate)),
            "keypoints": (keypoints, keypoint_expectations(len(keypoints))),
        },
        docs_dir,
    )
    failed = [line for result in results.values() for line in result.failed]
    if failed:
        raise ValueError(f"{len(failed)} expectations failed: {'; '.join(failed)}")
    return results


def _renumbered(labelled: LabelledSet, sifted: Iterable[Rejected]) -> list[Rejected]:
    """Rejections numbered among the samples, renumbered among all faces of the set."""
    gone = {one.face for one in labelled.rejected}
    total = len(labelled.samples) + len(gone)
    numbers = [number for number in range(total) if number not in gone]
    return [dataclasses.replace(one, face=numbers[one.face]) for one in sifted]


def _write_drops(path: Path, rejected: Iterable[Rejected]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["image", "face", "reason", "detail"])
        for one in sorted(rejected, key=lambda one: one.face):
            rows.writerow([one.image, one.face, one.reason, one.detail])
