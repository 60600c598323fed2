"""Metric table: the value of each face in each metric, from which any subset of faces is computed.

Every metric here is the plain mean, over its columns, of each column's mean over faces
(docs/fpenet.md, KPI): a region's error has one column per keypoint, an NME or a failure rate has a
single column. The area under the cumulative error curve up to t is the mean over faces of
max(0, 1 - NME / t).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpenet.kpi.metrics import Bools, FaceErrors, Floats, nme

FAILURES = (0.08, 0.10)
"""NME above which a face counts as failed, and upper limit of the area under the curve."""
CORRECT_WITHIN = (0.05, 0.10)
"""PCK: a keypoint is correct if its error is below this fraction of the normaliser."""


@dataclass(frozen=True, slots=True)
class MetricTable:
    """Values of N faces in Q columns, and the columns of each metric.

    Attributes:
        values: (N, Q), NaN where a face does not count.
        metrics: name -> its columns; the metric is the mean of their means over faces.
    """

    values: NDArray[np.float64]
    metrics: Mapping[str, tuple[int, ...]]

    def chosen(self, keep: Callable[[str], bool]) -> "MetricTable":
        """Only the metrics whose name ``keep`` accepts, and their columns."""
        names = [name for name in self.metrics if keep(name)]
        columns = sorted({column for name in names for column in self.metrics[name]})
        new_index = {column: index for index, column in enumerate(columns)}
        return MetricTable(
            self.values[:, columns],
            {name: tuple(new_index[column] for column in self.metrics[name]) for name in names},
        )

    def rows(self, rows: Sequence[int] | NDArray[np.generic]) -> "MetricTable":
        """The table of a subset of the faces."""
        return MetricTable(self.values[rows], self.metrics)

    def means(self) -> dict[str, float]:
        """Every metric; NaN if one of its columns has no face, infinite if a prediction failed."""
        counted = ~np.isnan(self.values)
        count = counted.sum(axis=0)
        total = np.where(counted, self.values, 0.0).sum(axis=0)
        columns = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return {name: float(np.mean(columns[list(used)])) for name, used in self.metrics.items()}


def finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """The numbers for JSON: NaN and infinity become None.

    >>> finite({"a": 1.0, "b": float("nan"), "c": float("inf")})
    {'a': 1.0, 'b': None, 'c': None}
    """
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


@dataclass(slots=True)
class _Columns:
    """Builder of a ``MetricTable``: columns in the order of their addition, and their metrics."""

    regions: Mapping[str, Sequence[int]]
    values: list[Floats] = field(default_factory=list)
    metrics: dict[str, tuple[int, ...]] = field(default_factory=dict)
    width: int = 0

    def add_points(self, unit: str, values: Floats, mask: Bools) -> None:
        """Add (N, K) values, one column per keypoint: the metric ``unit`` of every region."""
        for region, keypoints in self.regions.items():
            self.metrics[f"{unit}/{region}"] = tuple(self.width + k for k in keypoints)
        self.values.append(np.where(mask, values, np.nan))
        self.width += values.shape[1]

    def add_faces(self, name: str, values: Floats) -> None:
        """Add (N,) values: one metric with one column."""
        self.metrics[name] = (self.width,)
        self.values.append(values[:, None])
        self.width += 1


def metric_table(errors: FaceErrors, regions: Mapping[str, Sequence[int]]) -> MetricTable:
    """The table of all metrics, named ``<unit>/<region>``; see ``KpiReport`` for the units."""
    columns = _Columns(regions)
    labelled = ~np.isnan(errors.errors)
    image = errors.errors * (errors.side / 80.0)[:, None]
    headline = next(iter(errors.norms))
    for mask, suffix in ((labelled, ""), (labelled & errors.visible, "_visible")):
        columns.add_points(f"image_px{suffix}", image, mask)
        columns.add_points(f"crop_px{suffix}", errors.errors, mask)
        if errors.tight is not None:
            columns.add_points(
                f"tight/image_px{suffix}", errors.tight, mask & ~np.isnan(errors.tight)
            )
        for name, norm in errors.norms.items():
            for region, keypoints in regions.items():
                indices = list(keypoints)
                values = nme(errors.errors[:, indices], mask[:, indices], norm)
                columns.add_faces(f"nme_{name}{suffix}/{region}", values)
                if (name, suffix) == (headline, ""):
                    _add_curve(columns, name, region, values)
    norm = errors.norms[headline][:, None]
    for within in CORRECT_WITHIN:
        correct = (errors.errors < within * norm).astype(np.float64)
        columns.add_points(f"pck_{headline}_{within * 100:.0f}", correct, labelled & (norm > 0))
    return MetricTable(np.concatenate(columns.values, axis=1), columns.metrics)


def _add_curve(columns: _Columns, name: str, region: str, values: Floats) -> None:
    """Add failure rate and area under the cumulative error curve, from the NME (N,) of faces."""
    for limit in FAILURES:
        failed = np.where(np.isnan(values), np.nan, values > limit)
        columns.add_faces(f"failure_rate_{name}_{limit * 100:.0f}/{region}", failed)
        area = np.maximum(0.0, 1.0 - values / limit)  # NaN stays NaN
        columns.add_faces(f"auc_{name}_{limit * 100:.0f}/{region}", area)
