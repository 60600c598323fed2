"""Compare two models on the same faces: the difference of each metric, overall and by slice.

Input: the predictions of both. Does: a paired bootstrap over subjects, with the same resamples for
both models, so that the difficulty of a face cancels. Output: one row per metric and slice. A row
passes if the upper end of the interval of the relative difference is below the margin
(non-inferiority of the second model).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CropStore
from fpenet.kpi.bootstrap import Interval, Resamples
from fpenet.kpi.evaluate import errors_of, too_few
from fpenet.kpi.metric_table import MetricTable, finite, metric_table
from fpenet.kpi.metrics import judged_regions, regions_of
from fpenet.kpi.predictions import Predictions
from fpenet.kpi.slices.slice_faces import slice_faces
from fpenet.params import ComparisonParams, EvaluateParams


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two models.

    Attributes:
        slice: ``attribute=value``; None for all faces.
        num_faces, num_subjects: those that the metric is computed over.
        first, second: the metric of each model; None if not measured.
        change: (second - first) / first, and its interval.
        margin: upper limit of the interval.
        required: whether the gate uses this row.
        why: reason of the failure; empty if it passed.
    """

    metric: str
    slice: str | None
    num_faces: int
    num_subjects: int
    first: float | None
    second: float | None
    change: float | None
    interval: Interval | None
    margin: float
    required: bool
    passed: bool
    why: str

    def cells(self) -> tuple[str, ...]:
        """The row as text: metric, slice, faces, first, second, change, interval, verdict."""
        low, high = self.interval or (None, None)
        known = self.change is not None and low is not None and high is not None
        return (
            self.metric,
            self.slice or "all faces",
            str(self.num_faces),
            "n/a" if self.first is None else f"{self.first:.4g}",
            "n/a" if self.second is None else f"{self.second:.4g}",
            f"{self.change:+.1%}" if known else "n/a",
            f"{low:+.1%} to {high:+.1%}" if known else "",
            self.verdict(),
        )

    def verdict(self) -> str:
        """Whether the second model is better or worse at the level of the interval."""
        if self.interval is None:
            return "" if self.passed else self.why
        low, high = self.interval
        return "better" if high < 0 else "worse" if low > 0 else "no difference seen"


def compare(
    store: CropStore,
    first: Predictions,
    second: Predictions,
    params: EvaluateParams,
    comparison: ComparisonParams,
) -> list[Difference]:
    """Every metric of ``comparison.metrics`` on all faces and on every slice.

    Args:
        store: the evaluation faces of both models.

    Raises:
        InputError: the predictions are of different faces.
    """
    if first.faces != second.faces:
        raise InputError(
            f"judged on different faces: {first.faces[:16]} and {second.faces[:16]}; only"
            " predictions of the same faces can be compared"
        )
    regions = regions_of(store.scheme, params)
    metrics = [name for name in comparison.metrics if name.rpartition("/")[2] in regions]
    first_table, second_table = (
        _table_of(store, predictions, params, metrics) for predictions in (first, second)
    )
    subjects = store.subjects(first.rows)
    resamples = Resamples.of(subjects, params.interval)
    rows = _rows(
        first_table,
        second_table,
        subjects,
        None,
        resamples,
        params,
        comparison.margin,
        required=True,
    )
    required = comparison.slices.get(store.dataset, comparison.slices.get("other", ()))
    sliced = slice_faces(store, first.rows)
    for attribute, values in sliced.slices.items():
        for value, faces in values.items():
            rows += _rows(
                first_table.rows(faces),
                second_table.rows(faces),
                [subjects[face] for face in faces],
                f"{attribute}={value}",
                resamples.rows(faces),
                params,
                comparison.slice_margin,
                required=attribute in required,
            )
    for attribute in required:
        if attribute not in sliced.slices:
            why = sliced.left_out.get(attribute, "the data set has no such attribute")
            rows += [
                _unjudged(
                    name, f"{attribute}=?", 0, 0, comparison.slice_margin, True, f"no slices: {why}"
                )
                for name in metrics
            ]
    return rows


def _table_of(
    store: CropStore, predictions: Predictions, params: EvaluateParams, metrics: Sequence[str]
) -> MetricTable:
    regions = judged_regions(store, predictions.rows, params)
    table = metric_table(errors_of(store, predictions), regions)
    missing = [name for name in metrics if name not in table.metrics]
    if missing or not metrics:
        raise InputError(
            f"gate.comparison.metrics: {missing or 'none'} for these keypoints; it must be some of"
            f" {sorted({name.rpartition('/')[0] for name in table.metrics})} by region"
        )
    return table.chosen(lambda name: name in metrics)


def _rows(
    first_table: MetricTable,
    second_table: MetricTable,
    subjects: Sequence[str],
    slice_name: str | None,
    resamples: Resamples,
    params: EvaluateParams,
    margin: float,
    required: bool,
) -> list[Difference]:
    """One row per metric for one set of faces."""
    subject_of = np.array(subjects, dtype=str)
    first, second = finite(first_table.means()), finite(second_table.means())
    rows = []
    for name, (change, interval) in resamples.differences(first_table, second_table).items():
        counted = subject_of[first_table.counted(name)]
        num_faces, num_subjects = len(counted), len(set(counted.tolist()))
        reason = too_few(num_faces, num_subjects, params.slices)
        if reason:
            rows.append(
                _unjudged(name, slice_name, num_faces, num_subjects, margin, required, reason)
            )
            continue
        why = ""
        if first[name] is None or second[name] is None or interval is None:
            why = "insufficient evidence: not measured for both models, or too few subjects"
        elif not interval[1] < margin:
            why = (
                f"{change:+.1%} ({params.interval.level:.0%} interval {interval[0]:+.1%} to"
                f" {interval[1]:+.1%}); its upper end must be below {margin:+.1%}"
            )
        known = None if first[name] is None or second[name] is None else change
        rows.append(
            Difference(
                metric=name,
                slice=slice_name,
                num_faces=num_faces,
                num_subjects=num_subjects,
                first=first[name],
                second=second[name],
                change=known,
                interval=interval,
                margin=margin,
                required=required,
                passed=not why,
                why=why,
            )
        )
    return rows


def _unjudged(
    name: str,
    slice_name: str | None,
    num_faces: int,
    num_subjects: int,
    margin: float,
    required: bool,
    why: str,
) -> Difference:
    """A failed row without numbers; ``why`` is the reason."""
    return Difference(
        metric=name,
        slice=slice_name,
        num_faces=num_faces,
        num_subjects=num_subjects,
        first=None,
        second=None,
        change=None,
        interval=None,
        margin=margin,
        required=required,
        passed=False,
        why=f"insufficient evidence: {why}",
    )
