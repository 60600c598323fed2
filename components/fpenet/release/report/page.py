"""The values of the report page: all variables of its template, computed from the evidence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from fpenet.core.records import fields_of
from fpenet.data.crops.store import CropStore, first_keypoints, open_crops
from fpenet.deploy.engines.targets import how_to_build
from fpenet.kpi.gate import EngineDifference
from fpenet.kpi.metrics import Floats, face_errors, nme
from fpenet.kpi.predictions import judged_rows, load_predictions
from fpenet.kpi.report import KpiReport, SliceMetrics
from fpenet.release.evidence import (
    Evidence,
    unfinished_targets,
)
from fpenet.release.report import charts, nvidia_card
from fpenet.release.report.champion import ChampionSummary, read_champion
from fpenet.release.report.engine_rows import engine_table
from fpenet.release.report.faces import ReportFace, faces_lost, mean_face, worst_faces
from fpenet.release.report.not_measured import no_slices, not_measured

_SHOWN = 10  # largest number of faces in each of the two lists


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the report.

    Attributes:
        name: file name of its PNG, without the suffix.
        section: section of the page: evaluate, slices or robustness.
    """

    name: str
    section: str
    title: str
    caption: str
    figure: Figure


class Page:
    """Computes the variables of the template, each one once."""

    def __init__(self, evidence: Evidence, reasons: Sequence[str]) -> None:
        self.evidence = evidence
        self.reasons = list(reasons)

    @cached_property
    def store(self) -> CropStore:
        """The crop store, which contains the judged faces."""
        return open_crops(self.evidence.folders["crop"])

    @cached_property
    def champion(self) -> ChampionSummary:
        """The champion, or the reason why there is none."""
        return read_champion(self.evidence)

    @cached_property
    def charts(self) -> list[Chart]:
        """Every chart, in the order of the page."""
        kpi, champion = self.evidence.kpi, self.champion.kpi
        all_charts: list[Chart] = []
        if kpi.curve.nme and kpi.curve.share:
            all_charts.append(
                Chart(
                    "cumulative_error",
                    "evaluate",
                    "Cumulative error",
                    f"Share of the {kpi.num_faces} faces with an NME up to the value on the x axis;"
                    " dotted: the limits of failure rate and AUC.",
                    charts.draw_cumulative_error(kpi, champion),
                )
            )
        mean_points = mean_face(self.store)
        if charts.known_errors(kpi, mean_points).any():
            all_charts.append(
                Chart(
                    "error_on_mean_face",
                    "evaluate",
                    "Error of each keypoint",
                    "On the mean of the judged faces; the radius of a circle is the mean error of"
                    " the keypoint, to scale.",
                    charts.draw_mean_face(kpi, mean_points),
                )
            )
        if kpi.confidence.reliability:
            all_charts.append(
                Chart(
                    "reliability",
                    "evaluate",
                    "Calibration of the confidence",
                    "On the diagonal a confidence is a probability: 80 % of the keypoints with a"
                    " confidence of 0.8 are visible and near their label. Each dot represents"
                    f" {charts.FEWEST} or more keypoints.",
                    charts.draw_reliability(kpi.confidence),
                )
            )
        all_charts += [
            Chart(
                f"error_by_{attribute}",
                "slices",
                f"By {attribute.replace('_', ' ')}",
                "",
                charts.draw_slices(rows, f"nme_{kpi.normaliser}/all", theirs),
            )
            for attribute, rows, theirs in _charted(kpi, champion)
        ]
        if kpi.robustness is None:
            return all_charts
        clean = kpi.robustness.clean
        all_charts += [
            Chart(
                f"robustness_{curve.corruption}",
                "robustness",
                curve.corruption.replace("_", " ").capitalize(),
                "",
                charts.draw_robustness(curve, clean, "crop_px/all"),
            )
            for curve in kpi.robustness.curves
        ]
        return all_charts

    def faces(self) -> tuple[list[ReportFace], list[ReportFace]]:
        """The faces with the largest errors, and those with the largest loss to the champion."""
        predictions = load_predictions(self.evidence.folders["evaluate"] / "predictions.npz")
        errors = nme_of_faces(self.store, predictions.points)
        worst = worst_faces(self.store, predictions.points, errors, _SHOWN)
        champion, release = self.champion.predictions, self.champion.release_predictions
        if champion is None or release is None:
            return worst, []
        count = champion.points.shape[1]  # the schemes share their first keypoints
        points = release.points[:, :count]
        shared = first_keypoints(self.store, count)
        before, after = nme_of_faces(shared, champion.points), nme_of_faces(shared, points)
        return worst, faces_lost(shared, points, after, champion.points, before, _SHOWN)

    def context(self, with_faces: bool) -> dict[str, Any]:
        """The variables of the template.

        Args:
            with_faces: whether the page shows faces of the labelled set.
        """
        evidence, kpi = self.evidence, self.evidence.kpi
        worst, lost = self.faces() if with_faces else ([], [])
        charts_of: dict[str, list[dict[str, Any]]] = {
            "evaluate": [],
            "slices": [],
            "robustness": [],
        }
        for chart in self.charts:
            svg = Markup(charts.svg_of(chart.figure, chart.title))
            charts_of[chart.section].append(
                {"title": chart.title, "caption": chart.caption, "svg": svg}
            )
        engines = engine_table(evidence)
        judged = [row for row in engines if row.summary.p50_ms and row.summary.passed]
        checks = sorted(evidence.verdict.checks, key=lambda one: one.passed)
        comparisons = comparison_table(evidence.verdict.comparisons)
        return {
            "release_digest": evidence.release_digest,
            "reasons": self.reasons,
            "kpi": kpi,
            "normaliser": short(kpi),
            "comparable": kpi.dataset == nvidia_card.DATASET,
            "card": nvidia_card,
            "champion": self.champion,
            "charts": charts_of,
            "slices": slice_table(kpi, self.champion.kpi),
            "no_slices": no_slices(evidence),
            "checks": [one for one in checks if not one.evidence.startswith("champion/")],
            "num_checks": len(checks),
            "num_passed": sum(one.passed for one in checks),
            "comparisons": comparisons,
            "metrics": list(dict.fromkeys(row.metric for row in evidence.verdict.comparisons)),
            "parity": evidence.parity,
            "engines": engines,
            "fastest": min(judged, key=lambda row: row.summary.p50_ms or np.inf, default=None),
            "to_build": {
                target: how_to_build(target)
                for target in unfinished_targets(evidence.engines)["pending"]
            },
            "unfinished": {k: v for k, v in unfinished_targets(evidence.engines).items() if v},
            "with_faces": with_faces,
            "worst": [asdict(one) for one in worst],
            "lost": [asdict(one) for one in lost],
            "validation": evidence.validation,
            "split": evidence.split,
            "training": evidence.training,
            "manifests": evidence.manifests,
            "gaps": not_measured(evidence),
        }


