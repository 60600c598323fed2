"""Evaluate any predict function (a net or an engine) on the evaluation faces of a crop store.

Input: a callable on uint8 crops and an open crop store. Does: predicts every evaluation face,
including an incomplete last batch, and computes ``KpiReport``: metrics with intervals, slices,
confidence, robustness, temporal jitter. Output: the report, and the predictions for comparisons.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fpenet.data.crops.store import CropStore, open_crops
from fpenet.kpi.bootstrap import Resamples
from fpenet.kpi.confidence import describe_confidence
from fpenet.kpi.metric_table import ERRORS, MetricTable, finite, metric_table
from fpenet.kpi.metrics import FaceErrors, face_errors, judged_regions, with_tight
from fpenet.kpi.normalisers import normalisers_of
from fpenet.kpi.predictions import Predict as Predict
from fpenet.kpi.predictions import Predictions, predict_judged
from fpenet.kpi.predictions import predict_all as predict_all
from fpenet.kpi.report import CumulativeCurve, IntervalMethod, KpiReport, SliceMetrics
from fpenet.kpi.robustness import robustness_of
from fpenet.kpi.slices.group_spread import group_spreads
from fpenet.kpi.slices.slice_faces import Slices, slice_faces
from fpenet.kpi.temporal import temporal_of
from fpenet.params import EvaluateParams, SliceParams

_CURVE_NME = np.arange(0, 151) / 1000
"""NME values at which the cumulative error curve is evaluated."""


def evaluate_model(
    predict: Predict, store: CropStore, params: EvaluateParams, confidence_px: float | None = None
) -> tuple[KpiReport, Predictions]:
    """Evaluate ``predict`` on the evaluation part of ``store``.

    Args:
        confidence_px: see ``describe_confidence``.

    Raises:
        InputError: the part has no face, or the predictions have another number of keypoints.
    """
    predictions = predict_judged(predict, store, params.batch_size)
    kpi = judge(store, predictions, params, confidence_px)
    rows = predictions.rows
    regions = judged_regions(store, rows, params)
    if params.robustness.faces:
        robustness = robustness_of(predict, store, rows, regions, params)
        kpi = dataclasses.replace(kpi, robustness=robustness)
    if params.temporal.faces:
        temporal = temporal_of(predict, store, rows, regions, params)
        kpi = dataclasses.replace(kpi, temporal=temporal)
    return kpi, predictions


def evaluate_folder(predict: Predict, crop_dir: Path | str, params: EvaluateParams) -> KpiReport:
    """Evaluate ``predict`` on the evaluation part of a crop folder, by the metrics of all engines.

    Args:
        predict: (N, 1, 80, 80) uint8 -> points (N, K, 2) in crop pixels, confidence (N, K).
        params: section evaluate, ``load_params(Path("params.yaml")).evaluate``.

    Raises:
        InputError: the folder has no evaluation face, or the predictions have another K.
    """
    return evaluate_model(predict, open_crops(Path(crop_dir)), params)[0]


def errors_of(store: CropStore, predictions: Predictions) -> FaceErrors:
    """The errors of predictions on the evaluation part: pipeline's crop and tight crop."""
    errors = face_errors(store, predictions.rows, predictions.points)
    if predictions.tight_points is None:
        return errors
    return with_tight(errors, store, predictions.rows, predictions.tight_points)


