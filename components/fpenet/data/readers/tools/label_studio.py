"""Reader and writer of Label Studio's JSON and JSON_MIN exports: keypoints in percent.

Input: a JSON list of tasks. A label in ``keypointlabels`` is the number of a keypoint or its name;
names have the order of the scheme file, of the labelling config beside the export, or of first use.
A region with the choice ``occluded`` is hidden; a rectangle is a face box; a choice 0 to 9 is the
occlusion level of its rectangle's face, or of every face of the annotation. Faces: see
``named_points``. Label Studio's 0 % is the left (top) edge of the image, so a point is at
percent / 100 * size - 0.5 (pixel centres at integers). A browser shows an image turned by its EXIF
orientation; ``original_width`` and ``original_height`` are those of the image as it was shown.
Predictions and cancelled annotations are not read. Output: the faces of each annotation, with its
labeller. Source: Label Studio's task format.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from fpenet.data.labelling.tasks import IMAGE_URL, results_of
from fpenet.data.readers.image_names import is_image, parse_image_name
from fpenet.data.readers.json_records import read_records
from fpenet.data.readers.label_source import LABELS, LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.data.readers.tools.label_studio_config import LabellingConfig, labelling_config
from fpenet.data.readers.tools.label_studio_min import is_json_min, task_of_json_min
from fpenet.data.readers.tools.named_points import (
    NamedFace,
    NamedPoint,
    Rectangle,
    Value,
    box_and_attributes,
    face_rectangles,
    faces_of_points,
    read_named_faces,
)
from fpenet.data.rejected import Refusal
from fpenet.data.sample import FaceSample

_HIDDEN = {"occluded", "hidden", "invisible", "not visible"}


def is_label_studio(source: LabelSource, file: Path) -> bool:
    """Whether the file is a list of tasks, or of annotations of a JSON_MIN export."""
    records = source.peek(file)
    tasks = [r for r in records if isinstance(r, Mapping)] if isinstance(records, list) else []
    return any(
        is_json_min(task) or ("filename" not in task and isinstance(task.get("data"), Mapping))
        for task in tasks
    )


def detects_label_studio(source: LabelSource) -> bool:
    """Whether there is such a file."""
    return source.has(partial(is_label_studio, source), ".json")


def read_label_studio(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of an export, in order.

    Raises:
        InputError: there is no label file, or one is not a JSON list; the labelling config or the
            scheme file is broken.
    """
    files = source.select("Label Studio export", partial(is_label_studio, source), ".json")
    config = labelling_config([file.parent for file in files])
    faces = [face for file in files for face in _faces_of_file(source, file, config)]
    return read_named_faces(source, faces, config.names, config.file, shown_upright=True)


def _faces_of_file(
    source: LabelSource, file: Path, config: LabellingConfig
) -> Iterator[NamedFace | UnreadFace]:
    for record in read_records(file):
        where = f"{source.where(file)}, task {record.row}"
        image = "None"
        try:
            if record.problem:
                raise Refusal("label", record.problem)
            task = task_of_json_min(record.value) if is_json_min(record.value) else record.value
            image, subject, annotations = _task(task, source, file, config)
        except Refusal as refusal:
            yield UnreadFace(image, where, refusal)
            continue
        for number, annotation in enumerate(annotations, start=1):
            if annotation.get("was_cancelled"):
                continue
            row = f"{where}, annotation {number}"
            labeller = _labeller(annotation.get("completed_by"))
            about: dict[str, Value] = {"labeller": labeller} if labeller else {}
            try:
                yield from _faces(annotation, image, row, about | subject)
            except Refusal as refusal:
                yield UnreadFace(image, row, refusal)


def _task(
    task: Any, source: LabelSource, file: Path, config: LabellingConfig
) -> tuple[str, dict[str, Value], list[Mapping[str, Any]]]:
    data = task.get("data") if isinstance(task, Mapping) else None
    if not isinstance(data, Mapping):
        raise Refusal("label", "has no object data; it must be a Label Studio task")
    image = _image(data, task.get("file_upload"), source, file, config)
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        raise Refusal("label", f"annotations is {annotations!r}; it must be a list")
    objects = [value for value in annotations if isinstance(value, Mapping)]
    if len(objects) != len(annotations):
        raise Refusal("label", "an annotation is no object")
    if all(annotation.get("was_cancelled") for annotation in objects):
        raise Refusal("no keypoints", "not labelled yet", broken=False)
    subject = data.get("subject")
    return image, {} if subject is None else {"subject": str(subject)}, objects


def _image(
    data: Mapping[str, Any], upload: Any, source: LabelSource, file: Path, config: LabellingConfig
) -> str:
    """The image of a task: of ``filename`` or ``image``, of the key in the config, or of the only
    value that names an image."""
    keys = [key for key in ("filename", "image", *config.image_keys) if data.get(key)]
    if not keys:
        keys = [key for key, value in data.items() if _names_image(value)]
        if len(keys) > 1:
            raise Refusal(
                "image name",
                f"data names images in {', '.join(keys)}; a labelling config (config.xml) beside"
                ' the export says which is shown: <Image name="image" value="$KEY"/>',
            )
    names = [data[key] for key in keys] + ([upload] if upload else [])
    first: Refusal | None = None
    for name in names:
        try:
            return source.image(name, file)
        except Refusal as refusal:
            first = first or refusal
    raise first or Refusal(
        "image name", f"data has the keys {', '.join(data)}; none names an image"
    )


