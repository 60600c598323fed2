"""``benchmark.md``: one table of the trained net and all engines, timed or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fpenet.core.engine_id import EngineId
from fpenet.deploy.benchmark.timings import Mode, Timing
from fpenet.deploy.engines.engine_table import Engine
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import TARGETS, target_named


@dataclass(frozen=True, slots=True)
class TimedModel:
    """An engine, or the trained net, as a row of the table.

    Attributes:
        runtime: runtime that executes it; ``torch`` for the trained net.
        status: status in words.
        metrics: metrics of its KPI report; empty where it was not judged.
        max_batch_size: largest batch that it takes; None where there is no limit.
        engine: the row of ``engines.json``; None for the trained net.
    """

    id: EngineId
    runtime: str
    status: str
    size_bytes: int | None
    metrics: Mapping[str, float | None]
    max_batch_size: int | None = None
    engine: Engine | None = None

    @classmethod
    def of_engine(cls, engine: Engine) -> "TimedModel":
        """The row of an engine.

        >>> from fpenet.deploy.engines.engine_table import EngineStatus
        >>> row = Engine("orin-nx", "tensorrt", "int8", EngineStatus.BUILT_NOT_JUDGED)
        >>> TimedModel.of_engine(row).max_batch_size
        8
        """
        fixed = RUNTIMES[engine.runtime].fixed_profile
        return cls(
            engine.id,
            engine.runtime,
            engine.status.words,
            engine.size_bytes,
            engine.metrics or {},
            target_named(engine.target).batch[2] if fixed else None,
            engine,
        )

    def sizes(self, batch_sizes: Sequence[int]) -> list[int]:
        """The batch sizes that do not exceed its largest batch."""
        largest = self.max_batch_size
        return [size for size in batch_sizes if largest is None or size <= largest]


HEADER = (
    "target",
    "precision",
    "runtime",
    "MB",
    "NME",
    "px of 80",
    "p50, ms",
    "p99, ms",
    "faces/s (batch)",
    "card, ms",
    "card, FPS",
    "status",
)
NOTHING = "–"


def benchmark_table(
    models: Sequence[TimedModel],
    normaliser: str,
    timings: Sequence[Timing],
    modes: Sequence[Mode],
) -> str:
    """The table, one row for each model.

    Args:
        normaliser: normaliser of the headline NME of the KPI report.
        modes: times by trtexec; those with copies and without a CUDA graph are comparable with
            NVIDIA's model card.
    """
    lines = [_line(HEADER), "|---" * len(HEADER) + "|"]
    for model in models:
        times: list[Timing | Mode] = [timing for timing in timings if timing.id == model.id]
        times = times or [
            mode for mode in modes if mode.id == model.id and mode.copies and not mode.cuda_graph
        ]
        lines.append(_line(_cells(model, normaliser, times)))
    return "\n".join(lines) + "\n"


def _cells(model: TimedModel, normaliser: str, times: Sequence[Timing | Mode]) -> tuple[str, ...]:
    nme, px = model.metrics.get(f"nme_{normaliser}/all"), model.metrics.get("crop_px/all")
    first = next((time for time in times if time.batch_size == 1), None)
    best = max(times, key=lambda time: time.faces_per_second, default=None)
    gpu_target = TARGETS.get(model.id.target)
    card = gpu_target.card if gpu_target and model.id.precision == "fp16" else None
    return (
        model.id.target,
        model.id.precision,
        model.runtime,
        NOTHING if not model.size_bytes else f"{model.size_bytes / 1e6:.2f}",
        NOTHING if nme is None else f"{nme:.2%}",
        NOTHING if px is None else f"{px:.3f}",
        NOTHING if first is None else f"{first.p50_ms:.3f}",
        NOTHING if first is None else f"{first.p99_ms:.3f}",
        NOTHING if best is None else f"{best.faces_per_second:,.0f} ({best.batch_size})",
        NOTHING if card is None or not card.latency_ms else f"{card.latency_ms:g}",
        NOTHING if card is None or not card.fps else f"{card.fps:g}",
        model.status,
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
