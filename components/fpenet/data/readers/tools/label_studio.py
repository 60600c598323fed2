"""Reader and writer of Label Studio's JSON export: tasks with annotations of keypoints, in percent.

Input: a JSON list of tasks. Numbers in ``keypointlabels`` are 1-based keypoints; a region with the
choice ``occluded`` is hidden; a rectangle is the face box; a choice 0 to 9 without a region is the
occlusion level of the face. Label Studio's 0 % is the left (top) edge of the image, so a point is
at percent / 100 * size - 0.5 (pixel centres at integers). Predictions and cancelled annotations are
not read. A browser shows an image turned by its EXIF orientation; ``original_width`` and
``original_height`` are those of the image as it was shown. Output: one LabelledFace for each
annotation, with its labeller. Source: Label Studio's task format.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from fpenet.data.labelling.tasks import IMAGE_URL, results_of
from fpenet.data.readers.json_records import read_records
from fpenet.data.readers.label_source import LABELS, LabelSource
from fpenet.data.readers.labelled_set import MAX_POINTS, Box, LabelledFace, UnreadFace
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, FaceSample, Floats


def is_label_studio(source: LabelSource, file: Path) -> bool:
    """Whether the file is a list of tasks."""
    records = source.peek(file)
    tasks = [r for r in records if isinstance(r, Mapping)] if isinstance(records, list) else []
    return any("data" in task and "filename" not in task for task in tasks)


def detects_label_studio(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_label_studio, source), ".json")


def read_label_studio(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of an export, in order.

    Raises:
        InputError: there is no label file, or one is not a JSON list.
    """
    accepts = partial(is_label_studio, source)
    for file in source.select("Label Studio export", accepts, ".json"):
        for record in read_records(file):
            where = f"{source.where(file)}, task {record.row}"
            image = "None"
            try:
                if record.problem:
                    raise Refusal("label", record.problem)
                image, subject, annotations = _task(record.value, source, file)
            except Refusal as refusal:
                yield UnreadFace(image, where, refusal)
                continue
            for number, annotation in enumerate(annotations, start=1):
                if annotation.get("was_cancelled"):
                    continue
                row = f"{where}, annotation {number}"
                labeller = _labeller(annotation.get("completed_by"))
                about: dict[str, str | float] = {"labeller": labeller} if labeller else {}
                try:
                    points, visible, box, level = _face(annotation)
                    size = _labelled_size(annotation)
                    yield LabelledFace(
                        image, row, points, visible, box, level, subject, about, size, True
                    )
                except Refusal as refusal:
                    yield UnreadFace(image, row, refusal)


def _task(
    task: Any, source: LabelSource, file: Path
) -> tuple[str, str | None, list[Mapping[str, Any]]]:
    data = task.get("data") if isinstance(task, Mapping) else None
    if not isinstance(data, Mapping):
        raise Refusal("label", "has no object data; it must be a Label Studio task")
    image = source.image(data.get("filename") or data.get("image"), file)
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        raise Refusal("label", "has no list annotations; export the whole JSON, not JSON_MIN")
    objects = [value for value in annotations if isinstance(value, Mapping)]
    if len(objects) != len(annotations):
        raise Refusal("label", "an annotation is no object")
    if all(annotation.get("was_cancelled") for annotation in objects):
        raise Refusal("no keypoints", "not labelled yet", broken=False)
    subject = data.get("subject")
    return image, None if subject is None else str(subject), objects


def _labeller(value: Any) -> str | None:
    name = value.get("email") or value.get("id") if isinstance(value, Mapping) else value
    return None if name is None else str(name)


