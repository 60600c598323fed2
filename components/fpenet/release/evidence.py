"""The evidence of a release: its digest, its engines, and whether it may become the candidate.

Input: the finished, verified folders of the stages. Does: reads their results into one record.
Output: values that MLflow, the report and the model card show. This module does not import MLflow.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fpenet.core.errors import InputError
from fpenet.core.records import decode_part
from fpenet.data.split import SplitSummary
from fpenet.data.validation.validation_report import VALIDATION, ValidationReport
from fpenet.deploy.benchmark.timings import TIMINGS, TimingTable
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineStatus, EngineTable
from fpenet.deploy.judge.parity import PARITY, ParityCheck, ParityTable
from fpenet.kpi.gate import GATE, GateDecision
from fpenet.kpi.report import KPI, KpiReport
from fpenet.provenance.digest import digest_json
from fpenet.provenance.manifest import Manifest, read_manifest
from fpenet.release.release_manifest import EngineSummary, TrainingSummary

RELEASE_TAG = "fpenet.release"
NAME_TAG = "fpenet.name"
PROMOTION_TAG = "fpenet.promotion"
"""Tag of a version: the latest decision on a promotion request for it."""
CANDIDATE = "candidate"
"""Alias of the version that the pipeline proposes."""
DEPLOYABLE = "deployable"
"""Alias of the version that devices download. Setting it is a promotion request."""
REPORT, CARD, PUBLISHED = "report.html", "model_card.md", "published"
"""Outputs of stage report: the report, the model card, and the folder that MLflow stores."""
MAIN_REGIONS = ("all", "eyes", "mouth")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TrainedNet(TrainingSummary):
    """The net and its training; the attributes are those of ``NetDescription``."""

    num_keypoints: int
    box_scale: float
    confidence: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results of all stages of one release.

    Attributes:
        folders: stage -> its finished folder.
        manifests: stage -> its manifest.
        validation: ``report.json`` of the stage validate.
        kpi: ``kpi.json``.
        engines: rows of ``engines.json``.
        parity: rows of ``parity.json``.
        timings: ``benchmark.json``.
        verdict: ``gate.json``.
    """

    folders: Mapping[str, Path]
    manifests: Mapping[str, Manifest]
    validation: ValidationReport
    kpi: KpiReport
    engines: Sequence[Engine]
    parity: Sequence[ParityCheck]
    timings: TimingTable
    verdict: GateDecision

    @property
    def release_digest(self) -> str:
        """The digest of the release, computed from the content digest of every stage."""
        return digest_json({name: manifest.content for name, manifest in self.manifests.items()})

    @property
    def training(self) -> TrainedNet:
        """From the summary of stage train."""
        return self._summary("train", TrainedNet)

    @property
    def split(self) -> SplitSummary:
        """The summary of stage split."""
        return self._summary("split", SplitSummary)

    def _summary(self, stage: str, kind: type[_T]) -> _T:
        where = f"{self.folders[stage]}/manifest.json, summary"
        return decode_part(self.manifests[stage].summary, kind, where)


def version_name(evidence: Evidence, kind: str, version: str) -> str:
    """The name of a version in the style of NVIDIA's card, e.g. ``deployable_v3.0``.

    Args:
        kind: ``deployable`` or ``trainable``.
        version: number of the deployable model's version in the registry; unique per release.
    """
    return f"{kind}_{evidence.manifests['bundle'].params['bundle']['version']}.{version}"


def shipped_precisions(evidence: Evidence) -> dict[str, list[str]]:
    """Target -> the precisions of its engines that ran and passed the gate."""
    shipped: dict[str, list[str]] = {}
    for engine in evidence.engines:
        if engine.ready and evidence.verdict.engine_passed(engine.id):
            shipped.setdefault(engine.target, []).append(engine.precision)
    return shipped


def read_evidence(folders: Mapping[str, Path]) -> Evidence:
    """Read the evidence from the stage folders.

    Raises:
        InputError: a file is missing or is not JSON; the message names it.
    """
    return Evidence(
        folders,
        {name: read_manifest(folder) for name, folder in folders.items()},
        ValidationReport.read(folders["validate"] / VALIDATION),
        KpiReport.read(folders["evaluate"] / KPI),
        EngineTable.read(folders["build"] / ENGINES).engines,
        ParityTable.read(folders["build"] / PARITY).checks,
        TimingTable.read(folders["benchmark"] / TIMINGS),
        GateDecision.read(folders["gate"] / GATE),
    )


def unfinished_targets(engines: Sequence[Engine]) -> dict[str, list[str]]:
    """Status ``pending`` and ``failed`` -> the targets that have an engine with this status."""
    return {
        str(status): sorted({engine.target for engine in engines if engine.status is status})
        for status in (EngineStatus.PENDING, EngineStatus.FAILED)
    }


