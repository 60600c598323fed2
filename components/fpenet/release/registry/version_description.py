"""The description of a registered version, which MLflow shows on the page where a person promotes.

Input: the evidence of a release and the reasons against it. Output: Markdown of at most
``LONGEST_DESCRIPTION`` characters, the most important first: the verdict, the KPI by region, the
slices that got worse, the engines, and last the digests.
"""

from collections.abc import Sequence

from fpenet.deploy.engines.engine_table import EngineStatus
from fpenet.deploy.engines.targets import TARGETS, how_to_build
from fpenet.kpi.gate import ChampionState, EngineDifference
from fpenet.kpi.report import KpiReport
from fpenet.release.evidence import (
    CARD,
    MAIN_REGIONS,
    REPORT,
    Evidence,
    engine_rows,
)
from fpenet.release.report import nvidia_card
from fpenet.release.report.champion import champion_kpi
from fpenet.release.report.citations import citation_table
from fpenet.release.report.not_measured import no_slices

LONGEST_DESCRIPTION = 5000
"""Longest description of a version that MLflow's database stores, in characters."""
MOST_ROWS = 6
"""Largest number of reasons, and of slices; the report has all of them."""
_LONGEST_REASON = 240
_CUT = "\n\nThe rest is in the report."


def describe_version(
    evidence: Evidence,
    reasons: Sequence[str],
    page: str | None = None,
    limit: int = LONGEST_DESCRIPTION,
) -> str:
    """The description of the version of a release.

    Args:
        reasons: against the promotion of the release; empty where it may be promoted.
        page: address of the run in MLflow, below which its artifacts are; None on the page of
            the run itself.
    """
    sections = [
        f"# {_verdict(evidence, reasons)}",
        _links(page),
        f"## KPI by region\n\n{_kpi(evidence)}",
        f"## Slices that are worse than with the champion\n\n{_worse_slices(evidence)}",
        f"## Engines\n\n{_engines(evidence)}",
        f"## Origin\n\n{_origin(evidence)}",
    ]
    text = "\n\n".join(sections) + "\n"
    while len(text) > limit and len(sections) > 1:
        sections.pop()
        text = "\n\n".join(sections) + _CUT + "\n"
    return text[:limit]


