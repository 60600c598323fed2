"""Reader of AFLW2000-3D and 300W-LP: one MATLAB file with 68 points for each image.

AFLW2000 has ``pt3d_68`` (3, 68), all points, also those that the head hides; its ``pt2d`` (2, 21)
are the points of AFLW, (-1, -1) where hidden. A point of the 68 is marked hidden where the AFLW
points of its part of the face are all hidden. 300W-LP has ``pt2d`` (2, 68). ``Pose_Para`` starts
with pitch, yaw and roll in radians, yaw positive where the face turns to the left of the image;
here yaw is in degrees and positive to the right. MATLAB numbers pixels from 1: 1 is subtracted.
Source: Zhu et al., Face Alignment Across Large Poses (2016).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, Floats

NUM_KEYPOINTS = 68
_MOST_BYTES = 1 << 20
_VARIABLES = ("pt3d_68", "pt2d", "Pose_Para")
_MATLAB_5 = b"MATLAB 5.0 MAT-file"
# AFLW's points (0-based) -> the keypoints of the 68 that are hidden where all of these are
_HIDDEN_TOGETHER = {
    (0, 1, 2): tuple(range(17, 22)),
    (3, 4, 5): tuple(range(22, 27)),
    (6, 7, 8): (*range(36, 42), *range(8)),
    (9, 10, 11): (*range(42, 48), *range(9, 17)),
    (13,): (31, 32),
    (15,): (34, 35),
    (17,): (48, 59, 60),
    (19,): (54, 55, 64),
    (20,): (8,),
}


def is_pose_mat(file: Path) -> bool:
    """Whether the file is a MATLAB 5 file with points and pose of a face."""
    from scipy.io import whosmat

    with file.open("rb") as opened:
        if opened.read(len(_MATLAB_5)) != _MATLAB_5 or file.stat().st_size > _MOST_BYTES:
            return False
    try:
        names = {name for name, _, _ in whosmat(file)}
    except Exception:  # SciPy raises many kinds of exceptions on broken files
        return False
    return "Pose_Para" in names and bool({"pt3d_68", "pt2d"} & names)


def detects_aflw2000(source: LabelSource) -> bool:
    """Whether there is such a MATLAB file."""
    return source.has(is_pose_mat, ".mat")


def read_aflw2000(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """The face of each MATLAB file, in the order of the paths.

    Raises:
        InputError: there is no such file.
    """
    source.layouts, source.first_pixel = {NUM_KEYPOINTS: "300-W"}, 1
    what = "MATLAB file with pt3d_68 or pt2d and Pose_Para"
    for file in source.select(what, is_pose_mat, ".mat", all_levels=True):
        where = source.where(file)
        try:
            points, visible, attributes = read_pose_mat(file)
            image = source.image_named_after(file)
            yield LabelledFace(image, where, points, visible, attributes=attributes)
        except Refusal as refusal:
            yield UnreadFace(where, where, refusal)


def read_pose_mat(path: Path) -> tuple[Floats, Bools, dict[str, str | float]]:
    """(68, 2) image pixels, NaN where unlabelled; (68,) visibility; yaw, pitch and roll in degrees.

    Raises:
        Refusal: not such a MATLAB file, or without 68 points.
    """
    from scipy.io import loadmat

    try:
        variables: Mapping[str, Any] = loadmat(path, variable_names=_VARIABLES)
        arrays = {k: np.asarray(variables[k], float) for k in _VARIABLES if k in variables}
    except Exception as error:  # SciPy raises many kinds of exceptions on broken files
        raise Refusal("label", f"{path.name}: cannot be read as a MATLAB file: {error}") from None
    aflw = arrays.get("pt2d", np.zeros((2, 0)))
    given = arrays.get("pt3d_68", aflw)
    if given.ndim != 2 or given.shape[0] < 2 or given.shape[1] != NUM_KEYPOINTS:
        raise Refusal("point layout", f"{path.name}: the points are {given.shape}; must be (2, 68)")
    points: Floats = given[:2].T - 1.0
    points[~np.isfinite(points).all(axis=1) | (given[:2].T == -1.0).all(axis=1)] = np.nan
    visible: Bools = ~np.isnan(points[:, 0])
    if aflw.shape == (2, 21):
        hidden = (aflw == -1.0).all(axis=0)
        for parts, keypoints in _HIDDEN_TOGETHER.items():
            if hidden[list(parts)].all():
                visible[list(keypoints)] = False
    pose = arrays.get("Pose_Para", np.zeros(0)).ravel()[:3]
    if len(pose) < 3 or not np.isfinite(pose).all():
        return points, visible, {}
    pitch, yaw, roll = np.degrees(pose).round(3).tolist()
    return points, visible, {"yaw": -yaw, "pitch": pitch, "roll": roll}