def refusals(evidence: Evidence, required_targets: Sequence[str]) -> list[str]:
    """The reasons why this release may not become the candidate; empty when it may."""
    return objections(evidence.verdict, evidence.engines, required_targets)


def objections(
    verdict: GateDecision,
    engines: Sequence[Engine],
    required_targets: Sequence[str],
) -> list[str]:
    """The reasons against a release in ``gate.json`` and ``engines.json``.

    A required target needs at least one engine that ran and passed the gate.
    """
    reasons = [] if verdict.passed else list(verdict.reasons)
    if not verdict.passed and not reasons:
        reasons.append("the gate refused it")
    for target in required_targets:
        of_target = [engine for engine in engines if engine.target == target]
        ready = [engine for engine in of_target if engine.ready]
        if not ready:
            states = ", ".join(sorted({engine.status.words for engine in of_target})) or "not built"
            reasons.append(f"required target {target} is not ready: {states}")
        elif not any(verdict.engine_passed(engine.id) for engine in ready):
            reasons.append(f"required target {target} has no engine that passed the gate")
    return reasons


def engine_rows(evidence: Evidence) -> list[EngineSummary]:
    """Each engine with the gate's verdict and the median latency at batch 1, in milliseconds."""
    return [
        EngineSummary(
            engine.target,
            engine.runtime,
            engine.precision,
            engine.status,
            engine.reason,
            engine.size_bytes,
            engine.sha256,
            next(
                (t.p50_ms for t in evidence.timings.of_engine(engine.id) if t.batch_size == 1), None
            ),
            evidence.verdict.engine_passed(engine.id),
        )
        for engine in evidence.engines
    ]


def _int8_words(evidence: Evidence) -> str:
    shipped = shipped_precisions(evidence)
    targets = sorted(target for target, precisions in shipped.items() if "int8" in precisions)
    return f"With INT8 for {', '.join(targets)}." if targets else "Without INT8."


def version_tags(evidence: Evidence, reasons: Sequence[str]) -> dict[str, str]:
    """The tags of a registered version: digests, KPI, verdict, engines, complete or partial."""
    unfinished = any(unfinished_targets(evidence.engines).values())
    tags = {
        RELEASE_TAG: evidence.release_digest,
        "fpenet.dataset": evidence.kpi.dataset,
        "fpenet.gate": "passed" if evidence.verdict.passed else "refused",
        "fpenet.engines": "partial" if unfinished else "complete",
        "fpenet.int8": _int8_words(evidence).rstrip("."),
        "fpenet.refused": "; ".join(reasons)[:5000],
    }
    tags |= {f"digest.{name}": manifest.content for name, manifest in evidence.manifests.items()}
    for name, value in evidence.kpi.metrics.items():
        if name.rpartition("/")[2] in MAIN_REGIONS:
            tags[f"kpi.{name}"] = "n/a" if value is None else f"{value:.4g}"
    for row in engine_rows(evidence):
        refused = ", refused by the gate" if row.passed is False else ""
        tags[f"engine.{row.target}.{row.precision}"] = f"{row.status.words}{refused}"
    return tags


def flat_params(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """Every parameter that a stage read: ``train.augment.zoom`` -> its value as JSON or text."""
    flat: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value if isinstance(value, str) else json.dumps(value)

    for manifest in manifests.values():
        walk("", manifest.params)
    return flat


def flat_metrics(evidence: Evidence) -> dict[str, float]:
    """Every measured number: KPI, parity, latency, and size of the engines."""
    metrics: dict[str, float | None] = {
        f"kpi/{name}": value for name, value in evidence.kpi.metrics.items()
    }
    for check in evidence.parity:
        metrics[f"parity/{check.name}/mean_px"] = check.mean_px
        metrics[f"parity/{check.name}/max_px"] = check.max_px
    for timing in evidence.timings.timings:
        name = f"benchmark/{timing.id}/batch_{timing.batch_size}"
        metrics[f"{name}/p50_ms"] = timing.p50_ms
        metrics[f"{name}/faces_per_second"] = timing.faces_per_second
    for engine in evidence.engines:
        metrics[f"engine/{engine.id}/size_bytes"] = engine.size_bytes
        for metric, value in (engine.metrics or {}).items():
            if metric.rpartition("/")[2] in MAIN_REGIONS:
                metrics[f"engine/{engine.id}/{metric}"] = value
    return {name: float(value) for name, value in metrics.items() if value is not None}


def read_curve(train_dir: Path) -> list[dict[str, float]]:
    """The lines of ``curve.jsonl``, one per epoch.

    Raises:
        InputError: the file is missing.
    """
    path = train_dir / "curve.jsonl"
    if not path.is_file():
        raise InputError(f"{path}: no such file; stage train writes one line per epoch")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [
        {key: float(value) for key, value in line.items() if isinstance(value, int | float)}
        for line in lines
    ]
