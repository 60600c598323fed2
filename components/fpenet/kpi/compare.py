"""Two models on the same faces: the difference of each metric, overall and by slice.

Input: the predictions of both. Does: one bootstrap of people for both (paired), so that what is
hard about a face cancels. Output: one row a metric and slice; a row passes when the interval of the
relative difference stays below the margin: the second model is not worse than the first by more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CropStore
from fpenet.kpi.bootstrap import Interval, Resamples
from fpenet.kpi.evaluate import errors_of, too_few
from fpenet.kpi.metric_table import MetricTable, finite, metric_table
from fpenet.kpi.metrics import regions_of
from fpenet.kpi.predictions import Predictions
from fpenet.kpi.slices import slice_faces
from fpenet.params import ComparisonParams, EvaluateParams


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two models.

    Attributes:
        slice: ``attribute=value``; None for all faces.
        first, second: the metric of each; None where it was not measured.
        change: (second - first) / first, and its interval.
        margin: the change that the interval must stay below.
        required: whether the verdict rests on this row.
        why: empty where it passed.
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
        """The row as words: metric, slice, faces, first, second, change, interval, verdict."""
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
        """Whether the second is better or worse, as sure as the interval is."""
        if self.interval is None:
            return "" if self.passed else self.why
        low, high = self.interval
        return "better" if high < 0 else "worse" if low > 0 else "no difference seen"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def compare(
    store: CropStore,
    first: Predictions,
    second: Predictions,
    params: EvaluateParams,
    comparison: ComparisonParams,
) -> list[Difference]:
    """Every metric of ``against.metrics`` on all faces and on every slice.

    Args:
        store: the faces that both were judged on.

    Raises:
        InputError: they were judged on other faces, so that nothing can be paired.
    """
    if first.faces != second.faces:
        raise InputError(
            f"judged on other faces: {first.faces[:16]} and {second.faces[:16]}; only predictions"
            " of the same faces can be compared"
        )
    regions = regions_of(store.scheme, params)
    wanted = [name for name in comparison.metrics if name.rpartition("/")[2] in regions]
    old, new = (_wanted_cells(store, found, params, wanted) for found in (first, second))
    subjects = store.subjects(first.rows)
    resamples = Resamples.of(subjects, params.interval)
    rows = _rows(old, new, subjects, None, resamples, params, comparison.margin, required=True)
    required = comparison.slices.get(store.dataset, comparison.slices.get("other", ()))
    sliced = slice_faces(store, first.rows)
    for attribute, values in sliced.slices.items():
        for value, faces in values.items():
            own = [subjects[face] for face in faces]
            rows += _rows(
                old.rows(faces),
                new.rows(faces),
                own,
                f"{attribute}={value}",
                resamples.rows(faces),
                params,
                comparison.slice_margin,
                required=attribute in required,
            )
    for attribute in required:
        if attribute not in sliced.slices:
            why = sliced.left_out.get(attribute, "the set does not tell it")
            rows += [
                _unjudged(
                    name, f"{attribute}=?", 0, 0, comparison.slice_margin, True, f"no slices: {why}"
                )
                for name in wanted
            ]
    return rows


def _wanted_cells(
    store: CropStore, predictions: Predictions, params: EvaluateParams, expected: Sequence[str]
) -> MetricTable:
    cells = metric_table(errors_of(store, predictions), regions_of(store.scheme, params))
    missing = [name for name in expected if name not in cells.metrics]
    if missing or not expected:
        raise InputError(
            f"gate.comparison.metrics: {missing or 'none'} of these keypoints; choose of"
            f" {sorted({name.rpartition('/')[0] for name in cells.metrics})} by region"
        )
    return cells.chosen(lambda name: name in expected)


def _rows(
    old: MetricTable,
    new: MetricTable,
    subjects: Sequence[str],
    where: str | None,
    resamples: Resamples,
    params: EvaluateParams,
    margin: float,
    required: bool,
) -> list[Difference]:
    """One row a metric of one set of faces."""
    people = len(set(subjects))
    few = too_few(len(subjects), people, params.slices)
    if few:
        return [
            _unjudged(name, where, len(subjects), people, margin, required, few)
            for name in old.metrics
        ]
    first, second = finite(old.means()), finite(new.means())
    rows = []
    for name, (change, interval) in resamples.differences(old, new).items():
        why = ""
        if first[name] is None or second[name] is None or interval is None:
            why = "insufficient evidence: not measured of both, or of too few people"
        elif not interval[1] < margin:
            why = (
                f"{change:+.1%} ({params.interval.level:.0%} interval {interval[0]:+.1%} to"
                f" {interval[1]:+.1%}); its upper end must be below {margin:+.1%}"
            )
        known = None if first[name] is None or second[name] is None else change
        rows.append(
            Difference(
                metric=name,
                slice=where,
                num_faces=len(subjects),
                num_subjects=people,
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
    name: str, where: str | None, faces: int, people: int, margin: float, required: bool, why: str
) -> Difference:
    return Difference(
        metric=name,
        slice=where,
        num_faces=faces,
        num_subjects=people,
        first=None,
        second=None,
        change=None,
        interval=None,
        margin=margin,
        required=required,
        passed=False,
        why=f"insufficient evidence: {why}",
    )
