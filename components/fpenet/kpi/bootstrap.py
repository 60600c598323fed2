"""Confidence intervals by a bootstrap of people: faces of one person are not independent.

Each resample draws as many people as there are, with all their faces; of more than MOST_DRAWN,
groups of people put together by chance are drawn, which spread as much. People are drawn once for
all metrics and slices: a slice of a resample is what the drawn people have in it. A metric is a
mean of ratios of sums (see ``cells``), so that all resamples are one matrix product. The interval
is the percentile one, expanded for few people as a t interval is (Hesterberg 2015, section 3.3), so
that it holds the truth about as often as it says (tests/kpi/test_bootstrap.py).
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
MOST_DRAWN = 500
_CHUNK = 1 << 21
"""Draws that are counted at once."""


@dataclass(frozen=True, slots=True)
class Resamples:
    """Some faces' people, and how often each resample has drawn each.

    Attributes:
        people: (N,) number of the person, or of the group of people, of each face.
        times: (P, R) how often each resample draws each of them.
        level: of the intervals.
    """

    people: NDArray[np.int64]
    times: NDArray[np.float32]
    level: float

    @classmethod
    def of(cls, subjects: Sequence[str], interval: IntervalParams) -> "Resamples":
        """Draw for the faces of ``subjects``."""
        chance = np.random.default_rng(interval.seed)
        names, people = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
        if len(names) > MOST_DRAWN:
            people = (chance.permutation(len(names)) % MOST_DRAWN)[people]
        count = min(len(names), MOST_DRAWN)
        times = np.empty((count, interval.resamples), np.float32)
        step = max(1, _CHUNK // count)
        for start in range(0, interval.resamples, step):
            some = times[:, start : start + step]
            drawn = chance.integers(0, count, some.T.shape, dtype=np.int32)
            drawn += np.arange(len(drawn), dtype=np.int32)[:, None] * count
            some.T[:] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        return cls(people.astype(np.int64), times, interval.level)

    def rows(self, faces: NDArray[np.int64]) -> "Resamples":
        """The same draws for some of the faces, and of their people alone."""
        present, people = np.unique(self.people[faces], return_inverse=True)
        return Resamples(people.astype(np.int64), self.times[present], self.level)

    def intervals(self, cells: MetricTable) -> dict[str, Interval | None]:
        """Of every metric; None where it cannot be said: one person, or too few values."""
        return dict(zip(cells.metrics, self._bounds(self._metrics(cells)), strict=True))

    def differences(
        self, first: MetricTable, second: MetricTable
    ) -> dict[str, tuple[float, Interval | None]]:
        """(second - first) / first of each metric with its interval, both on the same resamples.

        Args:
            first, second: of the same faces, with the same metrics.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            old, new = self._metrics(first), self._metrics(second)
            bounds = self._bounds((new - old) / old)
            before, after = (np.array(list(cells.means().values())) for cells in (first, second))
            change = (after - before) / before
        return {
            name: (float(value), bound)
            for name, value, bound in zip(first.metrics, change, bounds, strict=True)
        }

    def _metrics(self, cells: MetricTable) -> NDArray[np.float32]:
        """(M, R) every metric on every resample; NaN where one of its columns has no face."""
        if len(self.times) < 2:
            return np.full((len(cells.metrics), 1), np.nan, np.float32)
        sums, counts = self._sums(cells)
        kinds: dict[bytes, int] = {}
        kind = [kinds.setdefault(column.tobytes(), len(kinds)) for column in counts]
        alike = counts[[kind.index(number) for number in range(len(kinds))]]
        terms, spread = _terms(cells.metrics, kind)
        added = np.stack([sums[list(columns)].sum(axis=0) for columns in terms])
        totals = np.concatenate([added, alike]).astype(np.float32) @ self.times
        own = [len(terms) + kind[columns[0]] for columns in terms]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = totals[: len(terms)] / totals[own]
        lost = ~np.isfinite(means)
        means[lost] = 0.0  # it would spread to every metric
        metrics: NDArray[np.float32] = spread @ means
        if lost.any():
            metrics[(spread > 0) @ lost.astype(np.float32) > 0] = np.nan
        return metrics

    def _sums(self, cells: MetricTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(Q, P) sum of each person's cells, and interval many count; none of a failed column."""
        order = np.argsort(self.people, kind="stable")
        starts = np.flatnonzero(np.diff(self.people[order], prepend=-1))
        values = cells.values[order]
        counted = ~np.isnan(values)
        sums = np.add.reduceat(np.where(counted, values, 0.0), starts, axis=0)
        counts = np.add.reduceat(counted, starts, axis=0, dtype=np.float64)
        failed = ~np.isfinite(sums).all(axis=0)  # a point that was not predicted: no interval
        sums[:, failed] = counts[:, failed] = 0.0
        return np.ascontiguousarray(sums.T), np.ascontiguousarray(counts.T)

    def _bounds(self, actual: NDArray[np.floating]) -> list[Interval | None]:
        """Percentiles of each row of resamples; None where too many of them had no sample."""
        bounds: list[Interval | None] = []
        order = np.sort(actual, axis=1)  # what is not a number comes last
        known = np.isfinite(actual).sum(axis=1)
        tail = 100 * expanded_tail((1 - self.level) / 2, len(self.times))
        for row, count in zip(order, known, strict=True):
            if count < self.level * len(row):
                bounds.append(None)
                continue
            low, high = np.percentile(row[:count], [tail, 100 - tail])
            bounds.append((float(low), float(high)))
        return bounds


def expanded_tail(tail: float, people: int) -> float:
    """What a percentile interval of few people leaves out at each end, to hold as often as it says.

    Phi(-t sqrt(n / (n - 1))) of Student's t with n - 1 degrees of freedom, whose quantile is taken
    from Abramowitz and Stegun 26.7.5.

    >>> round(expanded_tail(0.025, 10_000), 4), round(expanded_tail(0.025, 23), 4)
    (0.025, 0.017)
    """
    if people < 2:
        return tail
    z, freedom = -NormalDist().inv_cdf(tail), people - 1
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return NormalDist().cdf(-t * math.sqrt(people / freedom))


def _terms(
    metrics: Mapping[str, Sequence[int]], kind: Sequence[int]
) -> tuple[list[tuple[int, ...]], NDArray[np.float32]]:
    """The ratios that metrics are sums of: columns that count alike are added up first.

    Args:
        kind: of each column; those of one kind have the same counts.

    Returns:
        the T columns of each, and (M, T) the share of each in each metric.
    """
    terms: dict[tuple[int, ...], dict[int, float]] = {}
    for place, own in enumerate(metrics.values()):
        alike: dict[int, list[int]] = {}
        for column in own:
            alike.setdefault(kind[column], []).append(column)
        for columns in alike.values():
            terms.setdefault(tuple(columns), {})[place] = 1 / len(own)
    spread = np.zeros((len(metrics), len(terms)), np.float32)
    for index, shares in enumerate(terms.values()):
        for place, share in shares.items():
            spread[place, index] = share
    return list(terms), spread