def _names_image(value: Any) -> bool:
    try:
        return is_image(parse_image_name(value).path)
    except (Refusal, ValueError):
        return False


def _labeller(value: Any) -> str | None:
    name = value.get("email") or value.get("id") if isinstance(value, Mapping) else value
    return None if name is None else str(name)


def _faces(
    annotation: Mapping[str, Any], image: str, where: str, about: Mapping[str, Value]
) -> Iterator[NamedFace]:
    results = annotation.get("result")
    if not isinstance(results, list):
        raise Refusal("label", "an annotation without a list result")
    if not all(isinstance(r, Mapping) and isinstance(r.get("value"), Mapping) for r in results):
        raise Refusal("label", "a result without an object value")
    parents = {r.get("id"): r["parentID"] for r in results if r.get("parentID")}
    hidden, levels = _choices(results)
    points: list[NamedPoint] = []
    rectangles: list[tuple[str, Rectangle]] = []
    size: tuple[int, int] | None = None
    for result in results:
        value, key = result["value"], result.get("id")
        if _is_point(result):
            size = size or _size(result)
            width, height = _size(result)
            x, y = _fraction(value, "x") * width - 0.5, _fraction(value, "y") * height - 0.5
            group = _top(key, parents) if key in parents else None
            points.append(NamedPoint(_label(result), x, y, key in hidden, group))
        elif result.get("type") == "rectanglelabels":
            width, height = _size(result)
            x, y, w, h = (_fraction(value, side) for side in ("x", "y", "width", "height"))
            if not (w > 0 and h > 0):
                raise Refusal(
                    "face box", f"rectangle is {w:g} x {h:g} of the image; it has no area"
                )
            box = (x * width - 0.5, y * height - 0.5, w * width, h * height)
            level = {"occlusion_level": levels[key]} if key in levels else {}
            group = None if key is None else _top(key, parents)
            rectangles.append((str(value.get("rectanglelabels")), Rectangle(box, group, level)))
    if not points:
        raise Refusal("no keypoints", "an annotation without a keypoint", broken=False)
    of_all = {"occlusion_level": levels[None]} if None in levels else {}
    faces = faces_of_points(points, face_rectangles(rectangles))
    for number, (its_points, rectangle) in enumerate(faces, start=1):
        row = f"{where}, face {number}" if len(faces) > 1 else where
        face_box, more = box_and_attributes(rectangle)
        yield NamedFace(image, row, its_points, face_box, {**about, **of_all, **more}, size)


def _choices(results: Sequence[Mapping[str, Any]]) -> tuple[set[Any], dict[Any, float]]:
    """The ids of hidden regions; id of a rectangle -> occlusion level, None for all faces."""
    boxes = {r.get("id") for r in results if r.get("type") == "rectanglelabels"} - {None}
    hidden: set[Any] = set()
    levels: dict[Any, float] = {}
    for result in results:
        if result.get("type") != "choices":
            continue
        chosen = result["value"].get("choices")
        chosen = chosen if isinstance(chosen, list) else [chosen]
        if _HIDDEN & {str(choice).casefold() for choice in chosen}:
            hidden.add(result.get("id"))
        elif len(chosen) == 1 and str(chosen[0]).isascii() and str(chosen[0]).isdigit():
            if int(chosen[0]) > 9:
                raise Refusal("occlusion level", f"occlusion is {chosen[0]}; it must be 0 to 9")
            levels[result.get("id") if result.get("id") in boxes else None] = int(chosen[0])
    return hidden, levels


def _is_point(result: Mapping[str, Any]) -> bool:
    value = result["value"]
    is_labelled = result.get("type") == "labels" and "x" in value and "height" not in value
    return result.get("type") == "keypointlabels" or is_labelled


def _label(result: Mapping[str, Any]) -> str:
    names = result["value"].get(result["type"])
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(name, str) or not name.strip():
        raise Refusal("keypoint name", f"{result['type']} is {names!r}; it must be one label")
    return name.strip()


def _top(key: Any, parents: Mapping[Any, Any]) -> str:
    """The outermost parent of a region."""
    seen: set[Any] = set()
    while key in parents and key not in seen:
        seen.add(key)
        key = parents[key]
    return str(key)


def _size(result: Mapping[str, Any]) -> tuple[int, int]:
    size = result.get("original_width"), result.get("original_height")
    if not all(isinstance(side, int) and 0 < side < 1 << 20 for side in size):
        raise Refusal("label", f"original_width and original_height are {size}; they must be px")
    if result.get("image_rotation"):
        raise Refusal("label", f"image_rotation is {result['image_rotation']}; it must be 0")
    return cast(int, size[0]), cast(int, size[1])


def _fraction(value: Mapping[str, Any], key: str) -> float:
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
