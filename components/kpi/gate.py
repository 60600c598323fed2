"""Stage gate: does the release pass? Fails closed: no evidence is a failed check.

Input: the KPI report of the trained net, the KPI of every engine that was executed, and the parity
ladder. Output: ``gate.json`` with every check, its number and its limit. A failed gate is a result.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.kpi.evaluate import KpiReport
from components.params import GateParams


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison; ``why`` is empty when it passed."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    why: str


def check_at_most(name: str, value: float | None, limit: float) -> Check:
    """Passed when ``value`` was measured and is below ``limit``; at the limit it is not."""
    if value is None:
        return Check(name, None, limit, False, f"{name} was not measured")
    if not value < limit:
        return Check(name, value, limit, False, f"{name} is {value:.4g}; must be below {limit:g}")
    return Check(name, value, limit, True, "")


def check_at_least(name: str, count: int, least: int) -> Check:
    """Enough faces or subjects to believe the rest."""
    passed = count >= least
    why = "" if passed else f"insufficient evidence: {count} {name}; must be at least {least}"
    return Check(name, float(count), float(least), passed, why)


def check_kpi(
    name: str, dataset: str, metrics: Mapping[str, float | None], gate: GateParams
) -> list[Check]:
    """The thresholds of the data set, or of ``other``, on one model's metrics."""
    limits = gate.thresholds.get(dataset, gate.thresholds.get("other", {}))
    if not limits:
        why = f"gate.thresholds has neither {dataset!r} nor 'other'"
        return [Check(f"{name} thresholds", None, None, False, why)]
    return [
        check_at_most(f"{name} {metric}", metrics.get(metric), limit)
        for metric, limit in limits.items()
    ]


def judge(
    kpi: KpiReport,
    engines: list[Mapping[str, Any]],
    rungs: list[Mapping[str, Any]],
    gate: GateParams,
) -> dict[str, Any]:
    """The verdict.

    Args:
        engines: the rows of ``engines.json``.
        rungs: the rows of ``parity.json``.

    Returns:
        ``passed``, ``reasons``, ``checks`` and, for each executed engine, ``engines``. The release
        passes when the trained net passes and, of each target with an executed engine, at least one
        precision; a precision that fails is not shipped.
    """
    evidence = [
        check_at_least("faces", kpi.num_faces, gate.min_faces),
        check_at_least("subjects", kpi.num_subjects, gate.min_subjects),
    ]
    checks = evidence + check_kpi("net", kpi.dataset, kpi.metrics, gate)
    parity = {rung["rung"]: rung for rung in rungs}
    shipped: dict[str, bool] = {}
    for engine in engines:
        if engine["status"] != "ready":
            continue
        name = f"{engine['target']}/{engine['precision']}"
        own = check_kpi(name, kpi.dataset, engine["metrics"] or {}, gate)
        rung = parity.get("onnx" if engine["precision"] == "fp32" else engine["precision"])
        own.append(
            check_at_most(f"{name} parity px", rung["mean_px"], rung["budget_px"])
            if rung
            else Check(f"{name} parity px", None, None, False, f"{name}: parity was not measured")
        )
        shipped[name] = all(check.passed for check in own)
        checks += own
    targets = {name.split("/")[0] for name in shipped}
    lost = sorted(
        target
        for target in targets
        if not any(ok for name, ok in shipped.items() if name.split("/")[0] == target)
    )
    reasons = [
        check.why
        for check in checks
        if not check.passed and check.name.split("/")[0] not in targets
    ]
    reasons += [
        check.why for check in checks if not check.passed and check.name.split("/")[0] in lost
    ]
    if not shipped:
        reasons.append("no engine was executed and judged")
    return {
        "passed": not reasons,
        "reasons": reasons,
        "checks": [asdict(check) for check in checks],
        "engines": shipped,
        "dataset": kpi.dataset,
    }


def judge_release(
    *, evaluate_dir: Path, build_dir: Path, gate: GateParams, out_dir: Path
) -> dict[str, Any]:
    """Write ``gate.json``; returns the verdict without the single checks."""
    kpi = KpiReport.from_json(_read(evaluate_dir / "kpi.json"))
    verdict = judge(
        kpi, _read(build_dir / "engines.json"), _read(build_dir / "parity.json")["rungs"], gate
    )
    (out_dir / "gate.json").write_text(json.dumps(verdict, indent=1) + "\n", encoding="utf-8")
    return {key: verdict[key] for key in ("passed", "reasons", "engines", "dataset")}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
