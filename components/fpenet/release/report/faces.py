"""The faces of a report: those with the largest error, and those worse than with the champion.

Input: the crop store and predictions on its judged part. Output: for each face the margin crop as a
PNG, and points in its pixels, which the page overlays as vector graphics.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpenet.data.crops.store import CROP_PX, CropStore
from fpenet.kpi.metrics import Floats

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class ReportFace:
    """One face of a report.

    Attributes:
        image: the margin crop, a PNG as a ``data:`` URI.
        side: width and height of the image, pixels.
        label, ours, champion: labelled points, and the predictions for them by this release and by
            the champion, in pixels of the image; (0, 0) is the image's top left corner.
        visible: whether each labelled point is visible.
        caption: file name and subject.
        error: NME of the face.
        change: ``error`` minus the champion's error; None without a champion.
    """

    image: str
    side: int
    label: Points
    visible: list[bool]
    ours: Points
    champion: Points
    caption: str
    error: float
    change: float | None = None


def worst_faces(store: CropStore, points: Floats, errors: Floats, most: int) -> list[ReportFace]:
    """The ``most`` faces of the judged part with the largest errors.

    Args:
        points: (N, K, 2) crop pixels.
        errors: (N,) NME, NaN where it is unknown.
    """
    return [show_face(store, int(face), points, None, errors) for face in _largest(errors, most)]


def faces_lost(
    store: CropStore,
    points: Floats,
    errors: Floats,
    champion_points: Floats,
    champion_errors: Floats,
    most: int,
) -> list[ReportFace]:
    """The ``most`` faces whose error exceeds the champion's error most; no face with a smaller one.

    Args:
        points, champion_points: (N, K, 2) crop pixels.
        errors, champion_errors: (N,) NME, NaN where it is unknown.
    """
    change = errors - champion_errors
    return [
        show_face(store, int(face), points, champion_points, errors, float(change[face]))
        for face in _largest(change, most)
        if change[face] > 0
    ]


def show_face(
    store: CropStore,
    face: int,
    points: Floats,
    champion_points: Floats | None,
    errors: Floats,
    change: float | None = None,
) -> ReportFace:
    """Face number ``face`` of the judged part."""
    rows = store.rows(store.judged_part)
    crop = store.crops[rows[face]]
    edge = (len(crop) - CROP_PX) // 2
    label = store.points_crop(rows[face : face + 1])[0]
    labelled = np.isfinite(label[:, 0])

    def in_margin_crop(points_crop: Floats) -> Points:
        shifted = points_crop[labelled].astype(float) + edge + 0.5  # an SVG's pixel centres: .5
        return [(round(float(x), 2), round(float(y), 2)) for x, y in shifted]

    subject, image = store.subjects(rows[face : face + 1])[0], store.table["image"][rows[face]]
    return ReportFace(
        png_uri(crop),
        len(crop),
        in_margin_crop(label),
        store.visible(rows[face : face + 1])[0][labelled].tolist(),
        in_margin_crop(points[face]),
        in_margin_crop(champion_points[face]) if champion_points is not None else [],
        f"{Path(image.as_py()).name}, subject {subject}",
        float(errors[face]),
        change,
    )


def png_uri(grey: NDArray[np.uint8]) -> str:
    """A grey image (H, W) as a PNG in a ``data:`` URI."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def mean_face(store: CropStore) -> Floats:
    """(K, 2) mean of the judged faces' labelled points, crop pixels; NaN where none is labelled."""
    points = store.points_crop(store.rows(store.judged_part)).astype(np.float64)
    known = np.isfinite(points)
    count = known.sum(axis=0)
    mean: Floats = np.where(
        count > 0, np.where(known, points, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan
    )
    return mean


def _largest(values: Floats, most: int) -> Sequence[int]:
    order = np.argsort(np.nan_to_num(values, nan=-np.inf))[::-1][:most]
    return [int(index) for index in order if np.isfinite(values[index])]
