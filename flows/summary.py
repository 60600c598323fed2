"""The summary of a release: KPI by region, parity checks, engines by target, the gate's verdict.

Input: release.json of the register stage. Output: tables for the terminal, and a Markdown page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fpenet.deploy.engines.targets import how_to_build
from fpenet.release.release_manifest import (
    EngineSummary,
    KpiSummary,
    ParitySummary,
    ReleaseManifest,
)

KPI_UNITS = ("image_px", "image_px_visible", "crop_px", "tight/image_px")
PARTIAL = ("interocular",)
"""Normalisers of the table that not every face has: their metrics name the number of faces."""
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text: ``rows`` have one cell for each word of ``header``."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class RunResult(ReleaseManifest):
    """The result of a flow run: the release manifest, the stage folders and the summary.

    Attributes:
        folders: stage -> its finished folder.
        summary: path of the Markdown file.
    """

    folders: Mapping[str, str] = field(kw_only=True)
    summary: str = field(kw_only=True)


def tables_of(release: ReleaseManifest) -> list[Table]:
    """The three tables of a summary: KPI by region, parity checks, engines by target."""
    return [
        _kpi_table(release.kpi),
        _parity_table(release.parity),
        _engine_table(release.engines),
    ]


def verdict_of(release: ReleaseManifest) -> str:
    """Lines on the training, the registered version, and why it is a candidate or not."""
    training = release.training
    lines = [
        f"trained {training.net}, {training.parameters:,} parameters:"
        f" {training.faces_seen:,} faces seen in {training.epochs} epochs,"
        f" {training.minutes:.1f} minutes",
        f"registered {release.model} version {release.version}",
        f"signed by {release.signed_by}",
    ]
    if release.candidate:
        lines.append(f"gate: passed; it is now the {release.alias}")
    else:
        lines += ["gate: refused", *(f"  {reason}" for reason in release.refused)]
    if release.pending:
        lines.append(f"partial release, pending targets: {', '.join(release.pending)}")
        lines += [f"  {target}: {how_to_build(target)}" for target in release.pending]
    if release.failed:
        lines.append(f"partial release, failed targets: {', '.join(release.failed)}")
    return "\n".join(lines)


def markdown_of(release: ReleaseManifest) -> str:
    """The summary as a Markdown page."""
    parts = ["# Release\n", *(f"{line.strip()}  " for line in verdict_of(release).splitlines())]
    for table in tables_of(release):
        lines = [table.header, tuple("---" for _ in table.header), *table.rows]
        parts.append(f"\n## {table.title}\n")
        parts += ["| " + " | ".join(cells) + " |" for cells in lines]
    parts.append(f"\nReport: `{release.report}`; model card: `{release.model_card}`")
    return "\n".join(parts) + "\n"


def _kpi_table(kpi: KpiSummary) -> Table:
    metrics = kpi.metrics
    units = [u for u in (*KPI_UNITS, f"nme_{kpi.normaliser}") if f"{u}/all" in metrics]
    regions = dict.fromkeys(name.rpartition("/")[2] for name in metrics)
    partial = [u for u in (f"nme_{name}" for name in PARTIAL) if f"{u}/all" in metrics]
    rows = [
        (
            region,
            *(_cell(metrics.get(f"{u}/{region}")) for u in units),
            *(_with_faces(kpi, f"{u}/{region}") for u in partial),
        )
        for region in regions
    ]
    title = (
        f"KPI on {kpi.dataset}, part {kpi.part}: {kpi.num_faces} faces of {kpi.num_subjects}"
        " subjects"
    )
    header = ("region", *units, *(f"{unit} (faces)" for unit in partial))
    return Table(title, header, tuple(rows))


def _with_faces(kpi: KpiSummary, metric: str) -> str:
    """A metric and the number of faces that it is computed over."""
    return f"{_cell(kpi.metrics.get(metric))} ({kpi.metric_faces.get(metric, 0)})"


def _parity_table(checks: Sequence[ParitySummary]) -> Table:
    rows = [
        (
            check.name,
            check.reference,
            _cell(check.mean_px),
            _cell(check.max_px),
            "passed" if check.passed else "failed",
        )
        for check in checks
    ]
    header = ("check", "reference", "mean px", "max px", "verdict")
    return Table("Parity, px of the 80x80 crop", header, tuple(rows))


def _engine_table(engines: Sequence[EngineSummary]) -> Table:
    rows = [
        (
            row.target,
            row.precision,
            row.runtime,
            NOTHING if row.size_bytes is None else f"{row.size_bytes / 1e6:.2f} MB",
            NOTHING if row.p50_ms is None else f"{row.p50_ms:.2f} ms",
            row.status.words,
        )
        for row in engines
    ]
    header = ("target", "precision", "runtime", "size", "latency p50", "status")
    return Table("Engines, latency at batch 1", header, tuple(rows))


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"
