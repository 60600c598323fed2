"""The one judge: any predict function, the same faces, the same numbers.

Input: a callable on uint8 crops and an open crop store. Output: a KpiReport with, per region, the
error in source-image pixels (FACTS 4: per-point means over faces, then their plain mean; all
labelled and visible points), in 80x80 crop pixels, the NME, and the first also on the original's
tight crop.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.crop_store import CropStore, FaceCrops
from components.data.sample import numbers_of
from components.keypoints import KeypointScheme, scheme_for
from components.kpi.confidence import describe_confidence
from components.kpi.metrics import (
    Bools,
    Floats,
    interocular,
    masked_mean,
    nme,
    point_errors,
    region_error,
)
from components.progress import report

Predict = Callable[[NDArray[np.uint8]], tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]
"""(N, 1, 80, 80) uint8 -> points (N, K, 2) in crop pixels, confidence (N, K)."""


@dataclass(frozen=True, slots=True)
class KpiReport:
    """What a model scored.

    Attributes:
        part: the part of the data set that was judged.
        normaliser: what the NME is divided by.
        metrics: ``<unit>/<region>`` -> value, None where nothing could be measured. Units:
            image_px, image_px_visible, crop_px, crop_px_visible, nme, nme_visible, and
            tight/image_px and tight/image_px_visible on the original's crop.
        per_point: the same units -> one value a keypoint (not for nme).
        visible_samples: number of judged faces on which each keypoint is visible.
        confidence: what it tells (see ``describe_confidence``); empty where it was not judged.
    """

    dataset: str
    part: str
    num_faces: int
    num_subjects: int
    num_keypoints: int
    normaliser: str
    metrics: Mapping[str, float | None]
    per_point: Mapping[str, list[float | None]]
    visible_samples: list[int]
    confidence: Mapping[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "KpiReport":
        """The report that ``to_json`` wrote."""
        return cls(**tree)


def predict_all(
    predict: Predict, images: NDArray[np.uint8], batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``predict`` over all of ``images``, the short last batch too."""
    outputs = [
        predict(images[start : start + batch_size]) for start in range(0, len(images), batch_size)
    ]
    points, confidence = zip(*outputs, strict=True)
    return (
        np.concatenate(points).astype(np.float32),
        np.concatenate(confidence).astype(np.float32),
    )


def reported(predict: Predict, total: int) -> Predict:
    """``predict``, telling after each batch how many of ``total`` faces are done."""
    done = 0

    def predict_and_report(
        images: NDArray[np.uint8],
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        nonlocal done
        outputs = predict(images)
        done += len(images)
        report(done, total, "faces")
        return outputs

    return predict_and_report


def evaluate(predict: Predict, store: CropStore, batch_size: int) -> KpiReport:
    """Judge ``predict`` on the judged part of ``store``.

    Raises:
        ValueError: the part has no face, or the predictions have another number of keypoints.
    """
    rows = store.rows(store.judged_part)
    if len(rows) == 0:
        raise ValueError(f"no face in part {store.judged_part!r}; parts with faces: {store.parts}")
    points, confidence = predict_all(predict, store.images(rows), batch_size)
    tight = store.tight_faces()
    tight_points = predict_all(predict, tight.images, batch_size)[0] if len(tight.images) else None
    return judge(store, points, tight_points, confidence)


def judge(
    store: CropStore,
    points: Floats,
    tight_points: Floats | None,
    confidence: Floats | None = None,
) -> KpiReport:
    """The report of predictions that were made already.

    Args:
        points: (N, K, 2) crop pixels, on the judged part in its order.
        tight_points: (M, K, 2) crop pixels, on ``store.tight_faces()``; None where there are none.
        confidence: (N, K), 0 to 1.
    """
    rows = store.rows(store.judged_part)
    scheme = scheme_for(store.num_keypoints)
    if points.shape[1:] != (scheme.num_keypoints, 2):
        raise ValueError(
            f"predictions are {points.shape[1:]} a face; the labels have"
            f" {scheme.num_keypoints} keypoints"
        )
    faces = store.faces(rows)
    metrics: dict[str, float | None] = {}
    per_point: dict[str, list[float | None]] = {}

    def add(unit: str, errors: Floats, mask: Bools) -> None:
        means = masked_mean(errors, mask, axis=0)
        per_point[unit] = [_or_none(value) for value in means]
        for region, keypoints in scheme.regions.items():
            metrics[f"{unit}/{region}"] = _or_none(region_error(means, keypoints))

    def add_both(unit: str, errors: Floats, shown: FaceCrops) -> None:
        labelled = np.isfinite(errors)
        add(unit, errors, labelled)
        add(f"{unit}_visible", errors, labelled & shown.visible)

    errors = point_errors(points, faces.points_crop)
    add_both("image_px", errors * (faces.side / 80.0)[:, None], faces)
    add_both("crop_px", errors, faces)
    norm, normaliser = _norm(scheme, faces, store, rows)
    labelled = np.isfinite(errors)
    for unit, mask in (("nme", labelled), ("nme_visible", labelled & faces.visible)):
        for region, keypoints in scheme.regions.items():
            indices = list(keypoints)
            values = nme(errors[:, indices], mask[:, indices], norm)
            metrics[f"{unit}/{region}"] = _or_none(
                float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
            )
    if tight_points is not None:
        tight = store.tight_faces()
        distances = point_errors(tight_points, tight.points_crop) * (tight.side / 80.0)[:, None]
        add_both("tight/image_px", distances, tight)
    told = (
        describe_confidence(confidence, errors, norm, labelled, faces.visible)
        if confidence is not None
        else {}
    )
    return KpiReport(
        dataset=store.dataset,
        part=store.judged_part,
        num_faces=len(rows),
        num_subjects=len(set(store.subjects(rows))),
        num_keypoints=scheme.num_keypoints,
        normaliser=normaliser,
        metrics=metrics,
        per_point=per_point,
        visible_samples=[int(n) for n in faces.visible.sum(axis=0)],
        confidence=told,
    )


def _norm(
    scheme: KeypointScheme, faces: FaceCrops, store: CropStore, rows: NDArray[np.int64]
) -> tuple[Floats, str]:
    """(N,) normaliser in crop pixels and its name."""
    if scheme.eye_corners is not None:
        return interocular(faces.points_crop, scheme.eye_corners), "inter-ocular distance"
    width = numbers_of(store.table, "box_width")[rows]
    height = numbers_of(store.table, "box_height")[rows]
    return np.sqrt(width * height) * 80.0 / faces.side, "square root of the face box's area"


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
