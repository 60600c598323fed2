"""A whole data set on disk, in the layout of Multi-PIE.

Input: a seed, numbers of subjects and faces, views. Does: sample, render, write. Output:
``data/session<SS>/multiview/<SUBJ>/<REC>/<CC_C>/*.png``, ``labels.json`` (Sloth, all keypoints and
their visibility), ``MPie_Labels/labels/<CCC>/*_lm.mat`` (68 or 39 points, one a capture),
``meta/subject_list.txt``, ``attributes.csv``, ``dataset.json`` and, where the keypoints are not the
card's, ``scheme.json``. The bytes depend on the arguments alone: not on time, machine, workers or
versions.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from synthface.head.landmarks import NUM_KEYPOINTS
from synthface.head.scheme import VertexScheme, scheme_points, with_scheme
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
from synthface.population import sample_face, sample_identity
from synthface.records import (
    about_face,
    csv_text,
    json_lines,
    mat_label,
    sloth_record,
)
from synthface.rendering.render import render_face
from synthface.spec import EXPRESSIONS, Expression, Identity


@dataclass(slots=True)
class _Subject:
    """Labels and attributes of one subject's images.

    Attributes:
        labels: Sloth records. about: rows of ``attributes.csv``.
        heavily_occluded: number of faces above occlusion level 5.
    """

    labels: list[dict[str, object]] = field(default_factory=list)
    about: list[dict[str, object]] = field(default_factory=list)
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
    everyone = sorted([*KPI_SUBJECTS, *sample_subjects(seed, subjects)])
    sample_photographs(seed, everyone[0], faces_per_subject, views)
    if scheme is not None:
        scheme_points(scheme, Identity(), Expression())
    return everyone


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
        subjects: training subjects, in addition to the 23 KPI subjects.
        faces_per_subject: photographs of each.
        workers: processes; the result does not depend on their number.
        views: cameras and groups of cameras, keys of ``VIEWS``.
        scheme: keypoints that are labelled instead of the default 104.
        progress: called with the faces that are done and all faces.

    Returns:
        How many subjects, KPI subjects, cameras, faces, and faces above occlusion level 5 there
        are.

    Raises:
        ValueError: ``out_dir`` is not empty, or an argument is out of range.
    """
    if any(out_dir.iterdir()):
        raise ValueError(f"{out_dir} is not empty; the data set needs a folder of its own")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    everyone = checked_subjects(seed, subjects, faces_per_subject, views, scheme)
    render = functools.partial(
        render_subject, out_dir, seed, faces_per_subject, tuple(views), scheme
    )
    whole = _Subject()
    for done, subject_files in enumerate(_mapped(render, everyone, workers), 1):
        whole.labels += subject_files.labels
        whole.about += subject_files.about
        whole.heavily_occluded += subject_files.heavily_occluded
        if progress is not None:
            progress(done * faces_per_subject, len(everyone) * faces_per_subject)
    _write_text(out_dir / "labels.json", json_lines(whole.labels))
    _write_text(out_dir / "attributes.csv", csv_text(whole.about))
    _write_text(out_dir / "meta" / "subject_list.txt", "".join(f"{n:03d}\n" for n in everyone))
    about = {"name": "synthetic", "scheme": str(NUM_KEYPOINTS)}
    if scheme is not None:
        about = {"name": f"synthetic-{scheme.name}"[:64], "scheme": scheme.name}
    _write_text(out_dir / "dataset.json", json.dumps(about) + "\n")
    return {
        "subjects": len(everyone),
        "kpi_subjects": len(KPI_SUBJECTS),
        "cameras": len(cameras_of(views)),
        "faces": len(whole.labels),
        "occlusion_above_5": whole.heavily_occluded,
    }


def render_subject(
    out_dir: Path,
    seed: int,
    count: int,
    views: Sequence[str],
    scheme: VertexScheme | None,
    subject: int,
) -> _Subject:
    """Write one subject's images and ``_lm.mat`` labels."""
    identity = sample_identity(seed, subject)
    subject_files = _Subject()
    labelled: set[str] = set()
    for photograph in sample_photographs(seed, subject, count, views):
        camera = photograph.camera
        yaw, height, _ = CAMERAS[camera]
        take = (photograph.session, photograph.recording)
        # Without the illumination: the 20 images of a capture show the same moment.
        name = (seed, 23, subject, *take, int(camera.replace("_", "")))
        expression = EXPRESSIONS[RECORDINGS[take]]
        face = sample_face(identity, expression, (yaw, height), photograph.illumination, name)
        rendered = render_face(face)
        _write(out_dir / photograph.path(), encode_png(rendered.image))
        if photograph.capture not in labelled:
            labelled.add(photograph.capture)
            points = rendered.points[list(labelled_keypoints(camera))]
            _write(out_dir / photograph.label_path(), mat_label(points))
        if scheme is not None:
            rendered = with_scheme(rendered, face, scheme)
        subject_files.labels.append(sloth_record(photograph.path(), rendered))
        subject_files.about.append({"filename": photograph.path(), **about_face(face)})
        subject_files.heavily_occluded += rendered.occlusion_level > 5
    return subject_files


def _mapped(
    render: Callable[[int], _Subject], everyone: Sequence[int], workers: int
) -> Iterator[_Subject]:
    """``render`` of each subject, in order."""
    if workers == 1:
        yield from map(render, everyone)
        return
    # Spawn a new interpreter per worker: a fork would copy the locks of the caller's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(render, everyone)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_text(path: Path, text: str) -> None:
    _write(path, text.encode("ascii"))
