"""What was not measured of a release, as sentences for the report and the model card.

The sentences come from the evidence. A value that was not measured must not look like a good
result.
"""

from fpenet.data.validation.validation_report import ValidationReport
from fpenet.deploy.engines.engine_table import EngineStatus
from fpenet.kpi.gate import ChampionResult, ChampionState
from fpenet.kpi.report import KpiReport
from fpenet.kpi.temporal import TemporalKind
from fpenet.params import EvaluateParams
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
        *_comparison(evidence),
        *_slices(evidence),
        *_curves(kpi),
        *_metrics(kpi),
        *(f"Assumed: {each}." for each in kpi.assumed),
        *_validation(evidence.validation),
    ]


def _engines(evidence: Evidence) -> list[str]:
    sentences = [] if evidence.engines else ["Engines: none was built."]
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
    if untimed:
        sentences.append(f"Latency of {', '.join(untimed)}.")
    if not evidence.parity:
        sentences.append("Parity of the renderings and engines with the torch net: no check.")
    if not evidence.verdict.checks:
        sentences.append("Checks of the gate: none was made.")
    return sentences


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


def _comparison(evidence: Evidence) -> list[str]:
    verdict = evidence.verdict
    compared = verdict.champion.state is ChampionState.COMPARED
    if compared and not any(row.change is not None for row in verdict.comparisons):
        return ["Comparison with the champion: no metric was compared."]
    return []


def no_slices(evidence: Evidence) -> str | None:
    """The sentence that the errors by slice are missing; None if an attribute has two slices."""
    kpi = evidence.kpi
    metric = f"nme_{kpi.normaliser}/all"
    judged = [each.attribute for each in kpi.slices if each.metrics.get(metric) is not None]
    if any(judged.count(attribute) > 1 for attribute in judged):
        return None
    params = EvaluateParams.model_validate(evidence.manifests["evaluate"].params["evaluate"])
    return (
        f"Error by slice: no attribute has two slices with at least {params.slices.min_faces} faces"
        f" of {params.slices.min_subjects} subjects."
    )


def _slices(evidence: Evidence) -> list[str]:
    kpi = evidence.kpi
    attributes = {each.attribute for each in kpi.slices}
    absent = [name for name in PERSONAL if name not in attributes]
    sentences = [sentence] if (sentence := no_slices(evidence)) else []
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
    if not (kpi.curve.nme and kpi.curve.share):
        sentences.append("Distribution of the error over the faces.")
    if not any(error is not None for error in kpi.per_point.get("crop_px", ())):
        sentences.append("Error of each keypoint.")
    if kpi.robustness is None or not kpi.robustness.curves:
        sentences.append("Robustness to inaccurate boxes and degraded images.")
    temporal = kpi.temporal
    if temporal is None:
        sentences.append("Temporal jitter of the keypoints in a video.")
    elif temporal.kind is not TemporalKind.SEQUENCES:
        kind = temporal.kind.words
        sentences.append(f"Temporal jitter in a real video: measured on {kind} only.")
    if kpi.confidence.ece is None or not kpi.confidence.reliability:
        sentences.append("Calibration of the confidences.")
    if kpi.confidence.auroc_large_error is None:
        sentences.append("Detection of large errors by the confidences.")
    return sentences


def _metrics(kpi: KpiReport) -> list[str]:
    if not any(value is not None for value in kpi.metrics.values()):
        return ["Error by region: no metric was measured."]
    missing: dict[str, list[str]] = {}
    for name, value in kpi.metrics.items():
        if value is None:
            unit, _, region = name.rpartition("/")
            missing.setdefault(region, []).append(unit)
    sentences = [
        f"{region.replace('_', ' ').capitalize()}: no labels"
        f" ({', '.join(units[:4])}{', ...' if len(units) > 4 else ''})."
        for region, units in missing.items()
    ]
    if not any(kpi.intervals.values()):
        sentences.append("Intervals of the errors.")
    return sentences


def _validation(validation: ValidationReport) -> list[str]:
    if not validation.checks:
        return ["Checks of the labels: none ran."]
    return [
        f"Check of the labels {name!r}: {check.skipped}."
        for name, check in validation.checks.items()
        if check.skipped
    ]
