"""The one judge: any predict function, the same faces, the same numbers.

Input: a callable on uint8 crops and an open crop store. Does: predicts every judged face, the short
last batch too; then everything of ``KpiReport``: metrics and their intervals, slices, confidence,
robustness, trembling. Output: the report, and the predictions to compare others with.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.kpi.bootstrap import Resamples
from fpenet.kpi.confidence import describe_confidence
from fpenet.kpi.metric_table import MetricTable, finite, metric_table
from fpenet.kpi.metrics import FaceErrors, face_errors, normalisers_of, regions_of, with_tight
from fpenet.kpi.predictions import Predict as Predict
from fpenet.kpi.predictions import Predictions, predict_judged
from fpenet.kpi.predictions import predict_all as predict_all
from fpenet.kpi.report import KpiReport
from fpenet.kpi.robustness import robustness_of
from fpenet.kpi.slices import Slices, slice_faces
from fpenet.kpi.temporal import temporal_of
from fpenet.params import EvaluateParams, SliceParams

_CURVE_NME = np.arange(0, 151) / 1000
"""Where the cumulative curve is read."""


def evaluate(
    predict: Predict, store: CropStore, params: EvaluateParams, confidence_px: float | None = None
) -> tuple[KpiReport, Predictions]:
    """Judge ``predict`` on the judged part of ``store``.

    Args:
        confidence_px: see ``describe_confidence``.

    Raises:
        InputError: the part has no face, or the predictions have another number of keypoints.
    """
    found = predict_judged(predict, store, params.batch_size)
    kpi = judge(store, found, params, confidence_px)
    regions, rows = regions_of(store.scheme, params), found.rows
    if params.robustness.faces:
        robustness = robustness_of(predict, store, rows, regions, params)
        kpi = dataclasses.replace(kpi, robustness=robustness)
    if params.temporal.faces:
        temporal = temporal_of(predict, store, rows, regions, params)
        kpi = dataclasses.replace(kpi, temporal=temporal)
    return kpi, found


def evaluate_folder(predict: Predict, crop_dir: Path | str, params: EvaluateParams) -> KpiReport:
    """Judge ``predict`` on the judged part of a crop folder, as every engine is judged.

    Args:
        predict: (N, 1, 80, 80) uint8 -> points (N, K, 2) in crop pixels, confidence (N, K).
        params: what is measured, ``load_params(Path("params.yaml")).evaluate``.

    Raises:
        InputError: the folder has no judged face, or the predictions have another K.
    """
    return evaluate(predict, open_crops(Path(crop_dir)), params)[0]


def errors_of(store: CropStore, predictions: Predictions) -> FaceErrors:
    """The errors of predictions on the judged part, on both crops."""
    measured = face_errors(store, predictions.rows, predictions.points)
    if predictions.tight_points is None:
        return measured
    return with_tight(measured, store, predictions.rows, predictions.tight_points)


def judge(
    store: CropStore,
    predictions: Predictions,
    params: EvaluateParams,
    confidence_px: float | None = None,
) -> KpiReport:
    """The report of predictions that were made already; without what needs others."""
    rows = predictions.rows
    measured = errors_of(store, predictions)
    regions = regions_of(store.scheme, params)
    cells = metric_table(measured, regions)
    metrics = finite(cells.means())
    subjects = store.subjects(rows)
    resamples = Resamples.of(subjects, params.interval)
    headline = next(iter(measured.norms))
    sliced = slice_faces(store, rows)
    in_slices = (f"nme_{headline}", "image_px", "image_px_visible", "crop_px")
    few = cells.chosen(lambda name: name.rpartition("/")[0] in in_slices)
    return KpiReport(
        dataset=store.dataset,
        part=store.judged_part,
        faces=predictions.faces,
        num_faces=len(rows),
        num_subjects=len(set(subjects)),
        num_keypoints=store.num_keypoints,
        normaliser=headline,
        normalisers=normalisers_of(store.scheme),
        regions={name: list(own) for name, own in regions.items()},
        metrics=metrics,
        intervals=resamples.intervals(cells),
        interval={**params.interval.model_dump(), "of": "people, each with all of their faces"},
        per_point=_per_point(cells),
        visible_samples=[int(n) for n in measured.visible.sum(axis=0)],
        curve=_curve(cells, headline, list(regions)),
        slices=_slice_rows(few, subjects, sliced, resamples, params),
        slices_left_out=sliced.left_out,
        confidence=describe_confidence(measured, predictions.confidence, confidence_px),
    )


def too_few(faces: int, people: int, slices: SliceParams) -> str | None:
    """Why a slice is not judged; None where it is.

    >>> too_few(12, 3, SliceParams(min_faces=20, min_subjects=5))
    'too few: 12 faces of 3 people; wanted 20 of 5'
    """
    if faces >= slices.min_faces and people >= slices.min_subjects:
        return None
    return (
        f"too few: {faces} faces of {people} people; wanted {slices.min_faces} of"
        f" {slices.min_subjects}"
    )


def _slice_rows(
    cells: MetricTable,
    subjects: Sequence[str],
    sliced: Slices,
    resamples: Resamples,
    params: EvaluateParams,
) -> list[dict[str, Any]]:
    """One row a slice; a slice with too few faces or people has no numbers."""
    rows = []
    for attribute, values in sliced.slices.items():
        for value, faces in values.items():
            own = [subjects[face] for face in faces]
            few = too_few(len(own), len(set(own)), params.slices)
            part = cells.rows(faces)
            rows.append(
                {
                    "attribute": attribute,
                    "value": value,
                    "num_faces": len(own),
                    "num_subjects": len(set(own)),
                    "metrics": {} if few else finite(part.means()),
                    "intervals": {} if few else resamples.rows(faces).intervals(part),
                    "too_few": few,
                }
            )
    return rows


def _per_point(cells: MetricTable) -> dict[str, list[float | None]]:
    """Unit -> the mean of each keypoint, of the units that have a column a keypoint."""
    found = {}
    for name, columns in cells.metrics.items():
        unit, _, region = name.rpartition("/")
        if region == "all" and unit.removesuffix("_visible") in (
            "image_px",
            "crop_px",
            "tight/image_px",
        ):
            single = MetricTable(
                cells.values[:, list(columns)], {str(k): (k,) for k in range(len(columns))}
            )
            found[unit] = list(finite(single.means()).values())
    return found


def _curve(cells: MetricTable, headline: str, regions: Sequence[str]) -> dict[str, Any]:
    """Cumulative error of faces; a face without an NME is in no share."""
    share = {}
    for region in regions:
        (column,) = cells.metrics[f"nme_{headline}/{region}"]
        values = np.sort(cells.values[:, column][~np.isnan(cells.values[:, column])])
        below = np.searchsorted(values, _CURVE_NME, side="right")
        share[region] = [round(float(n), 6) for n in below / max(len(values), 1)]
    return {"normaliser": headline, "nme": _CURVE_NME.tolist(), "share": share}