def _face(
    annotation: Mapping[str, Any],
) -> tuple[Floats, Bools, Box | None, int | None]:
    results = annotation.get("result")
    if not isinstance(results, list):
        raise Refusal("label", "an annotation without a list result")
    positions: dict[int, tuple[float, float]] = {}
    regions: dict[Any, int] = {}
    hidden: set[Any] = set()
    box: Box | None = None
    level: int | None = None
    for result in results:
        value = result.get("value") if isinstance(result, Mapping) else None
        if not isinstance(value, Mapping):
            raise Refusal("label", "a result without an object value")
        kind = result.get("type")
        if kind == "keypointlabels":
            number = _number_of(value)
            if number in positions:
                raise Refusal("keypoint number", f"keypoint {number} is repeated")
            width, height = _percent_size(result)
            positions[number] = (
                _coordinate(value, "x") * width - 0.5,
                _coordinate(value, "y") * height - 0.5,
            )
            regions[result.get("id")] = number
        elif kind == "rectanglelabels":
            if box is not None:
                raise Refusal("face box", "two rectangles; a face has one")
            width, height = _percent_size(result)
            x, y, w, h = (_coordinate(value, key) for key in ("x", "y", "width", "height"))
            if not (w > 0 and h > 0):
                raise Refusal(
                    "face box", f"rectangle is {w:g} x {h:g} of the image; it has no area"
                )
            box = (x * width - 0.5, y * height - 0.5, w * width, h * height)
        elif kind == "choices":
            chosen = value.get("choices")
            chosen = chosen if isinstance(chosen, list) else [chosen]
            if "occluded" in chosen:
                hidden.add(result.get("id"))
            elif len(chosen) == 1 and str(chosen[0]).isascii() and str(chosen[0]).isdigit():
                level = int(chosen[0])
                if level > 9:
                    raise Refusal("occlusion level", f"occlusion is {level}; it must be 0 to 9")
    if not positions:
        raise Refusal("no keypoints", "an annotation without a keypoint", broken=False)
    points = np.full((max(positions), 2), np.nan)
    visible = np.zeros(max(positions), np.bool_)
    for number, position in positions.items():
        points[number - 1], visible[number - 1] = position, True
    for region in hidden & regions.keys():
        visible[regions[region] - 1] = False
    return points, visible, box, level


def _labelled_size(annotation: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) of the image as the browser showed it; None where the results differ."""
    both = [
        (result.get("original_width"), result.get("original_height"))
        for result in annotation["result"]
    ]
    sizes = {(w, h) for w, h in both if isinstance(w, int) and isinstance(h, int)}
    return sizes.pop() if len(sizes) == 1 else None


def _number_of(value: Mapping[str, Any]) -> int:
    names = value.get("keypointlabels")
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not (isinstance(name, str) and name.isascii() and name.isdigit() and len(name) < 10):
        raise Refusal("keypoint number", f"keypointlabels is {names!r}; it must be one number")
    if not 1 <= int(name) <= MAX_POINTS:
        raise Refusal("keypoint number", f"{name}: keypoints are numbered from 1 to {MAX_POINTS}")
    return int(name)


def _percent_size(result: Mapping[str, Any]) -> tuple[float, float]:
    size = result.get("original_width"), result.get("original_height")
    if not all(isinstance(side, int) and 0 < side < 1 << 20 for side in size):
        raise Refusal("label", f"original_width and original_height are {size}; they must be px")
    if result.get("image_rotation"):
        raise Refusal("label", f"image_rotation is {result['image_rotation']}; it must be 0")
    return float(cast(int, size[0])), float(cast(int, size[1]))


def _coordinate(value: Mapping[str, Any], key: str) -> float:
    """``value[key]``, in percent, as a fraction."""
    number = value.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise Refusal("coordinate", f"{key} is {number!r}; it must be a finite percentage")
    return float(number) / 100.0


def write_label_studio(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write ``folder/labels.json``, one task for each image and one annotation for each face."""
    tasks: dict[str, dict[str, Any]] = {}
    for sample in samples:
        data = {"image": IMAGE_URL + sample.image, "filename": sample.image}
        task = tasks.setdefault(sample.image, {"data": data, "annotations": [], "predictions": []})
        task["annotations"].append(
            {
                "result": results_of(
                    sample.points,
                    sample.visible,
                    sample.image_size,
                    sample.face_box,
                    sample.occlusion_level,
                )
            }
        )
    text = json.dumps(list(tasks.values()), allow_nan=False)
    (folder / LABELS).write_text(text + "\n", encoding="utf-8")
    return {}
