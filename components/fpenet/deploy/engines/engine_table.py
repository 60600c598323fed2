"""``engines.json``: one row for each engine of the build, with its status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpenet.core.engine_id import EngineId
from fpenet.core.records import FileRecord, Identifier
from fpenet.deploy.engines.targets import Precision, RuntimeName

ENGINES = "engines.json"


class EngineStatus(Identifier):
    """Result of the build of an engine.

    ``ready``: built, executed and judged. ``built_not_judged``: built, but it cannot run on the
    machine that built it. ``pending``: it can be built only on the device that it is for.
    ``failed``: the build failed.
    """

    READY = "ready"
    BUILT_NOT_JUDGED = "built_not_judged"
    PENDING = "pending"
    FAILED = "failed"

    @property
    def words(self) -> str:
        """The status in words, for reports.

        >>> EngineStatus.BUILT_NOT_JUDGED.words
        'built, not judged'
        """
        return "built, not judged" if self is EngineStatus.BUILT_NOT_JUDGED else str(self)


@dataclass(frozen=True, slots=True)
class BuiltFor:
    """The device and software that an engine was built for.

    Attributes:
        runtime_version: version of the runtime that built it; None where it is not built.
        compute_capability: (major, minor) of the GPU; None for the CPU.
        driver_cuda: (major, minor) of the newest CUDA that the driver supported on the device that
            built it; None where no device was needed.
        hardware_compatibility: TensorRT's hardware compatibility level; ``none``: one GPU only.
        version_compatible: whether later minor versions of TensorRT can load it.
    """

    runtime: RuntimeName
    runtime_version: str | None = None
    compute_capability: tuple[int, int] | None = None
    driver_cuda: tuple[int, int] | None = None
    hardware_compatibility: str = "none"
    version_compatible: bool = False


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of ``engines.json``.

    Attributes:
        reason: why it is pending, failed or not judged; None where it was judged.
        file: path below the build folder; None where it is not built.
        runtime_version, compute_capability, driver_cuda, hardware_compatibility,
            version_compatible: see ``BuiltFor``.
        golden_px: mean distance to the golden points on the worst of their crops, 80x80 crop
            pixels; None where it was not executed.
        parity_px: mean distance of its points to torch's on the judged faces, 80x80 crop pixels.
        metrics: the metrics of its KPI report; None where it was not executed.
        kpi, predictions: paths of its report and of its predictions, below the build folder; None
            where it was not executed.
    """

    target: str
    runtime: RuntimeName
    precision: Precision
    status: EngineStatus
    reason: str | None = None
    file: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    runtime_version: str | None = None
    compute_capability: tuple[int, int] | None = None
    driver_cuda: tuple[int, int] | None = None
    hardware_compatibility: str = "none"
    version_compatible: bool = False
    golden_px: float | None = None
    parity_px: float | None = None
    metrics: Mapping[str, float | None] | None = None
    kpi: str | None = None
    predictions: str | None = None

    @property
    def id(self) -> EngineId:
        """Its target and precision."""
        return EngineId(self.target, self.precision)

    @property
    def ready(self) -> bool:
        """Whether it was executed and judged."""
        return self.status is EngineStatus.READY

    @property
    def built_for(self) -> BuiltFor:
        """The device and software that it runs on."""
        return BuiltFor(
            self.runtime,
            self.runtime_version,
            self.compute_capability,
            self.driver_cuda,
            self.hardware_compatibility,
            self.version_compatible,
        )


@dataclass(frozen=True, slots=True)
class EngineTable(FileRecord):
    """``engines.json``."""

    engines: tuple[Engine, ...]

    def of_target(self, target: str) -> list[Engine]:
        """The engines of one target."""
        return [engine for engine in self.engines if engine.target == target]


def count_statuses(engines: Sequence[Engine]) -> dict[str, Any]:
    """How many engines have each status, and whether the release would be partial.

    >>> ready = Engine("cpu", "onnxruntime", "fp32", EngineStatus.READY)
    >>> pending = Engine("nano", "tensorrt", "fp16", EngineStatus.PENDING)
    >>> count_statuses([ready, pending, ready])
    {'status': {'pending': 1, 'ready': 2}, 'partial': True}
    """
    statuses = [str(engine.status) for engine in engines]
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    return {"status": counts, "partial": bool({"pending", "failed"} & counts.keys())}
