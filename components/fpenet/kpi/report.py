"""KpiReport: all metrics of one model on one set of faces, stored as ``kpi.json``."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from fpenet.core.records import FileRecord
from fpenet.data.crops.store import CropStore
from fpenet.kpi.bootstrap import Interval
from fpenet.kpi.confidence import ConfidenceMetrics
from fpenet.kpi.metrics import face_errors, nme
from fpenet.kpi.predictions import Predictions
from fpenet.kpi.robustness import RobustnessReport
from fpenet.kpi.slices.group_spread import GroupSpread
from fpenet.kpi.temporal import TemporalReport

Numbers = Mapping[str, float | None]
Intervals = Mapping[str, Interval | None]
KPI = "kpi.json"


@dataclass(frozen=True, slots=True)
class IntervalMethod:
    """How the intervals are computed: by so many resamples ``of`` what, and at which level."""

    resamples: int
    level: float
    seed: int
    of: str


@dataclass(frozen=True, slots=True)
class CumulativeCurve:
    """Cumulative error curve.

    Attributes:
        nme: the errors.
        share: region -> share of faces at or below each error.
    """

    normaliser: str
    nme: tuple[float, ...]
    share: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class SliceMetrics:
    """The metrics of the faces that share the value of an attribute.

    Attributes:
        too_few: why there are no numbers; None if there are enough faces and subjects.
    """

    attribute: str
    value: str
    num_faces: int
    num_subjects: int
    metrics: Numbers
    intervals: Intervals
    too_few: str | None


@dataclass(frozen=True, slots=True)
class KpiReport(FileRecord):
    """Metrics of a model. None means "n/a": it could not be measured.

    Format 2: the headline normaliser is ``box``, no longer ``interocular``, which is computed on
    fewer faces; ``metric_faces`` and ``spreads`` are new.

    Attributes:
        part: the part of the data set that was evaluated.
        faces: SHA-256 of the evaluation faces (see ``predictions``).
        normaliser: the headline normaliser, of the failure rates, areas, PCK and the curve.
        normalisers: name -> description of the length that the NME is divided by.
        regions: region -> its 0-based keypoints.
        metrics: ``<unit>/<region>`` -> value. Units: image_px and crop_px, mean error in pixels of
            the source image and of the 80x80 crop (docs/fpenet.md, KPI: per-point means over faces,
            then their plain mean), tight/image_px on the original's crop, nme_<normaliser>; each
            also as ``<unit>_visible``, of visible points only. For the headline normaliser:
            failure_rate_<normaliser>_8 and _10, share of faces whose NME is above 8 and 10 percent;
            auc_<normaliser>_8 and _10, area under the cumulative curve up to 8 and 10 percent, 1 at
            best; pck_<normaliser>_5 and _10, share of points with an error below 5 and 10 percent.
        metric_faces: the same names -> the number of faces that the metric is computed over; a
            normaliser between the eyes has no length on a turned face.
        intervals: the same names -> [low, high]; ``interval`` has the method.
        per_point: image_px, crop_px, tight/image_px (and _visible) -> one value per keypoint.
        visible_samples: number of evaluation faces on which each keypoint is visible.
        slices_left_out: attribute -> why it has no slices.
        spreads: the spread of the headline NME between groups of subjects.
        robustness, temporal: None if not requested.
        assumed: assumptions about a model that was not trained here, as text.
        unlabelled: 0-based keypoints that no evaluation face has a label of; they are n/a, and
            left out of every region that has a labelled one.
    """

    format_version: ClassVar[int] = 2

    dataset: str
    part: str
    faces: str
    num_faces: int
    num_subjects: int
    num_keypoints: int
    normaliser: str
    normalisers: Mapping[str, str]
    regions: Mapping[str, tuple[int, ...]]
    metrics: Numbers
    metric_faces: Mapping[str, int]
    intervals: Intervals
    interval: IntervalMethod
    per_point: Mapping[str, tuple[float | None, ...]]
    visible_samples: tuple[int, ...]
    curve: CumulativeCurve
    slices: tuple[SliceMetrics, ...]
    slices_left_out: Mapping[str, str]
    spreads: tuple[GroupSpread, ...]
    confidence: ConfidenceMetrics
    robustness: RobustnessReport | None = None
    temporal: TemporalReport | None = None
    assumed: tuple[str, ...] = ()
    unlabelled: tuple[int, ...] = ()


def write_kpi(kpi: KpiReport, out_dir: Path) -> None:
    """Write ``kpi.json``, ``kpi_per_point.csv`` and ``kpi_per_region.csv``."""
    kpi.write(out_dir / KPI)
    units = list(kpi.per_point)
    with (out_dir / "kpi_per_point.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["point", *units, "num_samples_visible"])
        for k in range(kpi.num_keypoints):
            values = [_cell(kpi.per_point[unit][k]) for unit in units]
            rows.writerow([k + 1, *values, kpi.visible_samples[k]])
    units = sorted({name.rpartition("/")[0] for name in kpi.metrics})
    with (out_dir / "kpi_per_region.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        partial = [unit for unit in units if unit.startswith("nme_")]
        rows.writerow(["region", *units, *(f"num_faces_{unit}" for unit in partial)])
        for region in kpi.regions:
            values = [_cell(kpi.metrics.get(f"{u}/{region}")) for u in units]
            counts = [kpi.metric_faces.get(f"{unit}/{region}", 0) for unit in partial]
            rows.writerow([region, *values, *counts])


def write_kpi_card(kpi: KpiReport, name: str, digest: str, path: Path) -> None:
    """Write a Markdown card of a model that was not trained here: metrics and assumptions."""
    headline = f"nme_{kpi.normaliser}"
    units = ["image_px", "image_px_visible", "crop_px", "tight/image_px", headline]
    units = [unit for unit in units if f"{unit}/all" in kpi.metrics]
    lines = [
        f"# {name}",
        "",
        f"{digest}. Judged on {kpi.dataset}, part {kpi.part}: {kpi.num_faces} faces of"
        f" {kpi.num_subjects} subjects, {kpi.num_keypoints} keypoints (faces {kpi.faces[:16]}).",
        f"NME by the {kpi.normalisers[kpi.normaliser]}. In brackets: {kpi.interval.level:.0%}"
        f" interval, {kpi.interval.resamples} resamples of subjects.",
        "",
        *_normaliser_lines(kpi),
        "",
        *_row("region", *units),
        *_row(*["---"] * (1 + len(units))),
    ]
    for region in kpi.regions:
        names = [f"{unit}/{region}" for unit in units]
        lines += _row(region, *(_spread(kpi.metrics[n], kpi.intervals[n]) for n in names))
    if kpi.unlabelled:
        judged = [k + 1 for k in range(kpi.num_keypoints) if k not in kpi.unlabelled]
        lines += [
            "",
            f"{len(judged)} of the {kpi.num_keypoints} keypoints have labels and are judged:"
            f" {', '.join(map(str, judged))}. The others are n/a, and in no region's number.",
        ]
    lines += ["", "## What was assumed", ""]
    lines += [f"- {text}" for text in kpi.assumed or ("nothing: the file contains all settings",)]
    lines += ["", "## Slices", "", *_row("slice", "faces", "subjects", f"{headline}/all")]
    lines += _row(*["---"] * 4)
    for row in kpi.slices:
        metric = f"{headline}/all"
        value = row.too_few or _spread(row.metrics[metric], row.intervals[metric])
        slice_name = f"{row.attribute}: {row.value}"
        lines += _row(slice_name, str(row.num_faces), str(row.num_subjects), value)
    lines += ["", "## Spread between groups of subjects", ""]
    lines += [f"- {text}" for text in _spread_lines(kpi)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _normaliser_lines(kpi: KpiReport) -> list[str]:
    """The NME by each other normaliser, with the number of faces that have its length."""
    lines = []
    for name, words in kpi.normalisers.items():
        metric = f"nme_{name}/all"
        if name != kpi.normaliser:
            value = _spread(kpi.metrics.get(metric), kpi.intervals.get(metric))
            faces = f"{kpi.metric_faces.get(metric, 0)} of {kpi.num_faces} faces"
            lines.append(f"- {metric}: {value} over {faces}; by the {words}")
    return lines


def _spread_lines(kpi: KpiReport) -> list[str]:
    """The largest over the smallest NME of the groups of each attribute of subjects."""
    lines = []
    for row in kpi.spreads:
        if row.ratio is None:
            lines.append(f"{row.attribute}: n/a, {row.why}")
        else:
            value = _spread(row.ratio, row.interval)
            lines.append(
                f"{row.attribute}: {value}, {row.largest} over {row.smallest} of {row.groups}"
                " groups"
            )
    return lines or ["n/a: no attribute describes the subjects"]


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _spread(value: float | None, interval: Interval | None) -> str:
    """A number and its interval as text."""
    if value is None:
        return "n/a"
    return f"{value:.4g}" + (f" [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else "")


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.6g}"


def plot_kpi(kpi: KpiReport, store: CropStore, predictions: Predictions, path: Path) -> None:
    """Plot the cumulative error, the error by region, and the median and the worst faces."""
    from matplotlib.figure import Figure

    errors = face_errors(store, predictions.rows, predictions.points)
    norm = errors.norms[kpi.normaliser]
    face_nme = nme(errors.errors, ~np.isnan(errors.errors), norm)
    images, target = store.images(predictions.rows), store.points_crop(predictions.rows)
    figure = Figure(figsize=(12, 8), layout="constrained")
    grid = figure.add_gridspec(3, 6, height_ratios=(1.2, 1, 1))
    curve = figure.add_subplot(grid[0, :3])
    percent = np.array(kpi.curve.nme) * 100
    curve.plot(percent, kpi.curve.share["all"])
    curve.set(
        xlabel=f"NME of a face, % of the {kpi.normalisers[kpi.normaliser].split(',')[0]}",
        ylabel="fraction of faces",
        title=f"{kpi.dataset}, part {kpi.part}: {kpi.num_faces} faces, {kpi.num_subjects} subjects",
        xlim=(0, percent[-1]),
        ylim=(0, 1),
    )
    curve.grid(alpha=0.3)
    bars = figure.add_subplot(grid[0, 3:])
    known = {region: kpi.metrics[f"crop_px/{region}"] for region in reversed(list(kpi.regions))}
    names = [name if value is not None else f"{name}: n/a" for name, value in known.items()]
    bars.barh(names, [value or 0.0 for value in known.values()], color="#4878a8")
    bars.set(xlabel="mean error, px of the 80x80 crop")
    order = np.argsort(np.nan_to_num(face_nme, nan=-1.0))
    middle = len(order) // 2
    for row, (chosen, name) in enumerate(
        ((order[max(middle - 3, 0) : middle + 3], "median"), (order[::-1][:6], "worst"))
    ):
        for column, face in enumerate(chosen):
            axes = figure.add_subplot(grid[row + 1, column])
            axes.imshow(images[face, 0], cmap="gray", vmin=0, vmax=255)
            axes.plot(*target[face].T, "o", ms=2.2, mec="lime", mfc="none", mew=0.5)
            axes.plot(*predictions.points[face].T, ".", ms=2, color="red")
            axes.set_title(f"{name}: {100 * face_nme[face]:.1f} %", fontsize=9)
            axes.set_axis_off()
    figure.suptitle("green: label, red: prediction", fontsize=9)
    figure.savefig(path, dpi=110)
