"""``fpenet labels export``: the faces that a person should look at again, as Label Studio tasks.

Input: a labelled set, a model, and optionally the findings of its validation. Does: ranks the faces
by the mean distance between label and model. Output: a folder with ``tasks.json`` (the model's
points and the present labels as pre-annotations), ``interface.xml``, ``guide.html`` and the images.
Source: Label Studio's task format; FPENet model card (labels are checked by a second person).
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
from fpenet.data.images import place_image
from fpenet.data.labelling.guide import guide_page
from fpenet.data.labelling.interface import interface_xml
from fpenet.data.labelling.tasks import IMAGE_URL, results_of
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.sample import Bools, FaceSample, Floats
from fpenet.deploy.runtime.landmarker import Landmarker


@dataclass(frozen=True, slots=True)
class RankedFace:
    """A face and what the model says of it.

    Attributes:
        points: (K, 2) the model's, image pixels.
        confidence: mean of its keypoints.
        distance: mean from label to model over the labelled points, as a share of the longer side
            of the face box.
    """

    sample: FaceSample
    points: Floats
    confidence: float
    distance: float


def judge_labels(labelled: LabelledSet, landmarker: Landmarker) -> list[RankedFace]:
    """The faces of the set, those farthest from the model first.

    Raises:
        InputError: the model has another number of keypoints, or an image cannot be read.
    """
    if landmarker.num_keypoints != labelled.num_keypoints:
        raise InputError(
            f"the model has {landmarker.num_keypoints} keypoints; the labels have"
            f" {labelled.num_keypoints}"
        )
    judged: list[RankedFace] = []
    for sample in labelled.samples:
        (face,) = landmarker.keypoints(labelled.root / sample.image, sample.face_box)
        way = np.linalg.norm(face.keypoints - sample.points, axis=1)
        distance = float(np.nanmean(way)) / max(sample.face_box[2:])
        judged.append(RankedFace(sample, face.keypoints, float(face.confidence.mean()), distance))
        report(len(judged), len(labelled.samples), "faces")
    return sorted(judged, key=lambda each: -each.distance)


def export_tasks(
    labelled: LabelledSet,
    landmarker: Landmarker,
    count: int,
    out_dir: Path,
    findings: Path | None = None,
    image_url: str = IMAGE_URL,
) -> dict[str, Any]:
    """Write the ``count`` faces farthest from the model, and every face of ``findings``.

    Args:
        findings: findings.csv of the validate stage.
        image_url: what the path of an image below ``out_dir`` is appended to.

    Returns:
        counts.

    Raises:
        InputError: ``out_dir`` exists, the model does not fit, or ``findings`` is no such table.
    """
    if out_dir.exists():
        raise InputError(f"{out_dir} exists; name a new folder")
    why = _read_findings(findings) if findings else {}
    chosen: list[tuple[RankedFace, list[str]]] = []
    for rank, each in enumerate(judge_labels(labelled, landmarker)):
        reasons = sorted(why.get(each.sample.image, ()))
        if rank < count:
            reasons.insert(0, f"{100 * each.distance:.1f} % of the face from the model")
        if reasons:
            chosen.append((each, reasons))
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    name = landmarker.model.name
    tasks = [_task(each, reasons, name, image_url) for each, reasons in chosen]
    _write_json(partial / "tasks.json", tasks)
    count_points = labelled.num_keypoints
    (partial / "interface.xml").write_text(interface_xml(count_points), encoding="utf-8")
    (partial / "guide.html").write_text(guide_page(count_points), encoding="utf-8")
    for image in {each.sample.image for each, _ in chosen}:
        place_image(labelled.root / image, partial / image)
    partial.rename(out_dir)
    return {
        "faces": len(labelled.samples),
        "tasks": len(tasks),
        "by_findings": sum(bool(why.get(each.sample.image)) for each, _ in chosen),
        "farthest": chosen[0][0].distance if chosen else None,
    }


def _task(each: RankedFace, reasons: Sequence[str], model: str, image_url: str) -> dict[str, Any]:
    sample = each.sample
    everything: Bools = np.ones(len(each.points), np.bool_)
    data = {
        "image": image_url + sample.image,
        "filename": sample.image,
        "subject": sample.subject,
        "why": "; ".join(reasons),
        "distance": round(each.distance, 5),
    }
    models = {
        "model": (each.points, everything),
        "labels": (sample.points, sample.visible),
    }
    predictions = [
        {
            "model_version": model if kind == "model" else kind,
            "score": round(each.confidence, 5) if kind == "model" else 0.0,
            "result": results_of(
                points, visible, sample.image_size, sample.face_box, sample.occlusion_level
            ),
        }
        for kind, (points, visible) in models.items()
    ]
    return {"data": data, "predictions": predictions}


def _read_findings(path: Path) -> Mapping[str, set[str]]:
    """Image -> the checks that named a face of it."""
    named: dict[str, set[str]] = defaultdict(set)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"image", "check"} <= set(rows.fieldnames or ()):
            raise InputError(f"{path}: columns are {rows.fieldnames}; it must have image and check")
        for row in rows:
            named[row["image"]].add(row["check"])
    return named


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
