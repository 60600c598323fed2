"""The gate: decides whether a release passes. A missing metric is a failed check.

Input: the KPI report of every engine that was executed, its parity, and its comparison with the
champion's engine. Output: every check with its value, limit, interval and evidence file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fpenet.core.engine_id import EngineId
from fpenet.core.records import FileRecord, Identifier, fields_of
from fpenet.kpi.bootstrap import Interval
from fpenet.kpi.compare import Difference
from fpenet.kpi.report import KpiReport
from fpenet.params import GateParams

GATE = "gate.json"


class ChampionState(Identifier):
    """Result of the comparison with the champion; ``first_release``: there is no champion."""

    FIRST_RELEASE = "first_release"
    COMPARED = "compared"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One comparison with a limit.

    Attributes:
        engine_id: ``target/precision``; None for a check of the evaluation faces.
        interval: interval of the value, or None.
        evidence: the file that contains the value, below the stages' folders.
        why: reason of the failure; empty if it passed.
    """

    engine_id: str | None
    name: str
    value: float | None
    limit: float | None
    interval: Interval | None
    evidence: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True)
class JudgedEngine:
    """The results of one engine that was executed.

    Attributes:
        engine_id: ``target/precision``.
        kpi: its report; None (no report) fails.
        evidence: the report's file.
        parity_px, parity_budget_px: mean distance of its points from those of the previous parity
            step, and its limit; None if not measured.
        differences: from the champion's engine; empty without a champion.
    """

    engine_id: str
    kpi: KpiReport | None
    evidence: str
    parity_px: float | None
    parity_budget_px: float | None
    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True)
class ChampionEngine:
    """An engine of the champion that an engine of the candidate was compared with.

    Attributes:
        engine_id: ``target/precision``.
        kpi, predictions: the files of its report and of its points, below the gate folder.
    """

    engine_id: str
    kpi: str
    predictions: str


@dataclass(frozen=True, slots=True)
class ChampionResult:
    """The champion that the candidate was compared with.

    Attributes:
        why: explanation of the state.
        engines: engine of the candidate, ``target/precision`` -> the champion's engine.
    """

    state: ChampionState
    why: str
    name: str | None = None
    engines: Mapping[str, ChampionEngine] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineDifference(Difference):
    """A ``Difference`` of one engine, ``target/precision``, from the champion's."""

    engine_id: str


@dataclass(frozen=True, slots=True)
class GateDecision(FileRecord):
    """``gate.json``.

    Attributes:
        reasons: why the release does not pass; empty if it passed.
        engines: executed engine, ``target/precision`` -> whether it passed.
        dataset: of the evaluation faces.
        comparisons: every engine's differences from the champion's engine.
    """

    format_version: ClassVar[int] = 2

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[GateCheck, ...]
    engines: Mapping[str, bool]
    dataset: str
    champion: ChampionResult
    comparisons: tuple[EngineDifference, ...]

    def engine_passed(self, engine_id: EngineId) -> bool | None:
        """Whether an engine passed; None if the gate did not judge it."""
        return self.engines.get(str(engine_id))


def check_at_most(
    engine_id: str,
    name: str,
    value: float | None,
    limit: float,
    evidence: str,
    interval: Interval | None = None,
) -> GateCheck:
    """Passed if ``value`` was measured and is below ``limit`` (equality fails)."""
    why = ""
    if value is None:
        why = f"{engine_id}: {name} was not measured; must be below {limit:g} ({evidence})"
    elif not value < limit:
        spread = f" (interval {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
        why = f"{engine_id}: {name} is {value:.4g}{spread}; must be below {limit:g} ({evidence})"
    return GateCheck(engine_id, name, value, limit, interval, evidence, not why, why)


def check_at_least(name: str, count: int, least: int, evidence: str) -> GateCheck:
    """Passed if there are at least ``least`` faces or subjects."""
    passed = count >= least
    why = f"insufficient evidence: {count} {name}; must be at least {least} ({evidence})"
    return GateCheck(None, name, count, least, None, evidence, passed, "" if passed else why)