def judge(
    store: CropStore,
    predictions: Predictions,
    params: EvaluateParams,
    confidence_px: float | None = None,
) -> KpiReport:
    """The report of existing predictions, without robustness and temporal jitter."""
    rows = predictions.rows
    errors = errors_of(store, predictions)
    regions = judged_regions(store, rows, params)
    table = metric_table(errors, regions)
    metrics = finite(table.means())
    subjects = store.subjects(rows)
    resamples = Resamples.of(subjects, params.interval)
    headline, _ = errors.headline
    sliced = slice_faces(store, rows)
    slice_units = (f"nme_{headline}", "image_px", "image_px_visible", "crop_px")
    slice_table = table.chosen(lambda name: name.rpartition("/")[0] in slice_units)
    slices = _slice_rows(slice_table, subjects, sliced, resamples, params)
    few = {(row.attribute, row.value): row.too_few for row in slices}
    return KpiReport(
        dataset=store.dataset,
        part=store.judged_part,
        faces=predictions.faces,
        num_faces=len(rows),
        num_subjects=len(set(subjects)),
        num_keypoints=store.num_keypoints,
        normaliser=headline,
        normalisers=normalisers_of(store.scheme),
        regions={name: tuple(keypoints) for name, keypoints in regions.items()},
        metrics=metrics,
        metric_faces=table.face_counts(),
        intervals=resamples.intervals(table),
        interval=IntervalMethod(
            **params.interval.model_dump(), of="subjects, each with all of their faces"
        ),
        per_point=_per_point(table, regions["all"], store.num_keypoints),
        visible_samples=tuple(int(n) for n in errors.visible.sum(axis=0)),
        curve=_curve(table, headline, list(regions)),
        slices=slices,
        slices_left_out=sliced.left_out,
        spreads=group_spreads(slice_table, f"nme_{headline}/all", sliced, few, subjects, resamples),
        confidence=describe_confidence(errors, predictions.confidence, confidence_px),
        unlabelled=tuple(np.flatnonzero(np.isnan(errors.errors).all(axis=0)).tolist()),
    )


def too_few(faces: int, subjects: int, slices: SliceParams) -> str | None:
    """Why a slice gets no numbers; None if it has enough faces and subjects.

    >>> too_few(12, 3, SliceParams(min_faces=20, min_subjects=5))
    'too few: 12 faces of 3 subjects; must be at least 20 of 5'
    """
    if faces >= slices.min_faces and subjects >= slices.min_subjects:
        return None
    return (
        f"too few: {faces} faces of {subjects} subjects; must be at least {slices.min_faces} of"
        f" {slices.min_subjects}"
    )


def _slice_rows(
    table: MetricTable,
    subjects: Sequence[str],
    sliced: Slices,
    resamples: Resamples,
    params: EvaluateParams,
) -> tuple[SliceMetrics, ...]:
    """One row per slice; a slice with too few faces or subjects has no numbers."""
    rows = []
    for attribute, values in sliced.slices.items():
        for value, faces in values.items():
            num_subjects = len({subjects[face] for face in faces})
            reason = too_few(len(faces), num_subjects, params.slices)
            part = table.rows(faces)
            rows.append(
                SliceMetrics(
                    attribute=attribute,
                    value=value,
                    num_faces=len(faces),
                    num_subjects=num_subjects,
                    metrics={} if reason else finite(part.means()),
                    intervals={} if reason else resamples.rows(faces).intervals(part),
                    too_few=reason,
                )
            )
    return tuple(rows)


def _per_point(
    table: MetricTable, keypoints: Sequence[int], num_keypoints: int
) -> dict[str, tuple[float | None, ...]]:
    """Unit -> the mean of each keypoint, for the errors that have one column per keypoint.

    Args:
        keypoints: those of the region ``all``; the others of the ``num_keypoints`` are n/a.
    """
    units = [unit for unit, metric in ERRORS.items() if not metric.per_face]
    per_point = {}
    for name, columns in table.metrics.items():
        unit, _, region = name.rpartition("/")
        if region == "all" and unit.removesuffix("_visible") in units:
            single = MetricTable(
                table.values[:, list(columns)], {str(k): (k,) for k in range(len(columns))}
            )
            means = dict(zip(keypoints, finite(single.means()).values(), strict=True))
            per_point[unit] = tuple(means.get(k) for k in range(num_keypoints))
    return per_point


def _curve(table: MetricTable, headline: str, regions: Sequence[str]) -> CumulativeCurve:
    """Cumulative error curve over faces; faces without an NME are left out."""
    share = {}
    for region in regions:
        (column,) = table.metrics[f"nme_{headline}/{region}"]
        values = np.sort(table.values[:, column][~np.isnan(table.values[:, column])])
        below = np.searchsorted(values, _CURVE_NME, side="right")
        share[region] = tuple(round(float(n), 6) for n in below / max(len(values), 1))
    return CumulativeCurve(headline, tuple(_CURVE_NME.tolist()), share)
