"""Cells: what each face adds to each metric, so that any set of faces, resampled or not, has them.

Every metric here is the plain mean, over some columns, of each column's mean over faces (FACTS 4):
a region's error has one column a keypoint, an NME or a failure rate one column of faces. The area
under the cumulative error curve up to t is the mean over faces of max(0, 1 - NME / t).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpenet.kpi.metrics import Bools, FaceErrors, Floats, nme

FAILURES = (0.08, 0.10)
"""NME above which a face has failed, and up to which the curve's area is taken."""
CORRECT_WITHIN = (0.05, 0.10)
"""PCK: of the normaliser, a keypoint nearer than this is correct."""


@dataclass(frozen=True, slots=True)
class MetricTable:
    """The cells of some faces.

    Attributes:
        values: (N, Q), NaN where a face has no say.
        metrics: name -> the columns whose means' mean it is.
    """

    values: NDArray[np.float64]
    metrics: Mapping[str, tuple[int, ...]]

    def chosen(self, keep: Callable[[str], bool]) -> "MetricTable":
        """Only the metrics whose name ``keep`` accepts, and their columns."""
        names = [name for name in self.metrics if keep(name)]
        columns = sorted({column for name in names for column in self.metrics[name]})
        place = {column: index for index, column in enumerate(columns)}
        return MetricTable(
            self.values[:, columns],
            {name: tuple(place[column] for column in self.metrics[name]) for name in names},
        )

    def rows(self, rows: Sequence[int] | NDArray[np.generic]) -> "MetricTable":
        """Only some of the faces."""
        return MetricTable(self.values[rows], self.metrics)

    def means(self) -> dict[str, float]:
        """Every metric; NaN where one of its columns has no face, infinite where a point failed."""
        counted = ~np.isnan(self.values)
        count = counted.sum(axis=0)
        total = np.where(counted, self.values, 0.0).sum(axis=0)
        columns = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return {name: float(np.mean(columns[list(own)])) for name, own in self.metrics.items()}


def finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers as JSON has them: None where nothing could be measured.

    >>> finite({"a": 1.0, "b": float("nan"), "c": float("inf")})
    {'a': 1.0, 'b': None, 'c': None}
    """
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


@dataclass(slots=True)
class _Columns:
    """Columns as they are added, and the metrics that are made of them."""

    regions: Mapping[str, Sequence[int]]
    values: list[Floats] = field(default_factory=list)
    metrics: dict[str, tuple[int, ...]] = field(default_factory=dict)
    width: int = 0

    def add_points(self, unit: str, values: Floats, mask: Bools) -> None:
        """(N, K) values, one column a keypoint: ``unit`` of every region."""
        for region, keypoints in self.regions.items():
            self.metrics[f"{unit}/{region}"] = tuple(self.width + k for k in keypoints)
        self.values.append(np.where(mask, values, np.nan))
        self.width += values.shape[1]

    def add_faces(self, name: str, values: Floats) -> None:
        """(N,) values: one metric, one column."""
        self.metrics[name] = (self.width,)
        self.values.append(values[:, None])
        self.width += 1


def metric_table(errors: FaceErrors, regions: Mapping[str, Sequence[int]]) -> MetricTable:
    """Every metric's cells as ``<unit>/<region>``; the units are those of ``KpiReport``."""
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
                own = list(keypoints)
                values = nme(errors.errors[:, own], mask[:, own], norm)
                columns.add_faces(f"nme_{name}{suffix}/{region}", values)
                if (name, suffix) == (headline, ""):
                    _add_curve(columns, name, region, values)
    norm = errors.norms[headline][:, None]
    for within in CORRECT_WITHIN:
        right = (errors.errors < within * norm).astype(np.float64)
        columns.add_points(f"pck_{headline}_{within * 100:.0f}", right, labelled & (norm > 0))
    return MetricTable(np.concatenate(columns.values, axis=1), columns.metrics)


def _add_curve(columns: _Columns, name: str, region: str, values: Floats) -> None:
    """What is read off the cumulative curve of the NME (N,) of each face."""
    for limit in FAILURES:
        failed = np.where(np.isnan(values), np.nan, values > limit)
        columns.add_faces(f"failure_rate_{name}_{limit * 100:.0f}/{region}", failed)
        area = np.maximum(0.0, 1.0 - values / limit)  # NaN stays NaN
        columns.add_faces(f"auc_{name}_{limit * 100:.0f}/{region}", area)