def check_kpi(judged: JudgedEngine, faces: str, gate: GateParams) -> list[GateCheck]:
    """Check one engine's report against the thresholds of its data set, or of ``other``."""
    kpi = judged.kpi
    if kpi is None or kpi.faces != faces:
        problem = "no KPI report" if kpi is None else f"judged on different faces: {kpi.faces[:16]}"
        why = f"{judged.engine_id}: {problem}; must be of {faces[:16]} ({judged.evidence})"
        return [GateCheck(judged.engine_id, "kpi", None, None, None, judged.evidence, False, why)]
    limits = gate.thresholds.get(kpi.dataset, gate.thresholds.get("other", {}))
    if not limits:
        why = f"gate.thresholds has neither {kpi.dataset!r} nor 'other'"
        return [
            GateCheck(judged.engine_id, "thresholds", None, None, None, "params.yaml", False, why)
        ]
    return [
        check_at_most(
            judged.engine_id,
            metric,
            kpi.metrics.get(metric),
            limit,
            judged.evidence,
            kpi.intervals.get(metric),
        )
        for metric, limit in limits.items()
    ]


def check_differences(judged: JudgedEngine, champion: ChampionResult) -> list[GateCheck]:
    """The required rows of the comparison with the champion's engine."""
    if champion.state is ChampionState.FIRST_RELEASE:
        return []
    rival = champion.engines.get(judged.engine_id)
    evidence = rival.kpi if rival else "gate.champion"
    required = [row for row in judged.differences if row.required]
    if not required:
        why = f"{judged.engine_id}: not compared with the champion: {champion.why} ({evidence})"
        return [GateCheck(judged.engine_id, "champion", None, None, None, evidence, False, why)]
    checks = []
    for row in required:
        name = f"{row.metric} relative to the champion" + (f", {row.slice}" if row.slice else "")
        why = "" if row.passed else f"{judged.engine_id}: {name}: {row.why} ({evidence})"
        checks.append(
            GateCheck(
                judged.engine_id,
                name,
                row.change,
                row.margin,
                row.interval,
                evidence,
                row.passed,
                why,
            )
        )
    return checks


def decide(
    trained: KpiReport,
    judged_engines: Sequence[JudgedEngine],
    champion: ChampionResult,
    gate: GateParams,
) -> GateDecision:
    """The gate's decision.

    The release passes when there are enough faces and, of each target with an executed engine, one
    precision passes; a precision that fails is not shipped.

    Args:
        trained: the trained net's report; all engines must be evaluated on the same faces.
        judged_engines: all engines that were executed; an engine that was only built is not judged.
    """
    evidence = "evaluate/kpi.json"
    checks = [
        check_at_least("faces", trained.num_faces, gate.min_faces, evidence),
        check_at_least("subjects", trained.num_subjects, gate.min_subjects, evidence),
    ]
    reasons = [check.why for check in checks if not check.passed]
    shipped: dict[str, bool] = {}
    for judged in judged_engines:
        engine_checks = check_kpi(judged, trained.faces, gate)
        engine_checks.append(
            check_at_most(
                judged.engine_id,
                "parity px",
                judged.parity_px,
                0.0 if judged.parity_budget_px is None else judged.parity_budget_px,
                "build/parity.json",
            )
        )
        engine_checks += check_differences(judged, champion)
        shipped[judged.engine_id] = all(check.passed for check in engine_checks)
        checks += engine_checks
    passing = {EngineId.parse(engine_id).target for engine_id, passed in shipped.items() if passed}
    reasons += [
        check.why
        for check in checks
        if check.engine_id
        and not check.passed
        and EngineId.parse(check.engine_id).target not in passing
    ]
    if not shipped:
        reasons.append("no engine was executed and judged (build/engines.json)")
    return GateDecision(
        not reasons,
        tuple(reasons),
        tuple(checks),
        shipped,
        trained.dataset,
        champion,
        tuple(
            EngineDifference(engine_id=judged.engine_id, **fields_of(row))
            for judged in judged_engines
            for row in judged.differences
        ),
    )
