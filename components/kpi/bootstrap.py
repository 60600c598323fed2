"""Confidence intervals by a bootstrap of people: faces of one person are not independent.

Each resample draws as many people as there are, with all their faces; of more than MOST_DRAWN,
groups of people put together by chance are drawn, which spread as much. A metric is a mean of
ratios of sums (see ``cells``), so that a resample is one row of counts times the people's sums:
10,000 of them are two matrix products. The interval is the percentile one; of few people it is a
little too narrow (of 23: about 92 % for 95 %, tests/kpi/test_bootstrap.py).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from components.kpi.cells import Cells
from components.params import IntervalParams

Interval = tuple[float, float]
MOST_DRAWN = 1000
_CHUNK_CELLS = 1 << 22
"""Counts and sums that are held at once."""


def intervals(
    cells: Cells, subjects: Sequence[str], how: IntervalParams
) -> dict[str, Interval | None]:
    """The interval of every metric; None where it cannot be said: one person, or too few values."""
    names = list(cells.metrics)
    found = np.concatenate(list(_resampled(cells, subjects, how)))  # (R, M)
    return dict(zip(names, _bounds(found, how), strict=True))


def differences(
    first: Cells, second: Cells, subjects: Sequence[str], how: IntervalParams
) -> dict[str, tuple[float, Interval | None]]:
    """(second - first) / first of each metric with its interval, both on the same resamples.

    Args:
        first, second: of the same faces, with the same metrics.
    """
    pairs = zip(_resampled(first, subjects, how), _resampled(second, subjects, how), strict=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.concatenate([(new - old) / old for old, new in pairs])
        old, new = (np.array(list(cells.means().values())) for cells in (first, second))
        point = (new - old) / old
    bounds = _bounds(found, how)
    return {
        name: (float(value), bound)
        for name, value, bound in zip(first.metrics, point, bounds, strict=True)
    }


def _bounds(found: NDArray[np.floating], how: IntervalParams) -> list[Interval | None]:
    """Percentiles of each column of resamples; None where too many of them had no sample."""
    bounds: list[Interval | None] = []
    order = np.sort(found, axis=0)  # what is not a number comes last
    known = np.isfinite(found).sum(axis=0)
    for column, count in zip(order.T, known, strict=True):
        if count < how.level * len(column):
            bounds.append(None)
            continue
        tail = 50 * (1 - how.level)
        low, high = np.percentile(column[:count], [tail, 100 - tail])
        bounds.append((float(low), float(high)))
    return bounds


def _resampled(
    cells: Cells, subjects: Sequence[str], how: IntervalParams
) -> Iterator[NDArray[np.float32]]:
    """(R, M) every metric on every resample, some resamples at a time."""
    chance = np.random.default_rng(how.seed)
    sums, counts = _sums(cells, _drawn_together(subjects, chance))
    people, width = sums.shape
    if people < 2:
        yield np.full((1, len(cells.metrics)), np.nan, np.float32)
        return
    spread = np.zeros((width, len(cells.metrics)), np.float32)  # column -> its share of a metric
    for place, own in enumerate(cells.metrics.values()):
        np.add.at(spread[:, place], list(own), np.float32(1 / len(own)))
    both = np.concatenate([sums, counts], axis=1).astype(np.float32)
    failed = ~np.isfinite(sums).all(axis=0)  # a point that was not predicted: no interval
    both[:, np.tile(failed, 2)] = 0.0
    step = max(1, _CHUNK_CELLS // max(people, 2 * width))
    for start in range(0, how.resamples, step):
        number = min(step, how.resamples - start)
        drawn = chance.integers(0, people, (number, people), dtype=np.int32)
        drawn += np.arange(number, dtype=np.int32)[:, None] * people
        times = np.bincount(drawn.ravel(), minlength=number * people).reshape(number, people)
        totals = times.astype(np.float32) @ both
        with np.errstate(divide="ignore", invalid="ignore"):
            means = totals[:, :width] / totals[:, width:]
        lost = ~np.isfinite(means)
        means[lost] = 0.0  # it would spread to every metric
        metrics = means @ spread
        if lost.any():
            metrics[lost.astype(np.float32) @ (spread > 0) > 0] = np.nan
        yield metrics


def _drawn_together(subjects: Sequence[str], chance: np.random.Generator) -> NDArray[np.int64]:
    """(N,) the number of the person, or of the group of people, that each face belongs to."""
    names, people = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    if len(names) > MOST_DRAWN:
        people = (chance.permutation(len(names)) % MOST_DRAWN)[people]
    return people.astype(np.int64)


def _sums(
    cells: Cells, groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S, Q) sum of each group's cells, and how many count."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    values = cells.values[order]
    counted = ~np.isnan(values)
    sums = np.add.reduceat(np.where(counted, values, 0.0), starts, axis=0)
    return sums, np.add.reduceat(counted, starts, axis=0, dtype=np.float64)
