"""KpiReport: all metrics of one model on one set of faces, stored as ``kpi.json``."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CropStore
from fpenet.kpi.metrics import face_errors, nme
from fpenet.kpi.predictions import Predictions

Numbers = Mapping[str, float | None]
Intervals = Mapping[str, Sequence[float] | None]


@dataclass(frozen=True, slots=True)
class KpiReport:
    """Metrics of a model. None means "n/a": it could not be measured.

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
        intervals: the same names -> [low, high]; ``interval`` has the method.
        per_point: image_px, crop_px, tight/image_px (and _visible) -> one value per keypoint.
        visible_samples: number of evaluation faces on which each keypoint is visible.
        curve: ``nme`` -> errors, ``share`` -> region -> share of faces at or below each.
        slices: rows of attribute, value, num_faces, num_subjects, metrics, intervals, too_few.
        slices_left_out: attribute -> why it has no slices.
        confidence: metrics of the confidence (see ``describe_confidence``).
        robustness: error curves under corruptions (see ``robustness``); None if not requested.
        temporal: temporal jitter of the points (see ``temporal``); None if not requested.
        assumed: assumptions about a model that was not trained here, as text.
    """

    dataset: str
    part: str
    faces: str
    num_faces: int
    num_subjects: int
    num_keypoints: int
    normaliser: str
    normalisers: Mapping[str, str]
    regions: Mapping[str, list[int]]
    metrics: Numbers
    intervals: Intervals
    interval: Mapping[str, Any]
    per_point: Mapping[str, list[float | None]]
    visible_samples: list[int]
    curve: Mapping[str, Any]
    slices: Sequence[Mapping[str, Any]]
    slices_left_out: Mapping[str, str]
    confidence: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Any] | None = None
    temporal: Mapping[str, Any] | None = None
    assumed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        text = json.dumps(self.to_json(), indent=1, sort_keys=True, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def read_kpi(path: Path) -> KpiReport:
    """Read a report that ``KpiReport.save`` wrote.

    Raises:
        InputError: names the file: missing, or not a report.
    """
    try:
        return KpiReport(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a KPI report: {error}") from None


def write_kpi(kpi: KpiReport, out_dir: Path) -> None:
    """Write ``kpi.json``, ``kpi_per_point.csv`` and ``kpi_per_region.csv``."""
    kpi.save(out_dir / "kpi.json")
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
        rows.writerow(["region", *units])
        for region in kpi.regions:
            rows.writerow([region, *(_cell(kpi.metrics.get(f"{u}/{region}")) for u in units)])


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
        f"NME by {kpi.normalisers[kpi.normaliser]}. In brackets: {kpi.interval['level']:.0%}"
        f" interval, {kpi.interval['resamples']} resamples of subjects.",
        "",
        *_row("region", *units),
        *_row(*["---"] * (1 + len(units))),
    ]
    for region in kpi.regions:
        names = [f"{unit}/{region}" for unit in units]
        lines += _row(region, *(_spread(kpi.metrics[n], kpi.intervals[n]) for n in names))
    lines += ["", "## What was assumed", ""]
    lines += [f"- {text}" for text in kpi.assumed or ["nothing: the file contains all settings"]]
    lines += ["", "## Slices", "", *_row("slice", "faces", "subjects", f"{headline}/all")]
    lines += _row(*["---"] * 4)
    for row in kpi.slices:
        metric = f"{headline}/all"
        value = row["too_few"] or _spread(row["metrics"][metric], row["intervals"][metric])
        slice_name = f"{row['attribute']}: {row['value']}"
        lines += _row(slice_name, str(row["num_faces"]), str(row["num_subjects"]), value)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _spread(value: float | None, interval: Sequence[float] | None) -> str:
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
    percent = np.array(kpi.curve["nme"]) * 100
    curve.plot(percent, kpi.curve["share"]["all"])
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
