"""Reader of the CMU Multi-PIE tree; subject, camera and illumination come from the file names.

Input: ``[data/]session<SS>/multiview/<SUBJ>/<REC>/<CC_C>/<SUBJ>_<SS>_<REC>_<CCC>_<II>.png`` with
labels in ``labels.json`` (Sloth format, as in the embedded set) or in
``MPie_Labels/labels/<CCC>/*_lm.mat``. Does: applies a ``.mat`` label to every illumination of its
capture (a capture takes 0.7 s); ``labelled_illumination`` is the illumination of the labelled
image. Output: faces with subject, session, recording, expression, camera, yaw (degrees) and
illumination.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.readers.label_source import LABELS, LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.data.readers.tools.sloth import read_sloth
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, Floats

_NAME = re.compile(
    r"(?P<subject>\d{3})_(?P<session>\d\d)_(?P<recording>\d\d)_(?P<camera>\d{3})_(?P<light>\d\d)\b",
    re.ASCII,
)
_SUBJECT = re.compile(
    r"\s*(?P<subject>\d{1,3})[\s,;]+(?P<year>\d{4}|\d\d)\b[\s,;]*(?P<sex>(?:fe)?male|[mf]\b)?",
    re.ASCII | re.IGNORECASE,
)
_MAT_BYTES = 1 << 20
PROFILE_POINTS = 39
"""Number of points in a label of the six profile cameras, beyond 45 degrees."""

# (session, recording) -> expression; camera -> yaw in degrees (docs/fpenet.md, Multi-PIE).
EXPRESSIONS = {
    ("01", "01"): "neutral",
    ("01", "02"): "smile",
    ("02", "01"): "neutral",
    ("02", "02"): "surprise",
    ("02", "03"): "squint",
    ("03", "01"): "neutral",
    ("03", "02"): "smile",
    ("03", "03"): "disgust",
    ("04", "01"): "neutral",
    ("04", "02"): "neutral",
    ("04", "03"): "scream",
}
YAW_DEG = {
    "24_0": 90.0,
    "01_0": 75.0,
    "20_0": 60.0,
    "19_0": 45.0,
    "19_1": 45.0,
    "04_1": 30.0,
    "05_0": 15.0,
    "05_1": 0.0,
    "14_0": -15.0,
    "13_0": -30.0,
    "08_0": -45.0,
    "08_1": -45.0,
    "09_0": -60.0,
    "12_0": -75.0,
    "11_0": -90.0,
}
# Points of one label file -> their 0-based numbers in the 68-point order. A 66-point file has the
# inner mouth corners merged into the outer ones.
_LAYOUTS = {68: tuple(range(68)), 66: tuple(k for k in range(68) if k not in (60, 64))}


def detects_multi_pie(source: LabelSource) -> bool:
    """Whether the folder, or the folder of the label file, is a Multi-PIE tree."""
    root = source.folder
    return any(root.glob("session[0-9][0-9]")) or any(root.glob("data/session[0-9][0-9]"))


def read_subjects(root: Path) -> dict[str, dict[str, str | float]]:
    """Subject -> birth year and sex, from ``meta/subject_list.txt`` if it exists.

    Lines that do not start with a number and a year are skipped, because further columns of the
    file are not documented. A year of two digits belongs to the twentieth century.
    """
    path = root / "meta/subject_list.txt"
    subjects: dict[str, dict[str, str | float]] = {}
    if path.is_file():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            if match := _SUBJECT.match(line):
                year = int(match["year"])
                about: dict[str, str | float] = {"birth_year": float(year + 1900 * (year < 100))}
                if match["sex"]:
                    about["sex"] = "female" if match["sex"].lower().startswith("f") else "male"
                subjects[match["subject"].zfill(3)] = about
    return subjects


def describe_name(image: str) -> tuple[str, dict[str, str | float]]:
    """Subject and attributes from a Multi-PIE file name.

    >>> describe_name("session01/multiview/001/01/05_1/001_01_01_051_07.png")[1]["yaw"]
    0.0

    Raises:
        Refusal: the file name has another format.
    """
    match = _NAME.match(image.rsplit("/", 1)[-1].replace("_crop_128", ""))
    if match is None:
        raise Refusal(
            "image name",
            f"{image}: must be <SUBJ>_<SS>_<REC>_<CCC>_<II>, e.g. 001_01_02_200_06.png",
        )
    camera = f"{match['camera'][:2]}_{match['camera'][2]}"
    attributes: dict[str, str | float] = {
        "session": match["session"],
        "recording": match["recording"],
        "camera": camera,
        "illumination": match["light"],
    }
    expression = EXPRESSIONS.get((match["session"], match["recording"]))
    if expression is not None:
        attributes["expression"] = expression
    if camera in YAW_DEG:
        attributes["yaw"] = YAW_DEG[camera]
    return match["subject"], attributes


def read_multi_pie(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every labelled face of a Multi-PIE tree, in order; if ``source.keypoints`` is 39, only the
    39-point labels of the six profile cameras.

    Raises:
        InputError: the tree has no labels.
    """
    has_json = source.named or (source.folder / LABELS).is_file()
    subjects = read_subjects(source.folder)
    source.layouts = {68: "300-W"}
    for face in read_sloth(source) if has_json else _read_mat_labels(source):
        if isinstance(face, UnreadFace):
            yield face
            continue
        try:
            subject, attributes = describe_name(face.image)
        except Refusal as refusal:
            yield UnreadFace(face.image, face.where, refusal)
            continue
        attributes |= subjects.get(subject, {}) | dict(face.attributes)
        yield replace(face, subject=subject, attributes=attributes)


