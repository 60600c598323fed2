"""``benchmark.json`` and ``modes.json``: the times of each engine at each batch size."""

from dataclasses import dataclass

from fpenet.core.engine_id import EngineId
from fpenet.core.records import FileRecord

TIMINGS, MODES = "benchmark.json", "modes.json"


@dataclass(frozen=True, slots=True)
class Timing:
    """One engine at one batch size: percentiles of a call's time, faces per second at p50."""

    target: str
    precision: str
    batch_size: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    faces_per_second: float
    threads: int
    runs: int

    @property
    def id(self) -> EngineId:
        """The engine."""
        return EngineId(self.target, self.precision)


@dataclass(frozen=True, slots=True)
class TimingTable(FileRecord):
    """``benchmark.json``."""

    timings: tuple[Timing, ...]

    def of_engine(self, engine_id: EngineId) -> list[Timing]:
        """The times of one engine, one for each batch size."""
        return [timing for timing in self.timings if timing.id == engine_id]


@dataclass(frozen=True, slots=True)
class Mode:
    """Times of an engine at one batch size in one mode.

    Attributes:
        copies: whether crops and points were copied to and from the device.
        cuda_graph: whether the launches were replayed as one graph.
        command: command or method that measured the times.
    """

    target: str
    precision: str
    batch_size: int
    copies: bool
    cuda_graph: bool
    p50_ms: float
    p90_ms: float
    p99_ms: float
    faces_per_second: float
    runs: int
    command: str

    @property
    def id(self) -> EngineId:
        """The engine."""
        return EngineId(self.target, self.precision)


@dataclass(frozen=True, slots=True)
class ModeTable(FileRecord):
    """``modes.json``."""

    modes: tuple[Mode, ...]