def run_page(experiment_id: str, run_id: str) -> str:
    """The address of a run in MLflow, relative to any page of the same server."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def _verdict(evidence: Evidence, reasons: Sequence[str]) -> str:
    if not reasons:
        checks = evidence.verdict.checks
        passed = sum(check.passed for check in checks)
        return (
            "May be promoted\n\n"
            f"Every check that a promotion needs passed ({passed} of {len(checks)} checks of the"
            " gate)."
        )
    lines = [f"- {_cell(reason, _LONGEST_REASON)}" for reason in reasons[:MOST_ROWS]]
    if len(reasons) > MOST_ROWS:
        lines.append(f"- {len(reasons) - MOST_ROWS} more, in the report")
    return "\n".join(["Refused", "", *lines])


def _links(page: str | None) -> str:
    if page is None:
        return f"Report: artifact `report/{REPORT}` of this run; model card: artifact `{CARD}`."
    return (
        f"[Report]({page}/artifacts/report/{REPORT}) |"
        f" [model card]({page}/artifacts/{CARD}) | [run]({page})"
    )


def _kpi(evidence: Evidence) -> str:
    kpi, champion = evidence.kpi, champion_kpi(evidence)
    unit = _unit_of(kpi)
    is_tight = unit == nvidia_card.UNIT
    comparable = is_tight and kpi.dataset == nvidia_card.DATASET
    name = evidence.verdict.champion.name or "none"
    nme = f"nme_{kpi.normaliser}"
    rows = [
        (
            region.replace("_", " "),
            _px(kpi, f"{unit}/{region}"),
            _px(champion, f"{unit}/{region}"),
            f"{nvidia_card.KPI_PX[region]:.2f}" if region in nvidia_card.KPI_PX else "-",
            _percent(kpi.metrics.get(f"{nme}/{region}")),
        )
        for region in sorted(kpi.regions, key=lambda region: region not in MAIN_REGIONS)
    ]
    crop = "tight keypoint crop, as in NVIDIA's card" if is_tight else "crop of the released model"
    note = (
        "" if comparable else f" NVIDIA's card is of Multi-PIE: not comparable with {kpi.dataset}."
    )
    normaliser = kpi.normalisers[kpi.normaliser].split(",")[0]
    return (
        f"{kpi.num_faces:,} faces of {kpi.num_subjects:,} subjects of {kpi.dataset}, part"
        f" {kpi.part}. Mean error in pixels of the source image, {crop} [interval]. NME: of the"
        f" {normaliser}.{note}\n\n"
        + citation_table(
            ("region", "this release", f"champion: {name}", "NVIDIA's card", "NME"), rows
        )
    )


def _unit_of(kpi: KpiReport) -> str:
    """The unit of NVIDIA's card, or that of the released model's crop where it is not measured."""
    tight = any(kpi.metrics.get(f"{nvidia_card.UNIT}/{region}") for region in kpi.regions)
    return nvidia_card.UNIT if tight else "image_px"


def _px(kpi: KpiReport | None, name: str) -> str:
    if kpi is None:
        return "-"
    value, ends = kpi.metrics.get(name), kpi.intervals.get(name)
    if value is None:
        return "n/a"
    return f"{value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2%}"


def _worse_slices(evidence: Evidence) -> str:
    champion = evidence.verdict.champion
    if champion.state is not ChampionState.COMPARED:
        return f"Not compared: {champion.state.words}, {champion.why}."
    compared = [row for row in evidence.verdict.comparisons if row.slice and row.change is not None]
    if not compared:
        return no_slices(evidence) or "No slice was measured for both models."
    worse = sorted((row for row in compared if _is_worse(row)), key=lambda row: -(row.change or 0))
    if not worse:
        return f"No slice is worse, by {len(compared)} compared errors."
    table = citation_table(
        ("slice", "metric", "engine", "champion", "this release", "change"),
        [
            (
                _cell(str(row.slice).replace("_", " ").replace("=", " ")),
                row.metric,
                row.engine_id,
                _number(row.first),
                _number(row.second),
                _change(row),
            )
            for row in worse[:MOST_ROWS]
        ],
    )
    rest = len(worse) - MOST_ROWS
    return table + (f"\n\n{rest} more, in the report." if rest > 0 else "")


def _is_worse(row: EngineDifference) -> bool:
    """Whether the gate refused the change, or its whole interval is a loss."""
    return (row.required and not row.passed) or (row.interval is not None and row.interval[0] > 0)


def _change(row: EngineDifference) -> str:
    interval = f" [{row.interval[0]:+.1%}, {row.interval[1]:+.1%}]" if row.interval else ""
    refused = ", refused by the gate" if row.required and not row.passed else ""
    return f"{row.change or 0.0:+.1%}{interval}{refused}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"


def _engines(evidence: Evidence) -> str:
    rows = engine_rows(evidence)
    if not rows:
        return "No engine was built."
    verdicts = {True: "passed", False: "refused by the gate"}
    judged = [
        (
            row.target,
            row.precision,
            "-" if row.p50_ms is None else f"{row.p50_ms:.2f} ms",
            row.status.words if row.passed is None else verdicts[row.passed],
        )
        for row in rows
        if row.status is not EngineStatus.PENDING
    ]
    parts = []
    if judged:
        head = ("target", "precision", "latency, one face", "status")
        parts.append(citation_table(head, judged))
    pending = [row for row in rows if row.status is EngineStatus.PENDING]
    todo = {
        target: how_to_build(target)
        for target in dict.fromkeys(row.target for row in pending)
        if target in TARGETS
    }
    lines = [
        f"- {target} {', '.join(row.precision for row in pending if row.target == target)}:"
        f" pending; {words}"
        for target, words in todo.items()
    ]
    return "\n\n".join([*parts, "\n".join(lines)] if lines else parts)


def _origin(evidence: Evidence) -> str:
    digests = [f"{name} `{manifest.content[:12]}`" for name, manifest in evidence.manifests.items()]
    return f"Release `{evidence.release_digest}`; {', '.join(digests)}."


def _cell(text: str, longest: int = 80) -> str:
    """Text on one line of a table or list, cut to ``longest`` characters."""
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