def _read_mat_labels(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    root = source.folder
    files = sorted(root.glob("MPie_Labels/labels/*/*_lm.mat"))
    if not files:
        raise InputError(
            f"{root}: a Multi-PIE tree without labels; expected {LABELS} or"
            " MPie_Labels/labels/<CCC>/*_lm.mat"
        )
    labelled = {file.name.removesuffix("_lm.mat"): file for file in files}
    tree = "data/" if any(root.glob("data/session*")) else ""
    source.used, source.first_pixel = files, 1
    captures: set[str] = set()
    for name, file in labelled.items():
        where = file.relative_to(root).as_posix()
        capture = name.rpartition("_")[0]
        if capture in captures:
            continue  # read with the first label of the same capture
        captures.add(capture)
        try:
            subject, about = describe_name(name)
            folder = (
                f"{tree}session{about['session']}/multiview/{subject}"
                f"/{about['recording']}/{about['camera']}"
            )
            images = sorted((root / folder).glob(f"{capture}_[0-9][0-9].png"))
            if not images:
                raise Refusal("image missing", f"no {capture}_*.png in {folder}")
        except Refusal as refusal:
            yield UnreadFace(name, where, refusal)
            continue
        for image in images:
            label = labelled.get(image.stem, file)
            where = label.relative_to(root).as_posix()
            path = f"{folder}/{image.name}"
            light = label.name.removesuffix("_lm.mat").rpartition("_")[2]
            try:
                points, visible = read_mat(label, source.keypoints == PROFILE_POINTS)
                face = LabelledFace(source.image(str(image), label), where, points, visible)
                yield replace(face, attributes={"labelled_illumination": light})
            except Refusal as refusal:
                yield UnreadFace(path, where, refusal)


def read_mat(path: Path, profile: bool = False) -> tuple[Floats, Bools]:
    """(68, 2) image points, NaN where the file has none, and (68,) visibility; 39 for a profile.

    MATLAB numbers pixels from 1, so 1 is subtracted from both coordinates.

    Raises:
        Refusal: the file has no variable pts, or a layout of points that is not part of the 68.
    """
    from scipy.io import loadmat

    try:
        if path.stat().st_size > _MAT_BYTES:
            raise InputError(f"larger than {_MAT_BYTES >> 20} MiB")
        points: Any = loadmat(path, variable_names=["pts"])["pts"]
        points = np.asarray(points, dtype=np.float64)
    except Exception as error:  # SciPy raises many kinds of exceptions on other files
        raise Refusal("label", f"{path.name}: no readable variable pts: {error}") from None
    if points.ndim != 2 or points.shape[1] != 2:
        raise Refusal("label", f"{path.name}: pts is {points.shape}; it must be (K, 2)")
    is_profile = len(points) == PROFILE_POINTS
    if is_profile and not profile:
        raise Refusal(
            "profile layout",
            f"{path.name}: 39 points of a profile, which are not part of the 68;"
            " data.keypoints=39 reads only the profiles",
            broken=False,
        )
    if len(points) not in _LAYOUTS and not is_profile:
        raise Refusal(
            "point layout",
            f"{path.name}: {len(points)} points; 68 and 66 map onto the 68-point order, and 39 are"
            " a profile",
        )
    if profile and not is_profile:
        detail = f"{path.name}: {len(points)} points; data.keypoints is 39"
        raise Refusal("frontal layout", detail, broken=False)
    if not np.isfinite(points).all():
        raise Refusal("coordinate", f"{path.name}: pts is not finite everywhere")
    if is_profile:
        return points - 1.0, np.ones(PROFILE_POINTS, np.bool_)
    placed = np.full((68, 2), np.nan)
    placed[list(_LAYOUTS[len(points)])] = points - 1.0
    return placed, ~np.isnan(placed[:, 0])
