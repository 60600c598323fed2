"""The charts of a report, as matplotlib figures; they show no face of the labelled set.

The figures are narrow, so that their text is readable on a phone.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fpenet.keypoints import scheme_for
from fpenet.kpi.confidence import ConfidenceMetrics
from fpenet.kpi.metrics import Floats
from fpenet.kpi.report import KpiReport, SliceMetrics
from fpenet.kpi.robustness import RobustnessCurve, RobustnessErrors

OURS, CHAMPION, QUIET = "#0a58a6", "#c2570c", "#8a939e"
_INK = "#1b1f24"
FEWEST = 30
"""Smallest number of keypoints in a confidence bin that is plotted."""
_WIDTH = 4.6  # inches
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "fpenet",
    "font.size": 10.5,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@contextmanager
def _figure(height: float, width: float = _WIDTH) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def svg_of(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element; one page can contain several."""
    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the ids of several figures are the same
    size = re.search(r'viewBox="0 0 ([\d.]+) ', text)
    assert size is not None
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    return file.getvalue()


def draw_cumulative_error(kpi: KpiReport, champion: KpiReport | None) -> Figure:
    """Plot the share of faces with an NME of at most x: all keypoints, the eyes, the mouth."""
    with _figure(3.3) as (figure, axes):
        curve = kpi.curve
        percent = 100 * np.array(curve.nme)
        styles = {"all": (OURS, "-"), "eyes": (OURS, "--"), "mouth": (OURS, ":")}
        for region, (colour, line) in styles.items():
            if curve.share.get(region):
                axes.plot(percent, curve.share[region], line, color=colour, label=region)
        if champion is not None and champion.curve.nme and champion.curve.share.get("all"):
            axes.plot(
                100 * np.array(champion.curve.nme),
                champion.curve.share["all"],
                color=CHAMPION,
                label="champion, all",
            )
        for limit in (8, 10):
            axes.axvline(limit, color=QUIET, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.set(
            xlabel=f"NME of a face, % of the {kpi.normalisers[kpi.normaliser].split(',')[0]}",
            ylabel="share of the faces",
            xlim=(0, percent[-1]),
            ylim=(0, 1),
        )
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right")
    return figure


def draw_slices(
    slices: Sequence[SliceMetrics], metric: str, champion: Sequence[SliceMetrics]
) -> Figure:
    """Plot the error and interval of each slice of one attribute; a slice without one says why.

    Args:
        champion: the champion's slices of the same attribute; empty if there is no champion.
    """
    with _figure(2.9) as (figure, axes):
        names = [each.value for each in slices]
        series = [(slices, OURS, -0.12 if champion else 0.0, "this release")]
        if champion:
            series.append((champion, CHAMPION, 0.12, "champion"))
        for rows, colour, shift, label in series:
            known = {each.value: each for each in rows if each.metrics.get(metric) is not None}
            positions = [index for index, name in enumerate(names) if name in known]
            judged = [known[names[index]] for index in positions]
            values = np.array([100 * (each.metrics[metric] or 0.0) for each in judged])
            ends = np.array([each.intervals.get(metric) or [np.nan] * 2 for each in judged])
            whiskers = np.abs(100 * ends.reshape(-1, 2).T - values)
            axes.errorbar(
                np.array(positions) + shift,
                values,
                yerr=whiskers,
                fmt="o",
                color=colour,
                markersize=5,
                capsize=3,
                elinewidth=1.2,
                label=label,
            )
        for index, each in enumerate(slices):
            if each.metrics.get(metric) is None:
                axes.annotate(
                    "too few" if each.too_few else "n/a",
                    (index, 0),
                    (0, 4),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    rotation=90,
                    color=QUIET,
                )
        is_long = sum(len(name) + 1 for name in names) > 48
        axes.set_xticks(range(len(names)), names, rotation=45 if is_long else 0)
        top = 1.06 * axes.get_ylim()[1]  # so that no marker is cut off
        axes.set(ylabel="NME, %", ylim=(0, top), xlim=(-0.6, len(names) - 0.4))
        if champion:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return figure


def known_errors(kpi: KpiReport, mean_points: Floats) -> NDArray[np.bool_]:
    """(K,) whether a keypoint has a mean error and a place on the mean face (K, 2)."""
    errors = _point_errors(kpi)
    if len(errors) != len(mean_points):
        return np.zeros(len(mean_points), bool)
    return np.isfinite(errors) & np.isfinite(mean_points[:, 0])


def _point_errors(kpi: KpiReport) -> Floats:
    """(K,) mean error of each keypoint, crop pixels, NaN where it has none; (0,) without errors."""
    return np.array(kpi.per_point.get("crop_px", ()), dtype=np.float64)  # None becomes NaN


def draw_mean_face(kpi: KpiReport, mean_points: Floats) -> Figure:
    """Plot each keypoint on the mean face; the radius of its circle is its mean error, to scale.

    Args:
        mean_points: (K, 2) crop pixels, NaN where no face has the keypoint. At least one keypoint
            must have an error (``known_errors``).
    """
    with _figure(4.6) as (figure, axes):
        axes.grid(visible=False)
        for line in _LINES if scheme_for(len(mean_points)).of_fpenet else ():
            axes.plot(*mean_points[list(line)].T, color="#d3d9df", linewidth=1, zorder=1)
        errors = _point_errors(kpi)
        order = np.argsort(-errors)  # the largest circle is plotted first, below the others
        known = order[known_errors(kpi, mean_points)[order]]
        size = 2 * errors[known]
        circles = EllipseCollection(
            size,
            size,
            np.zeros(size.shape),
            units="xy",
            offsets=mean_points[known],
            offset_transform=axes.transData,
            cmap="viridis_r",
            alpha=0.6,
            linewidths=0,
        )
        circles.set_array(errors[known])
        axes.add_collection(circles)
        axes.plot(*mean_points[known].T, ".", color=_INK, markersize=2)
        radius = size[:, None] / 2 + 1
        low = (mean_points[known] - radius).min(axis=0)
        high = (mean_points[known] + radius).max(axis=0)
        axes.set(
            xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[]
        )
        for spine in axes.spines.values():
            spine.set_visible(False)
        bar = figure.colorbar(circles, ax=axes, shrink=0.75, pad=0.02)
        bar.set_label("mean error, px of the 80x80 crop")
        bar.outline.set_visible(False)
    return figure


_LINES = (
    range(17),
    range(17, 22),
    range(22, 27),
    range(27, 31),
    range(31, 36),
    *((*range(first, last), first) for first, last in ((36, 42), (42, 48), (48, 60), (60, 68))),
)
"""The lines between the keypoints of FPENet's schemes: jaw, eyebrows, nose, eyes, lips."""


def draw_robustness(curve: RobustnessCurve, clean: RobustnessErrors, metric: str) -> Figure:
    """Plot the error at each level of one corruption; the band is the interval.

    Args:
        clean: the errors of the same faces without corruption, plotted first.
    """
    with _figure(2.5, 3.6) as (figure, axes):
        levels = [("clean", clean), *((f"{each.level:g}", each) for each in curve.levels)]
        levels = [(name, each) for name, each in levels if each.metrics.get(metric) is not None]
        values = [float(each.metrics[metric] or 0.0) for _, each in levels]
        ends = np.array([each.intervals.get(metric) or (np.nan, np.nan) for _, each in levels])
        positions = np.arange(len(levels))
        axes.fill_between(positions, *ends.reshape(-1, 2).T, color=OURS, alpha=0.15, linewidth=0)
        axes.plot(positions, values, "o-", color=OURS, markersize=4)
        labels = [name for name, _ in levels]
        axes.set_xticks(positions, labels, rotation=30 if len(labels) > 7 else 0)
        axes.set(xlabel=curve.unit, ylabel="mean error, crop px", ylim=(0, None))
    return figure


def draw_reliability(confidence: ConfidenceMetrics) -> Figure:
    """Plot the share of correct keypoints by the confidence that the net predicted for them."""
    within = "" if confidence.within_px is None else f" and within {confidence.within_px:g} px"
    with _figure(3.3) as (figure, axes):
        bins = [each for each in confidence.reliability if each.points >= FEWEST]
        predicted = [each.predicted for each in bins]
        most = max((each.points for each in bins), default=1)
        axes.plot((0, 1), (0, 1), color=QUIET, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.plot(predicted, [each.observed for each in bins], color=OURS)
        axes.scatter(
            predicted,
            [each.observed for each in bins],
            s=[8 + 90 * each.points / most for each in bins],
            color=OURS,
            alpha=0.8,
        )
        axes.set(
            xlabel="predicted confidence (dot area: number of keypoints)",
            ylabel=f"share visible{within}",
            xlim=(0, 1),
            ylim=(0, 1),
        )
    return figure
