"""``fpenet labels export``: the faces whose labels need a review, as Label Studio tasks.

Input: a labelled set, a model, and optionally the findings of stage validate. Does: ranks the faces
by the mean distance between labels and model. Output: a folder with ``tasks.json`` (the model's
points and the present labels as pre-annotations), ``interface.xml``, ``guide.html`` and the images.
Source: Label Studio's task format; FPENet model card (a second annotator checks the labels).
"""

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.images import place_image, read_grey
from fpenet.data.labelling.guide import guide_page
from fpenet.data.labelling.interface import interface_xml
from fpenet.data.labelling.tasks import IMAGE_URL, results_of
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.sample import Bools, FaceSample, Floats
from fpenet.deploy.runtime.landmarker import Landmarker


@dataclass(frozen=True, slots=True)
class RankedFace:
    """A face with the model's prediction.

    Attributes:
        points: (K, 2) the model's keypoints, image pixels.
        confidence: mean confidence of the keypoints.
        distance: mean distance between labels and model over the labelled points, divided by the
            longer side of the face box.
    """

    sample: FaceSample
    points: Floats
    confidence: float
    distance: float


def judge_labels(labelled: LabelledSet, landmarker: Landmarker) -> list[RankedFace]:
    """The faces of the set, sorted by their distance, the largest first.

    Raises:
        InputError: the model has another number of keypoints, or an image cannot be read.
    """
    if landmarker.num_keypoints != labelled.num_keypoints:
        raise InputError(
            f"the model has {landmarker.num_keypoints} keypoints; the labels have"
            f" {labelled.num_keypoints}"
        )
    ranked: list[RankedFace] = []
    for sample in labelled.samples:
        grey = read_grey(labelled.root / sample.image, turn=sample.turn)
        (face,) = landmarker.keypoints(grey, sample.face_box)
        distances = np.linalg.norm(face.keypoints - sample.points, axis=1)
        distance = float(np.nanmean(distances)) / max(sample.face_box[2:])
        ranked.append(RankedFace(sample, face.keypoints, float(face.confidence.mean()), distance))
        report(len(ranked), len(labelled.samples), "faces")
    return sorted(ranked, key=lambda face: -face.distance)


def export_tasks(
    labelled: LabelledSet,
    landmarker: Landmarker,
    count: int,
    out_dir: Path,
    findings: Path | None = None,
    image_url: str = IMAGE_URL,
) -> dict[str, Any]:
    """Write the ``count`` faces with the largest distance, and every face of ``findings``.

    Args:
        findings: findings.csv of stage validate.
        image_url: prefix of the URLs; the path of an image below ``out_dir`` follows.

    Returns:
        the number of faces, of tasks and of tasks by findings, and the largest distance.

    Raises:
        InputError: ``out_dir`` exists, the model has another number of keypoints, or ``findings``
            has other columns.
    """
    if out_dir.exists():
        raise InputError(f"{out_dir} exists; name a new folder")
    checks = _read_findings(findings) if findings else {}
    chosen: list[tuple[RankedFace, list[str]]] = []
    for rank, face in enumerate(judge_labels(labelled, landmarker)):
        reasons = sorted(checks.get(face.sample.image, ()))
        if rank < count:
            reasons.insert(0, f"{100 * face.distance:.1f} % of the face from the model")
        if reasons:
            chosen.append((face, reasons))
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    name = landmarker.model.name
    tasks = [_task(face, reasons, name, image_url) for face, reasons in chosen]
    _write_json(partial / "tasks.json", tasks)
    num_keypoints = labelled.num_keypoints
    (partial / "interface.xml").write_text(interface_xml(num_keypoints), encoding="utf-8")
    guide = guide_page(num_keypoints, labelled.scheme)
    (partial / "guide.html").write_text(guide, encoding="utf-8")
    for image, turn in {face.sample.image: face.sample.turn for face, _ in chosen}.items():
        place_image(labelled.root / image, partial / image, turn)
    partial.rename(out_dir)
    return {
        "faces": len(labelled.samples),
        "tasks": len(tasks),
        "by_findings": sum(bool(checks.get(face.sample.image)) for face, _ in chosen),
        "farthest": chosen[0][0].distance if chosen else None,
    }


def _task(face: RankedFace, reasons: Sequence[str], model: str, image_url: str) -> dict[str, Any]:
    sample = face.sample
    all_visible: Bools = np.ones(len(face.points), np.bool_)
    data = {
        "image": image_url + sample.image,
        "filename": sample.image,
        "subject": sample.subject,
        "why": "; ".join(reasons),
        "distance": round(face.distance, 5),
    }
    versions = {
        "model": (face.points, all_visible),
        "labels": (sample.points, sample.visible),
    }
    predictions = [
        {
            "model_version": model if kind == "model" else kind,
            "score": round(face.confidence, 5) if kind == "model" else 0.0,
            "result": results_of(
                points, visible, sample.image_size, sample.face_box, sample.occlusion_level
            ),
        }
        for kind, (points, visible) in versions.items()
    ]
    return {"data": data, "predictions": predictions}


def _read_findings(path: Path) -> Mapping[str, set[str]]:
    """Image -> the names of the checks that have a finding in it."""
    checks: dict[str, set[str]] = defaultdict(set)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"image", "check"} <= set(rows.fieldnames or ()):
            raise InputError(f"{path}: columns are {rows.fieldnames}; it must have image and check")
        for row in rows:
            checks[row["image"]].add(row["check"])
    return checks


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
