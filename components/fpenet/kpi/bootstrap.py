"""Confidence intervals by a bootstrap over subjects: faces of one subject are not independent.

Each resample samples, with replacement, as many subjects as there are, each with all its faces. If
there are more than MAX_CLUSTERS subjects, random groups of subjects are sampled instead, which have
the same spread. The same resamples serve all metrics and slices. A metric is a mean of ratios of
sums (see ``metric_table``), so that all resamples are computed by one matrix product. The interval
is the percentile interval, expanded for few subjects like a t interval (Hesterberg 2015, section
3.3); its coverage is close to the nominal level (tests/kpi/test_bootstrap.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fpenet.kpi.metric_table import MetricTable
from fpenet.params import IntervalParams

Interval = tuple[float, float]
MAX_CLUSTERS = 500
_CHUNK = 1 << 21
"""Samples that are counted at once."""


@dataclass(frozen=True, slots=True)
class Resamples:
    """The subjects of some faces, and how often each resample contains each subject.

    Attributes:
        subjects: (N,) number of the subject, or of the group of subjects, of each face.
        counts: (P, R) how often resample r contains subject p.
        level: confidence level of the intervals.
    """

    subjects: NDArray[np.int64]
    counts: NDArray[np.float32]
    level: float

    @classmethod
    def of(cls, subjects: Sequence[str], interval: IntervalParams) -> "Resamples":
        """Resample the subjects of faces; ``subjects`` has the subject of each face."""
        rng = np.random.default_rng(interval.seed)
        names, numbers = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
        if len(names) > MAX_CLUSTERS:
            numbers = (rng.permutation(len(names)) % MAX_CLUSTERS)[numbers]
        num_clusters = min(len(names), MAX_CLUSTERS)
        counts = np.empty((num_clusters, interval.resamples), np.float32)
        step = max(1, _CHUNK // num_clusters)
        for start in range(0, interval.resamples, step):
            chunk = counts[:, start : start + step]
            sampled = rng.integers(0, num_clusters, chunk.T.shape, dtype=np.int32)
            sampled += np.arange(len(sampled), dtype=np.int32)[:, None] * num_clusters
            histogram = np.bincount(sampled.ravel(), minlength=sampled.size)
            chunk.T[:] = histogram.reshape(sampled.shape)
        return cls(numbers.astype(np.int64), counts, interval.level)

    def rows(self, faces: NDArray[np.int64]) -> "Resamples":
        """The same resamples for a subset of the faces; subjects without such a face are
        removed."""
        present, numbers = np.unique(self.subjects[faces], return_inverse=True)
        return Resamples(numbers.astype(np.int64), self.counts[present], self.level)

    def intervals(self, table: MetricTable) -> dict[str, Interval | None]:
        """The interval of every metric; None for a single subject or too few values."""
        return dict(zip(table.metrics, self._bounds(self._metrics(table)), strict=True))

    def differences(
        self, first: MetricTable, second: MetricTable
    ) -> dict[str, tuple[float, Interval | None]]:
        """(second - first) / first of each metric with its interval, both on the same resamples.

        Args:
            first, second: tables of the same faces, with the same metrics.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            first_values, second_values = self._metrics(first), self._metrics(second)
            bounds = self._bounds((second_values - first_values) / first_values)
            reference, value = (np.array(list(t.means().values())) for t in (first, second))
            change = (value - reference) / reference
        return {
            name: (float(value), bound)
            for name, value, bound in zip(first.metrics, change, bounds, strict=True)
        }

    def ratios(
        self, table: MetricTable, first: NDArray[np.int64], second: NDArray[np.int64]
    ) -> dict[str, Interval | None]:
        """The interval of each metric of the faces ``first`` over that of the faces ``second``,
        both on the same resamples; None where a group has no value on too many of them.

        Args:
            first, second: indices into the faces of ``table``.
        """
        both = self.rows(np.concatenate([first, second]))
        values = [self.rows(faces)._metrics(table.rows(faces)) for faces in (first, second)]
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds = both._bounds(values[0] / values[1])
        return dict(zip(table.metrics, bounds, strict=True))

    def _metrics(self, table: MetricTable) -> NDArray[np.float32]:
        """(M, R) every metric on every resample; NaN where one of its columns has no face."""
        if len(self.counts) < 2:
            return np.full((len(table.metrics), 1), np.nan, np.float32)
        sums, counts = self._sums(table)
        kinds: dict[bytes, int] = {}
        kind = [kinds.setdefault(column.tobytes(), len(kinds)) for column in counts]
        denominators = counts[[kind.index(number) for number in range(len(kinds))]]
        terms, shares = _terms(table.metrics, kind)
        numerators = np.stack([sums[list(columns)].sum(axis=0) for columns in terms])
        totals = np.concatenate([numerators, denominators]).astype(np.float32) @ self.counts
        denominator_rows = [len(terms) + kind[columns[0]] for columns in terms]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = totals[: len(terms)] / totals[denominator_rows]
        undefined = ~np.isfinite(means)
        means[undefined] = 0.0  # else the product below makes every metric NaN
        metrics: NDArray[np.float32] = shares @ means
        if undefined.any():
            metrics[(shares > 0) @ undefined.astype(np.float32) > 0] = np.nan
        return metrics

    def _sums(self, table: MetricTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(Q, P) sum of each column over each subject's faces, and the number of values in it.

        Both are 0 for a column with an infinite value (a keypoint without a prediction).
        """
        order = np.argsort(self.subjects, kind="stable")
        starts = np.flatnonzero(np.diff(self.subjects[order], prepend=-1))
        values = table.values[order]
        counted = ~np.isnan(values)
        sums = np.add.reduceat(np.where(counted, values, 0.0), starts, axis=0)
        counts = np.add.reduceat(counted, starts, axis=0, dtype=np.float64)
        failed = ~np.isfinite(sums).all(axis=0)
        sums[:, failed] = counts[:, failed] = 0.0
        return np.ascontiguousarray(sums.T), np.ascontiguousarray(counts.T)

    def _bounds(self, values: NDArray[np.floating]) -> list[Interval | None]:
        """Percentiles of each row (M, R); None if too many resamples of the row have no value."""
        bounds: list[Interval | None] = []
        order = np.sort(values, axis=1)  # NaN is sorted to the end
        known = np.isfinite(values).sum(axis=1)
        tail = 100 * expanded_tail((1 - self.level) / 2, len(self.counts))
        for row, count in zip(order, known, strict=True):
            if count < self.level * len(row):
                bounds.append(None)
                continue
            low, high = np.percentile(row[:count], [tail, 100 - tail])
            bounds.append((float(low), float(high)))
        return bounds


def expanded_tail(tail: float, subjects: int) -> float:
    """Tail probability of an expanded percentile interval for few subjects.

    Phi(-t sqrt(n / (n - 1))), with the quantile t of Student's distribution with n - 1 degrees of
    freedom from Abramowitz and Stegun 26.7.5.

    >>> round(expanded_tail(0.025, 10_000), 4), round(expanded_tail(0.025, 23), 4)
    (0.025, 0.017)
    """
    if subjects < 2:
        return tail
    z, freedom = -NormalDist().inv_cdf(tail), subjects - 1
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return NormalDist().cdf(-t * math.sqrt(subjects / freedom))


def _terms(
    metrics: Mapping[str, Sequence[int]], kind: Sequence[int]
) -> tuple[list[tuple[int, ...]], NDArray[np.float32]]:
    """Write each metric as a weighted sum of T ratios; columns with equal counts share one ratio.

    Args:
        kind: kind of each column; columns of the same kind have the same counts.

    Returns:
        The columns of each ratio, and the weights (M, T) of the ratios in the metrics.
    """
    terms: dict[tuple[int, ...], dict[int, float]] = {}
    for metric, metric_columns in enumerate(metrics.values()):
        by_kind: dict[int, list[int]] = {}
        for column in metric_columns:
            by_kind.setdefault(kind[column], []).append(column)
        for columns in by_kind.values():
            terms.setdefault(tuple(columns), {})[metric] = 1 / len(metric_columns)
    weights = np.zeros((len(metrics), len(terms)), np.float32)
    for term, shares in enumerate(terms.values()):
        for metric, share in shares.items():
            weights[metric, term] = share
    return list(terms), weights