def comparison_table(
    rows: Sequence[EngineDifference],
) -> dict[str, dict[str, dict[str, EngineDifference]]]:
    """Engine -> slice in words -> metric -> the row of gate.json.

    The table has the slices that the verdict depends on, and others where a loss is possible.
    """
    shown = {
        (row.engine_id, row.slice)
        for row in rows
        if row.required or (row.change is not None and not row.passed)
    }
    table: dict[str, dict[str, dict[str, EngineDifference]]] = {}
    for row in rows:
        if (row.engine_id, row.slice) in shown:
            attribute, _, value = (row.slice or "all faces").partition("=")
            faces = f"{attribute.replace('_', ' ')} {value}".strip()
            table.setdefault(row.engine_id, {}).setdefault(faces, {})[row.metric] = row
    return table


def slices_of(kpi: KpiReport, attribute: str) -> list[SliceMetrics]:
    """The slices of one attribute."""
    return [one for one in kpi.slices if one.attribute == attribute]


@dataclass(frozen=True, slots=True)
class SliceRow(SliceMetrics):
    """A slice with the champion's error; None where the champion has none."""

    champion: float | None


def slice_table(kpi: KpiReport, champion: KpiReport | None) -> dict[str, list[SliceRow]]:
    """Attribute -> its slices, each with the champion's error."""
    metric = f"nme_{kpi.normaliser}/all"
    theirs = {
        (each.attribute, each.value): each.metrics.get(metric)
        for each in (champion.slices if champion else ())
    }
    rows: dict[str, list[SliceRow]] = {}
    for each in kpi.slices:
        champion_error = theirs.get((each.attribute, each.value))
        rows.setdefault(each.attribute, []).append(
            SliceRow(**fields_of(each), champion=champion_error)
        )
    return rows


def short(kpi: KpiReport) -> str:
    """The headline normaliser, in a few words."""
    return str(kpi.normalisers[kpi.normaliser].split(",")[0])


def nme_of_faces(store: CropStore, points: Floats) -> Floats:
    """(N,) NME of each judged face, by the headline normaliser."""
    distances = face_errors(store, judged_rows(store), points)
    _, norm = distances.headline
    return nme(distances.errors, np.isfinite(distances.errors), norm)


def _charted(
    kpi: KpiReport, champion: KpiReport | None
) -> list[tuple[str, list[SliceMetrics], list[SliceMetrics]]]:
    """The attributes with two or more judged slices, yaw first: name, slices, champion's slices."""
    metric = f"nme_{kpi.normaliser}/all"
    names = dict.fromkeys(("yaw", "yaw_range", *(one.attribute for one in kpi.slices)))
    charted = []
    for name in names:
        rows = slices_of(kpi, name)
        if sum(row.metrics.get(metric) is not None for row in rows) >= 2:
            charted.append((name, rows, slices_of(champion, name) if champion else []))
    return charted
