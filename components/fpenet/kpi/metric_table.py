"""Metric table: the value of each face in each metric, from which any subset of faces is computed.
ERRORS, FAILURE_RATES and SCORES at the end list every metric.

Every metric here is the plain mean, over its columns, of each column's mean over faces
(docs/fpenet.md, KPI): a region's error has one column per keypoint, an NME or a failure rate has a
single column. The area under the cumulative error curve up to t is the mean over faces of
max(0, 1 - NME / t).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fpenet.data.crops.store import CROP_PX
from fpenet.kpi.metrics import Bools, FaceErrors, Floats, nme


@dataclass(frozen=True, slots=True)
class Metric:
    """How a metric is computed from the errors of N faces.

    Attributes:
        values: errors and a normaliser (N,), crop pixels -> values, NaN where nothing is measured;
            None if the metric is not measured at all. Of each keypoint (N, K): a region's metric is
            the mean of its keypoints' means over faces.
        per_face: ``values`` gets the errors of one region's keypoints and returns one value per
            face (N,): the region's metric is their mean.
    """

    values: Callable[[FaceErrors, Floats], Floats | None]
    per_face: bool = False


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

    def face_counts(self) -> dict[str, int]:
        """Metric -> the number of faces that have a value in one of its columns."""
        return {name: int(self.counted(name).sum()) for name in self.metrics}

    def counted(self, metric: str) -> Bools:
        """(N,) whether a face has a value in one of the columns of the metric."""
        values = self.values[:, list(self.metrics[metric])]
        return np.asarray((~np.isnan(values)).any(axis=1), dtype=np.bool_)

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

    def add(self, unit: str, metric: Metric, errors: FaceErrors, norm: Floats) -> None:
        """Add the metric ``unit`` of every region, unless it is not measured."""
        if metric.per_face:
            for region, keypoints in self.regions.items():
                values = metric.values(_of_keypoints(errors, list(keypoints)), norm)
                if values is not None:
                    self.metrics[f"{unit}/{region}"] = (self.width,)
                    self.values.append(values[:, None])
                    self.width += 1
            return
        values = metric.values(errors, norm)
        if values is not None:
            for region, keypoints in self.regions.items():
                self.metrics[f"{unit}/{region}"] = tuple(self.width + k for k in keypoints)
            self.values.append(values)
            self.width += values.shape[1]


def _counted(errors: FaceErrors, mask: Bools) -> FaceErrors:
    """``errors`` with NaN for the keypoints outside ``mask`` (N, K)."""
    tight = None if errors.tight is None else np.where(mask, errors.tight, np.nan)
    return replace(errors, errors=np.where(mask, errors.errors, np.nan), tight=tight)


def _of_keypoints(errors: FaceErrors, keypoints: Sequence[int]) -> FaceErrors:
    """The errors of some of the keypoints."""
    tight = None if errors.tight is None else errors.tight[:, keypoints]
    visible = errors.visible[:, keypoints]
    return replace(errors, errors=errors.errors[:, keypoints], visible=visible, tight=tight)


def metric_table(errors: FaceErrors, regions: Mapping[str, Sequence[int]]) -> MetricTable:
    """The table of all metrics, named ``<unit>/<region>``; see ``KpiReport`` for the units.

    The order of the columns decides how ``bootstrap`` rounds its float32 sums.
    """
    columns = _Columns(regions)
    labelled = ~np.isnan(errors.errors)
    _add_errors(columns, _counted(errors, labelled), "")
    _add_of_headline(columns, errors, per_face=True)
    _add_errors(columns, _counted(errors, labelled & errors.visible), "_visible")
    _add_of_headline(columns, errors, per_face=False)
    return MetricTable(np.concatenate(columns.values, axis=1), columns.metrics)


def _add_errors(columns: _Columns, errors: FaceErrors, suffix: str) -> None:
    """Add ERRORS; a unit with ``{normaliser}`` once for each normaliser."""
    headline = dict([errors.headline])
    for unit, metric in ERRORS.items():
        for normaliser, norm in (errors.norms if "{normaliser}" in unit else headline).items():
            columns.add(unit.format(normaliser=normaliser) + suffix, metric, errors, norm)


def _add_of_headline(columns: _Columns, errors: FaceErrors, per_face: bool) -> None:
    """Add those of FAILURE_RATES and SCORES whose ``per_face`` is this."""
    normaliser, norm = errors.headline
    for unit, metric in {**FAILURE_RATES, **SCORES}.items():
        if metric.per_face == per_face:
            columns.add(unit.format(normaliser=normaliser), metric, errors, norm)


def image_px(errors: FaceErrors, norm: Floats) -> Floats:
    """(N, K) error in pixels of the source image."""
    return errors.errors * (errors.side / CROP_PX)[:, None]


def crop_px(errors: FaceErrors, norm: Floats) -> Floats:
    """(N, K) error in pixels of the 80x80 crop."""
    return errors.errors


def tight_image_px(errors: FaceErrors, norm: Floats) -> Floats | None:
    """(N, K) error on the original's tight crop, in pixels of the source image."""
    return errors.tight


def nme_of_face(errors: FaceErrors, norm: Floats) -> Floats:
    """(N,) mean error of the keypoints divided by ``norm``."""
    return nme(errors.errors, ~np.isnan(errors.errors), norm)


def failed(errors: FaceErrors, norm: Floats, above: float) -> Floats:
    """(N,) 1 where the NME of the face is above ``above``, else 0."""
    values = nme_of_face(errors, norm)
    return np.where(np.isnan(values), np.nan, values > above)


def area_under_curve(errors: FaceErrors, norm: Floats, limit: float) -> Floats:
    """(N,) the face's part of the area under the cumulative error curve up to ``limit``."""
    area: Floats = np.maximum(0.0, 1.0 - nme_of_face(errors, norm) / limit)  # NaN stays NaN
    return area


def correct(errors: FaceErrors, norm: Floats, within: float) -> Floats:
    """(N, K) PCK: 1 where the error is below ``within`` times ``norm``, else 0."""
    nearer = (errors.errors < within * norm[:, None]).astype(np.float64)
    return np.where(~np.isnan(errors.errors) & (norm[:, None] > 0), nearer, np.nan)


ERRORS: dict[str, Metric] = {
    "image_px": Metric(image_px),
    "crop_px": Metric(crop_px),
    "tight/image_px": Metric(tight_image_px),
    "nme_{normaliser}": Metric(nme_of_face, per_face=True),
}
"""Unit -> metric; lower is better. Each is also measured of the visible keypoints alone, as
``<unit>_visible``. ``gate.thresholds`` and ``gate.comparison.metrics`` may name them."""
FAILURE_RATES: dict[str, Metric] = {
    "failure_rate_{normaliser}_8": Metric(partial(failed, above=0.08), per_face=True),
    "failure_rate_{normaliser}_10": Metric(partial(failed, above=0.10), per_face=True),
}
"""Unit -> metric of the headline normaliser; lower is better. ``gate.thresholds`` may name them."""
SCORES: dict[str, Metric] = {
    "auc_{normaliser}_8": Metric(partial(area_under_curve, limit=0.08), per_face=True),
    "auc_{normaliser}_10": Metric(partial(area_under_curve, limit=0.10), per_face=True),
    "pck_{normaliser}_5": Metric(partial(correct, within=0.05)),
    "pck_{normaliser}_10": Metric(partial(correct, within=0.10)),
}
"""Unit -> metric of the headline normaliser; higher is better. No upper limit may name them."""
