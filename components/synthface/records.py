"""Contents of label and attribute files: Sloth records, ``_lm.mat`` labels, ``attributes.csv``."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from synthface.spec import FaceSpec, Floats, RenderedFace

MAT_HEADER = b"MATLAB 5.0 MAT-file, fpenet".ljust(116)
"""Constant header text; the header text of SciPy contains platform and time."""


def sloth_record(filename: str, face: RenderedFace) -> dict[str, object]:
    """The Sloth record of one image: coordinates in image pixels, rounded to 0.001."""
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
    for number, ((px, py), visible) in enumerate(
        zip(face.points.tolist(), face.visible, strict=True), 1
    ):
        fiducials[f"P{number}x"] = round(px, 3)
        fiducials[f"P{number}y"] = round(py, 3)
        if not visible:
            fiducials[f"P{number}occluded"] = True
    return {"filename": filename, "class": "image", "annotations": [box, fiducials]}


def mat_label(points: Floats) -> bytes:
    """A MATLAB file with ``pts``: points (K, 2) rounded to 0.001 pixels, the first pixel is 1.

    Its bytes depend only on the points.
    """
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, {"pts": np.round(points, 3) + 1.0})
    return MAT_HEADER + file.getvalue()[len(MAT_HEADER) :]


def face_attributes(face: FaceSpec) -> dict[str, str | float]:
    """Column of ``attributes.csv`` -> value: the attributes that the file name does not contain.

    Angles are those of the head relative to the camera, degrees. The three values of ``skin`` are
    ranges of the albedo.
    """
    identity = face.identity
    return {
        "head_yaw": round(face.yaw_deg, 1),
        "head_pitch": round(face.pitch_deg, 1),
        "head_roll": round(face.roll_deg, 1),
        "skin": "dark"
        if identity.skin_albedo < 0.5
        else "medium"
        if identity.skin_albedo < 0.65
        else "light",
        "glasses": "yes" if identity.glasses else "no",
        "beard": "yes" if identity.stubble > 0.0 else "no",
        "hat": "no" if identity.hat is None else "yes",
        "age": round(identity.age),
        "sex": identity.sex,
        "held_before": face.occluder.kind if face.occluder else "nothing",
    }


def csv_text(rows: Iterable[Mapping[str, object]]) -> str:
    """``rows`` as a CSV file; all have the columns of the first."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow(row.values())
    return file.getvalue()


def json_lines(records: Sequence[object]) -> str:
    """A JSON list with one record on each line, so that ``diff`` can compare two versions."""
    return "[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n"
