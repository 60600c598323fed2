"""The table of engines of a report."""

from dataclasses import dataclass

from fpenet.release.evidence import Evidence, engine_rows
from fpenet.release.release_manifest import EngineSummary


@dataclass(frozen=True, slots=True)
class EngineRow:
    """An engine with its error, latency and throughput; None where a value was not measured.

    Attributes:
        first: whether it is the first row of its target.
        nme: a ratio, by the headline normaliser.
        parity_px: mean distance between its points and those of the torch net, pixels of the
            80x80 crop.
    """

    summary: EngineSummary
    first: bool
    p99_ms: float | None
    threads: int
    faces_per_second: float | None
    best_batch: int | None
    nme: float | None
    parity_px: float | None


def engine_table(evidence: Evidence) -> list[EngineRow]:
    """One row per engine."""
    rows: list[EngineRow] = []
    metric = f"nme_{evidence.kpi.normaliser}/all"
    for summary, engine in zip(engine_rows(evidence), evidence.engines, strict=True):
        times = evidence.timings.of_engine(engine.id)
        single = next((timing for timing in times if timing.batch_size == 1), None)
        best = max(times, key=lambda timing: timing.faces_per_second, default=None)
        rows.append(
            EngineRow(
                summary,
                not rows or rows[-1].summary.target != engine.target,
                single.p99_ms if single else None,
                single.threads if single else 1,
                best.faces_per_second if best else None,
                best.batch_size if best else None,
                (engine.metrics or {}).get(metric),
                engine.parity_px,
            )
        )
    return rows
