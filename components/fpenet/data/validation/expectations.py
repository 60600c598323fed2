"""Expectations on the kept faces as a set: two tables, and one suite per keypoint scheme.

Input: the kept faces and their scores of the checks. Output: a table with one row for each face and
a table with one row for each keypoint, whose number of columns does not depend on K; and the
expectations on their columns, which ``data_docs`` evaluates with Great Expectations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpenet.data.checks.faces import LabelledFaces
from fpenet.data.checks.labels import outside_fraction, visible_fraction
from fpenet.data.sample import Bools, Floats
from fpenet.data.validation.point_order import orders_of
from fpenet.params import ValidateParams

if TYPE_CHECKING:
    import pandas as pd

_BETWEEN = "ExpectColumnValuesToBeBetween"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation.

    Attributes:
        kind: name of the Great Expectations class.
        settings: its arguments.
        why: its meaning for faces; shown in the Data Docs.
        blocking: whether the run stops if it is not met; else it is a warning.
    """

    kind: str
    settings: Mapping[str, Any]
    why: str
    blocking: bool = True


def face_table(
    faces: LabelledFaces, visible: Bools, scores: Mapping[str, Floats] | None = None
) -> "pd.DataFrame":
    """One row for each face: sizes in image pixels, shares, spans in face boxes, scores of checks.

    Args:
        visible: (N, K).
        scores: check -> (N,), 1 at the limit.
    """
    import pandas as pd

    levels = pd.array(np.nan_to_num(faces.occlusion, nan=-1).astype(int), dtype="Int64")
    levels[np.isnan(faces.occlusion)] = pd.NA
    columns: dict[str, Any] = {
        "image": faces.images,
        "subject": faces.subjects,
        "box_x": faces.boxes[:, 0],
        "box_y": faces.boxes[:, 1],
        "box_side_px": faces.boxes[:, 2:].max(axis=1),
        "visible_fraction": visible_fraction(faces),
        "outside_fraction": outside_fraction(faces),
        "occlusion_level": levels,
        "labelled_points": faces.labelled.sum(axis=1),
        "visible_points": visible.sum(axis=1),
    }
    for order in orders_of(faces.points.shape[1], faces.own_scheme is not None):
        difference = _centre(faces, visible, order.second) - _centre(faces, visible, order.first)
        columns[order.column] = (
            np.linalg.norm(difference, axis=1) if order.axis is None else difference[:, order.axis]
        )
    for name, score in (scores or {}).items():
        columns[column_of(name)] = np.where(np.isfinite(score), score.round(3), np.nan)
    return pd.DataFrame(columns)


def column_of(check: str) -> str:
    """The column of a check's score."""
    return "score_" + check.replace(" ", "_")


def _centre(faces: LabelledFaces, visible: Bools, group: str | int) -> Floats:
    """(N, 2) mean of the visible points of a region, or one keypoint, in face boxes; else NaN."""
    region = list(faces.scheme.regions[group]) if isinstance(group, str) else [group]
    points = faces.points[:, region]
    labelled = faces.labelled[:, region] & visible[:, region]
    total = np.where(labelled[..., None], points, 0.0).sum(axis=1)
    count = labelled.sum(axis=1, keepdims=True)
    middle = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    centre: Floats = (middle - faces.boxes[:, :2]) / np.maximum(faces.boxes[:, 2:], 1.0)
    return centre


def keypoint_table(faces: LabelledFaces) -> "pd.DataFrame":
    """One row for each keypoint: number of labels, mean position and spread in face boxes."""
    import pandas as pd

    count = faces.labelled.sum(axis=0)
    scale = np.maximum(faces.boxes[:, 2:], 1.0)
    mean = np.full((len(count), 2), np.nan)
    spread = np.full(len(count), np.nan)
    for k in np.flatnonzero(count):
        rows = faces.labelled[:, k]
        positions = (faces.points[rows, k] - faces.boxes[rows, :2]) / scale[rows]
        mean[k] = positions.mean(axis=0)
        spread[k] = np.linalg.norm(positions - mean[k], axis=1).mean()
    return pd.DataFrame(
        {
            "keypoint": np.arange(1, len(count) + 1),
            "labelled_faces": count,
            "mean_x": mean[:, 0],
            "mean_y": mean[:, 1],
            "spread": spread,
        }
    )


def face_expectations(
    num_keypoints: int,
    scored: Sequence[str],
    params: ValidateParams,
    own_scheme: bool = False,
) -> list[Expectation]:
    """The expectations on the table of faces.

    Args:
        scored: the checks whose scores are columns.
        own_scheme: whether the set has a scheme file.
    """
    most = 1.0 - params.max_rejected_fraction
    expected = [
        Expectation(
            "ExpectTableRowCountToBeBetween", {"min_value": params.min_faces}, "enough usable faces"
        ),
        Expectation("ExpectColumnValuesToNotBeNull", {"column": "image"}, "it has an image"),
        Expectation(
            "ExpectColumnValuesToNotMatchRegex",
            {"column": "image", "regex": r"^/|(?:^|/)\.\.(?:/|$)"},
            "no image is outside the set",
        ),
        Expectation(
            "ExpectColumnValuesToNotBeNull",
            {"column": "subject"},
            "the subject is known; the split needs it",
            blocking=False,
        ),
        Expectation(_BETWEEN, {"column": "box_side_px", "min_value": 1.0}, "the box has a size"),
        Expectation(
            _BETWEEN,
            {"column": "visible_fraction", "min_value": params.min_visible_fraction},
            "model card: a face cut off by the image border is not used",
            blocking=params.severity["face cut off"] != "warn",
        ),
        Expectation(
            _BETWEEN,
            {"column": "outside_fraction", "max_value": params.max_points_outside_fraction},
            "most points are in the image",
            blocking=params.severity["points outside"] != "warn",
        ),
        Expectation(
            _BETWEEN,
            {"column": "occlusion_level", "min_value": 0, "max_value": params.max_occlusion_level},
            "model card: only faces with a low occlusion level are used",
            blocking=params.severity["occluded"] != "warn",
        ),
        Expectation(_BETWEEN, {"column": "labelled_points", "min_value": 1}, "it has keypoints"),
    ]
    expected += [
        Expectation(_BETWEEN, {"column": order.column, **order.limit, "mostly": most}, order.why)
        for order in orders_of(num_keypoints, own_scheme)
    ]
    expected += [
        Expectation(
            _BETWEEN,
            {"column": column_of(name), "max_value": 1.0, "mostly": most},
            f"few faces exceed the limit of the check: {name}",
            blocking=params.severity[name] != "warn",
        )
        for name in scored
    ]
    return expected


def keypoint_expectations(num_keypoints: int) -> list[Expectation]:
    """The expectations on the table of keypoints."""
    on_face = "its mean position is on the face, not a fixed position of the image"
    return [
        Expectation("ExpectTableRowCountToEqual", {"value": num_keypoints}, "one row per keypoint"),
        Expectation("ExpectColumnValuesToBeUnique", {"column": "keypoint"}, "no repeated keypoint"),
        Expectation(
            _BETWEEN,
            {"column": "labelled_faces", "min_value": 1},
            "it is labelled; a keypoint without a label is n/a, and is not trained",
            blocking=False,
        ),
        Expectation(_BETWEEN, {"column": "mean_x", "min_value": -0.5, "max_value": 1.5}, on_face),
        Expectation(_BETWEEN, {"column": "mean_y", "min_value": -0.5, "max_value": 1.5}, on_face),
    ]
