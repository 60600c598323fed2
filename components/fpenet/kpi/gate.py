"""The gate: does the release pass? Fails closed: no evidence is a failed check, and a result.

Input: the KPI report of every engine that was executed, its parity, and how it compares with the
champion's. Output: every check with its number, limit, interval and the file that says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fpenet.kpi.compare import Difference
from fpenet.kpi.report import KpiReport
from fpenet.params import GateParams

ChampionState = Literal["first release", "compared", "not comparable"]


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One comparison with a limit.

    Attributes:
        engine: ``target/precision``; None where it is about the judged faces.
        interval: of the value; None where there is none.
        evidence: the file that the value is in, below the stages' folders.
        why: empty when it passed.
    """

    engine: str | None
    name: str
    value: float | None
    limit: float | None
    interval: Sequence[float] | None
    evidence: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True)
class JudgedEngine:
    """What is known of one engine that was executed.

    Attributes:
        name: ``target/precision``.
        kpi: its report; None where there is none, which fails.
        evidence: the report's file.
        parity_px, parity_budget_px: mean distance of its points from the rung before; None where it
            was not measured.
        differences: from the champion's engine; empty where there is no champion.
    """

    name: str
    kpi: KpiReport | None
    evidence: str
    parity_px: float | None
    parity_budget_px: float | None
    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True)
class ChampionResult:
    """What the candidate was compared with.

    Attributes:
        why: what the state means here, in words.
        engines: engine of the candidate -> the champion's engine, and its files.
    """

    state: ChampionState
    why: str
    name: str | None = None
    engines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def check_at_most(
    engine: str,
    name: str,
    value: float | None,
    limit: float,
    evidence: str,
    interval: Sequence[float] | None = None,
) -> GateCheck:
    """Passed when ``value`` was measured and is below ``limit``; at the limit it is not."""
    why = ""
    if value is None:
        why = f"{engine}: {name} was not measured; must be below {limit:g} ({evidence})"
    elif not value < limit:
        spread = f" (interval {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
        why = f"{engine}: {name} is {value:.4g}{spread}; must be below {limit:g} ({evidence})"
    return GateCheck(engine, name, value, limit, interval, evidence, not why, why)


def check_at_least(name: str, count: int, least: int, evidence: str) -> GateCheck:
    """Enough faces or subjects to believe the rest."""
    passed = count >= least
    why = f"insufficient evidence: {count} {name}; must be at least {least} ({evidence})"
    return GateCheck(None, name, count, least, None, evidence, passed, "" if passed else why)


def check_kpi(engine: JudgedEngine, faces: str, gate: GateParams) -> list[GateCheck]:
    """The thresholds of the data set, or of ``other``, on one engine's report of these faces."""
    kpi = engine.kpi
    if kpi is None or kpi.faces != faces:
        found = "no KPI report" if kpi is None else f"judged on other faces: {kpi.faces[:16]}"
        why = f"{engine.name}: {found}; must be of {faces[:16]} ({engine.evidence})"
        return [GateCheck(engine.name, "kpi", None, None, None, engine.evidence, False, why)]
    limits = gate.thresholds.get(kpi.dataset, gate.thresholds.get("other", {}))
    if not limits:
        why = f"gate.thresholds has neither {kpi.dataset!r} nor 'other'"
        return [GateCheck(engine.name, "thresholds", None, None, None, "params.yaml", False, why)]
    return [
        check_at_most(
            engine.name,
            metric,
            kpi.metrics.get(metric),
            limit,
            engine.evidence,
            kpi.intervals.get(metric),
        )
        for metric, limit in limits.items()
    ]


def check_differences(engine: JudgedEngine, champion: ChampionResult) -> list[GateCheck]:
    """The required rows of the comparison with the champion's engine."""
    if champion.state == "first release":
        return []
    evidence = champion.engines.get(engine.name, {}).get("kpi", "gate.champion")
    required = [row for row in engine.differences if row.required]
    if not required:
        why = f"{engine.name}: not compared with the champion: {champion.why} ({evidence})"
        return [GateCheck(engine.name, "champion", None, None, None, evidence, False, why)]
    checks = []
    for row in required:
        name = f"{row.metric} beside the champion" + (f", {row.slice}" if row.slice else "")
        why = "" if row.passed else f"{engine.name}: {name}: {row.why} ({evidence})"
        checks.append(
            GateCheck(
                engine.name, name, row.change, row.margin, row.interval, evidence, row.passed, why
            )
        )
    return checks


def decide(
    trained: KpiReport, engines: Sequence[JudgedEngine], champion: ChampionResult, gate: GateParams
) -> dict[str, Any]:
    """The verdict.

    Args:
        trained: the trained net's report: of which faces all the others must be.
        engines: all that were executed; what was built and not executed is not judged.

    Returns:
        ``passed``, ``reasons``, ``checks``, ``engines``: name -> whether it passed, ``champion``
        and ``comparisons``. The release passes when there are enough faces and, of each target with
        an executed engine, one precision passes; a precision that fails is not shipped.
    """
    evidence = "evaluate/kpi.json"
    checks = [
        check_at_least("faces", trained.num_faces, gate.min_faces, evidence),
        check_at_least("subjects", trained.num_subjects, gate.min_subjects, evidence),
    ]
    reasons = [check.why for check in checks if not check.passed]
    shipped: dict[str, bool] = {}
    for engine in engines:
        own = check_kpi(engine, trained.faces, gate)
        own.append(
            check_at_most(
                engine.name,
                "parity px",
                engine.parity_px,
                0.0 if engine.parity_budget_px is None else engine.parity_budget_px,
                "build/parity.json",
            )
        )
        own += check_differences(engine, champion)
        shipped[engine.name] = all(check.passed for check in own)
        checks += own
    passing = {name.split("/")[0] for name, passed in shipped.items() if passed}
    reasons += [
        check.why
        for check in checks
        if check.engine and not check.passed and check.engine.split("/")[0] not in passing
    ]
    if not shipped:
        reasons.append("no engine was executed and judged (build/engines.json)")
    return {
        "passed": not reasons,
        "reasons": reasons,
        "checks": [asdict(check) for check in checks],
        "engines": shipped,
        "dataset": trained.dataset,
        "champion": asdict(champion),
        "comparisons": [
            {"engine": engine.name, **row.to_json()}
            for engine in engines
            for row in engine.differences
        ],
    }
