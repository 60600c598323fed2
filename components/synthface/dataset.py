"""A data set on disk, in the layout of Multi-PIE.

Input: a seed, numbers of subjects and faces, views. Does: samples, renders and writes the faces.
Output: ``data/session<SS>/multiview/<SUBJ>/<REC>/<CC_C>/*.png``, ``labels.json`` (Sloth, all
keypoints and their visibility), ``MPie_Labels/labels/<CCC>/*_lm.mat`` (68 or 39 points, one file
for each capture), ``meta/subject_list.txt``, ``attributes.csv`` and ``dataset.json``. The bytes
depend only on the arguments, not on time, machine, number of workers or library versions.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from synthface.geometry.landmarks import NUM_KEYPOINTS
from synthface.geometry.scheme import VertexScheme, scheme_points, with_scheme
from synthface.multipie import (
    CAMERAS,
    KPI_SUBJECTS,
    RECORDINGS,
    cameras_of,
    labelled_keypoints,
    sample_photographs,
    sample_subjects,
)
from synthface.png import encode_png
from synthface.records import (
    csv_text,
    face_attributes,
    json_lines,
    mat_label,
    sloth_record,
)
from synthface.rendering.render import render_face
from synthface.sampling import sample_face, sample_identity
from synthface.spec import EXPRESSIONS, Expression, Identity


@dataclass(slots=True)
class _Subject:
    """Labels and attributes of one subject's images.

    Attributes:
        labels: Sloth records.
        attributes: rows of ``attributes.csv``.
        heavily_occluded: number of faces above occlusion level 5.
    """

    labels: list[dict[str, object]] = field(default_factory=list)
    attributes: list[dict[str, object]] = field(default_factory=list)
    heavily_occluded: int = 0


def checked_subjects(
    seed: int,
    subjects: int,
    faces_per_subject: int,
    views: Sequence[str],
    scheme: VertexScheme | None,
) -> list[int]:
    """The ids of all subjects of a data set, ascending; nothing is rendered.

    Raises:
        ValueError: an argument of ``render_dataset`` is out of range.
    """
    ids = sorted([*KPI_SUBJECTS, *sample_subjects(seed, subjects)])
    sample_photographs(seed, ids[0], faces_per_subject, views)
    if scheme is not None:
        scheme_points(scheme, Identity(), Expression())
    return ids


def render_dataset(
    out_dir: Path,
    *,
    seed: int,
    subjects: int,
    faces_per_subject: int,
    workers: int,
    views: Sequence[str] = ("all",),
    scheme: VertexScheme | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Render the data set of ``seed`` into the empty folder ``out_dir``.

    Args:
        subjects: number of training subjects, in addition to the 23 KPI subjects.
        faces_per_subject: number of photographs of each subject.
        workers: number of processes; the result does not depend on it.
        views: cameras and groups of cameras, keys of ``VIEWS``.
        scheme: keypoints that are labelled instead of the default 104.
        progress: called with the number of rendered faces and of all faces.

    Returns:
        the numbers of subjects, KPI subjects, cameras, faces, and faces above occlusion level 5.

    Raises:
        ValueError: ``out_dir`` is not empty, or an argument is out of range.
    """
    if any(out_dir.iterdir()):
        raise ValueError(f"{out_dir} is not empty; the data set needs an empty folder")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    ids = checked_subjects(seed, subjects, faces_per_subject, views, scheme)
    render = functools.partial(
        render_subject, out_dir, seed, faces_per_subject, tuple(views), scheme
    )
    total = _Subject()
    for done, subject_files in enumerate(_mapped(render, ids, workers), 1):
        total.labels += subject_files.labels
        total.attributes += subject_files.attributes
        total.heavily_occluded += subject_files.heavily_occluded
        if progress is not None:
            progress(done * faces_per_subject, len(ids) * faces_per_subject)
    _write_text(out_dir / "labels.json", json_lines(total.labels))
    _write_text(out_dir / "attributes.csv", csv_text(total.attributes))
    _write_text(out_dir / "meta" / "subject_list.txt", "".join(f"{n:03d}\n" for n in ids))
    about = {"name": "synthetic", "scheme": str(NUM_KEYPOINTS)}
    if scheme is not None:
        about = {"name": f"synthetic-{scheme.name}"[:64], "scheme": scheme.name}
    _write_text(out_dir / "dataset.json", json.dumps(about) + "\n")
    return {
        "subjects": len(ids),
        "kpi_subjects": len(KPI_SUBJECTS),
        "cameras": len(cameras_of(views)),
        "faces": len(total.labels),
        "occlusion_above_5": total.heavily_occluded,
    }


def render_subject(
    out_dir: Path,
    seed: int,
    count: int,
    views: Sequence[str],
    scheme: VertexScheme | None,
    subject: int,
) -> _Subject:
    """Write the images and ``_lm.mat`` labels of one subject; returns its labels and attributes."""
    identity = sample_identity(seed, subject)
    subject_files = _Subject()
    labelled: set[str] = set()
    for photograph in sample_photographs(seed, subject, count, views):
        camera = photograph.camera
        yaw, height, _ = CAMERAS[camera]
        recording = (photograph.session, photograph.recording)
        # The seed is independent of the illumination: a capture has 20 images of one moment.
        face_seed = (seed, 23, subject, *recording, int(camera.replace("_", "")))
        expression = EXPRESSIONS[RECORDINGS[recording]]
        face = sample_face(identity, expression, (yaw, height), photograph.illumination, face_seed)
        rendered = render_face(face)
        _write(out_dir / photograph.path(), encode_png(rendered.image))
        if photograph.capture not in labelled:
            labelled.add(photograph.capture)
            points = rendered.points[list(labelled_keypoints(camera))]
            _write(out_dir / photograph.label_path(), mat_label(points))
        if scheme is not None:
            rendered = with_scheme(rendered, face, scheme)
        subject_files.labels.append(sloth_record(photograph.path(), rendered))
        subject_files.attributes.append({"filename": photograph.path(), **face_attributes(face)})
        subject_files.heavily_occluded += rendered.occlusion_level > 5
    return subject_files


def _mapped(
    render: Callable[[int], _Subject], ids: Sequence[int], workers: int
) -> Iterator[_Subject]:
    """``render`` of each subject, in order."""
    if workers == 1:
        yield from map(render, ids)
        return
    # A new interpreter for each worker: a fork would copy the locks of the caller's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(render, ids)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_text(path: Path, text: str) -> None:
    _write(path, text.encode("ascii"))
