"""A whole data set on disk, laid out as Multi-PIE is, with Sloth labels.

Input: a seed and how many subjects and faces. Does: draw who is photographed how, render, write.
Output: ``data/session<SS>/multiview/<SUBJ>/<REC>/<CC_C>/*.png``, ``meta/subject_list.txt``,
``labels.json`` and ``dataset.json``. The bytes depend on the arguments alone: not on time,
machine, workers or versions.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from components.data.synthetic.multipie import (
    CAMERAS,
    KPI_SUBJECTS,
    MOST_FACES_PER_SUBJECT,
    RECORDINGS,
    draw_photographs,
    draw_subjects,
)
from components.data.synthetic.png import encode_png
from components.data.synthetic.population import draw_face, draw_identity
from components.data.synthetic.render import render_face
from components.data.synthetic.spec import EXPRESSIONS, RenderedFace
from components.progress import report

_Subject = tuple[list[dict[str, object]], int]


def render_dataset(
    out_dir: Path, *, seed: int, subjects: int, faces_per_subject: int, workers: int
) -> dict[str, int]:
    """Render the data set of ``seed`` into the empty folder ``out_dir``.

    Args:
        subjects: training subjects, beside the 23 KPI subjects.
        faces_per_subject: photographs of each.
        workers: processes; they change the time it takes and nothing else.

    Returns:
        How many subjects, KPI subjects, faces, and faces above occlusion level 5 there are.

    Raises:
        ValueError: ``out_dir`` holds something, or a count is out of range.
    """
    if any(out_dir.iterdir()):
        raise ValueError(f"{out_dir} is not empty; the data set needs a folder of its own")
    if not 1 <= faces_per_subject <= MOST_FACES_PER_SUBJECT:
        raise ValueError(
            f"faces_per_subject is {faces_per_subject}; choose 1 to {MOST_FACES_PER_SUBJECT}"
        )
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    everyone = sorted([*KPI_SUBJECTS, *draw_subjects(seed, subjects)])
    render = functools.partial(render_subject, out_dir, seed, faces_per_subject)
    labels: list[dict[str, object]] = []
    heavily_occluded = 0
    for records, heavy in _mapped(render, everyone, workers):
        labels += records
        heavily_occluded += heavy
        report(len(labels), len(everyone) * faces_per_subject, "faces")
    _write_text(out_dir / "labels.json", _json_lines(labels))
    _write_text(out_dir / "meta" / "subject_list.txt", "".join(f"{n:03d}\n" for n in everyone))
    _write_text(out_dir / "dataset.json", '{"name": "synthetic"}\n')
    return {
        "subjects": len(everyone),
        "kpi_subjects": len(KPI_SUBJECTS),
        "faces": len(labels),
        "occlusion_above_5": heavily_occluded,
    }


def render_subject(out_dir: Path, seed: int, count: int, subject: int) -> _Subject:
    """Write one subject's images; their label records, and how many are above occlusion level 5."""
    who = draw_identity(seed, subject)
    records, heavy = [], 0
    for photograph in draw_photographs(seed, subject, count):
        yaw, height, _ = CAMERAS[photograph.camera]
        take = (photograph.session, photograph.recording)
        camera_number = int(photograph.camera.replace("_", ""))
        name = (seed, 23, subject, *take, camera_number, photograph.illumination)
        face = draw_face(
            who, EXPRESSIONS[RECORDINGS[take]], (yaw, height), photograph.illumination, name
        )
        rendered = render_face(face)
        path = out_dir / photograph.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(rendered.image))
        records.append(label_record(photograph.path(), rendered))
        heavy += rendered.occlusion_level > 5
    return records, heavy


def label_record(filename: str, face: RenderedFace) -> dict[str, object]:
    """The Sloth record of one image: coordinates in image pixels, to a thousandth."""
    x, y, width, height = (round(value, 3) for value in face.face_box)
    box = {
        "class": "FaceBbox",
        "face_tight_bboxx": x,
        "face_tight_bboxy": y,
        "face_tight_bboxwidth": width,
        "face_tight_bboxheight": height,
        "Occlusion": face.occlusion_level,
    }
    fiducials: dict[str, object] = {"class": "FiducialPoints"}
    for number, ((px, py), seen) in enumerate(
        zip(face.points.tolist(), face.visible, strict=True), 1
    ):
        fiducials[f"P{number}x"] = round(px, 3)
        fiducials[f"P{number}y"] = round(py, 3)
        if not seen:
            fiducials[f"P{number}occluded"] = True
    return {"filename": filename, "class": "image", "annotations": [box, fiducials]}


def _mapped(
    render: Callable[[int], _Subject], everyone: Sequence[int], workers: int
) -> Iterator[_Subject]:
    """``render`` of each subject, in order."""
    if workers == 1:
        yield from map(render, everyone)
        return
    # A fresh interpreter a worker: a fork would copy the locks of whatever threads the caller runs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(render, everyone)


def _json_lines(records: Sequence[object]) -> str:
    """One JSON list with a record a line, so that two versions can be compared line by line."""
    return "[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n"


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("ascii"))
