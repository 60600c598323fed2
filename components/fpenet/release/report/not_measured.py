"""What a release does not know about itself, in sentences: for the report and the model card.

Everything here is read off the evidence; what nobody measured must not look like a good result.
"""

from collections.abc import Mapping

from fpenet.data.validation.validation_report import ValidationReport
from fpenet.deploy.engines.engine_table import EngineStatus
from fpenet.kpi.gate import ChampionResult, ChampionState
from fpenet.kpi.report import KpiReport
from fpenet.kpi.temporal import TemporalKind
from fpenet.release.evidence import Evidence
from fpenet.release.report import nvidia_card

PERSONAL = ("age", "sex", "ethnicity")
"""Attributes of people whose slices the model card's ethical considerations ask for."""


def not_measured(evidence: Evidence) -> list[str]:
    """One sentence a gap, the weightiest first."""
    kpi = evidence.kpi
    return [
        *_engines(evidence),
        *_champion(evidence.verdict.champion),
        *_card(kpi),
        *_slices(kpi),
        *_curves(kpi),
        *_metrics(kpi.metrics),
        *(f"Assumed: {each}." for each in kpi.assumed),
        *_validation(evidence.validation),
    ]


def _engines(evidence: Evidence) -> list[str]:
    said = []
    for status in (EngineStatus.BUILT_NOT_JUDGED, EngineStatus.PENDING, EngineStatus.FAILED):
        names = [
            f"{row.target} {row.precision}" for row in evidence.engines if row.status is status
        ]
        if names:
            said.append(f"Engines that nobody executed, {status.words}: {', '.join(names)}.")
    untimed = [
        f"{row.target} {row.precision}"
        for row in evidence.engines
        if row.ready and not evidence.timings.of_engine(row.id)
    ]
    return said + ([f"Latency of {', '.join(untimed)}."] if untimed else [])


def _champion(champion: ChampionResult) -> list[str]:
    if champion.state is ChampionState.COMPARED:
        return []
    return [f"Comparison with a champion: {champion.state.words}, {champion.why}."]


def _card(kpi: KpiReport) -> list[str]:
    if kpi.dataset == nvidia_card.DATASET:
        return []
    return [
        "NVIDIA's own KPI: it is defined on the KPI subjects of Multi-PIE, and this release was"
        f" judged on {kpi.dataset}."
    ]


def _slices(kpi: KpiReport) -> list[str]:
    there = {one.attribute for one in kpi.slices}
    absent = [name for name in PERSONAL if name not in there]
    said = []
    if absent:
        said.append(f"Error by {', '.join(absent)}: the labels do not tell.")
    few = [f"{one.attribute} {one.value}" for one in kpi.slices if one.too_few]
    if few:
        said.append(f"Slices with too few faces or people: {', '.join(few)}.")
    said += [f"Slices by {name}: {why}." for name, why in kpi.slices_left_out.items()]
    return said


def _curves(kpi: KpiReport) -> list[str]:
    said = []
    if kpi.robustness is None:
        said.append("Robustness to worse boxes and worse pictures.")
    temporal = kpi.temporal
    if temporal is None:
        said.append("How still the keypoints stand on a video.")
    elif temporal.kind is not TemporalKind.SEQUENCES:
        said.append(f"How still the keypoints stand on a real video: {temporal.kind.words} only.")
    if kpi.confidence.ece is None:
        said.append("Whether a confidence is a probability.")
    return said


def _metrics(metrics: Mapping[str, float | None]) -> list[str]:
    lost: dict[str, list[str]] = {}
    for name, value in metrics.items():
        if value is None:
            unit, _, region = name.rpartition("/")
            lost.setdefault(region, []).append(unit)
    return [
        f"{region.replace('_', ' ').capitalize()}, for want of labels"
        f" ({', '.join(units[:4])}{', ...' if len(units) > 4 else ''})."
        for region, units in lost.items()
    ]


def _validation(validation: ValidationReport) -> list[str]:
    return [
        f"Check of the labels {name!r}: {check.skipped}."
        for name, check in validation.checks.items()
        if check.skipped
    ]
