"""What was not measured of a release, as sentences for the report and the model card.

The sentences come from the evidence. A value that was not measured must not look like a good
result.
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
"""Personal attributes, whose slices the section on ethical considerations shows."""


def not_measured(evidence: Evidence) -> list[str]:
    """One sentence for each missing measurement, the most important first."""
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
    sentences = []
    for status in (EngineStatus.BUILT_NOT_JUDGED, EngineStatus.PENDING, EngineStatus.FAILED):
        names = [
            f"{row.target} {row.precision}" for row in evidence.engines if row.status is status
        ]
        if names:
            sentences.append(f"Engines that did not run, {status.words}: {', '.join(names)}.")
    untimed = [
        f"{row.target} {row.precision}"
        for row in evidence.engines
        if row.ready and not evidence.timings.of_engine(row.id)
    ]
    return sentences + ([f"Latency of {', '.join(untimed)}."] if untimed else [])


def _champion(champion: ChampionResult) -> list[str]:
    if champion.state is ChampionState.COMPARED:
        return []
    return [f"Comparison with a champion: {champion.state.words}, {champion.why}."]


def _card(kpi: KpiReport) -> list[str]:
    if kpi.dataset == nvidia_card.DATASET:
        return []
    return [
        "NVIDIA's KPI: it is defined on the KPI subjects of Multi-PIE, but this release was judged"
        f" on {kpi.dataset}."
    ]


def _slices(kpi: KpiReport) -> list[str]:
    attributes = {each.attribute for each in kpi.slices}
    absent = [name for name in PERSONAL if name not in attributes]
    sentences = []
    if absent:
        sentences.append(f"Error by {', '.join(absent)}: not in the labels.")
    few = [f"{each.attribute} {each.value}" for each in kpi.slices if each.too_few]
    if few:
        sentences.append(f"Slices with too few faces or subjects: {', '.join(few)}.")
    sentences += [f"Slices by {name}: {why}." for name, why in kpi.slices_left_out.items()]
    sentences += [
        f"Spread between groups by {one.attribute}: {one.why}."
        for one in kpi.spreads
        if one.ratio is None
    ]
    return sentences


def _curves(kpi: KpiReport) -> list[str]:
    sentences = []
    if kpi.robustness is None:
        sentences.append("Robustness to inaccurate boxes and degraded images.")
    temporal = kpi.temporal
    if temporal is None:
        sentences.append("Temporal jitter of the keypoints in a video.")
    elif temporal.kind is not TemporalKind.SEQUENCES:
        kind = temporal.kind.words
        sentences.append(f"Temporal jitter in a real video: measured on {kind} only.")
    if kpi.confidence.ece is None:
        sentences.append("Calibration of the confidences.")
    return sentences


def _metrics(metrics: Mapping[str, float | None]) -> list[str]:
    missing: dict[str, list[str]] = {}
    for name, value in metrics.items():
        if value is None:
            unit, _, region = name.rpartition("/")
            missing.setdefault(region, []).append(unit)
    return [
        f"{region.replace('_', ' ').capitalize()}: no labels"
        f" ({', '.join(units[:4])}{', ...' if len(units) > 4 else ''})."
        for region, units in missing.items()
    ]


def _validation(validation: ValidationReport) -> list[str]:
    return [
        f"Check of the labels {name!r}: {check.skipped}."
        for name, check in validation.checks.items()
        if check.skipped
    ]
