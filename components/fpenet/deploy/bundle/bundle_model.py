"""``model.json`` of one target in a bundle: the data that a program needs to use its engines."""

from collections.abc import Mapping
from dataclasses import dataclass

from fpenet.core.engine_id import EngineId
from fpenet.core.records import FileRecord
from fpenet.deploy.benchmark.timings import Timing
from fpenet.deploy.engines.engine_table import BuiltFor, EngineStatus
from fpenet.deploy.engines.targets import Precision, RuntimeName

MODEL, BUNDLE = "model.json", "bundle.json"


@dataclass(frozen=True, slots=True)
class GoldenLimits(FileRecord):
    """``golden.json``, and ``golden`` in ``model.json``: limits of the golden-vector check.

    Attributes:
        px: precision -> largest mean distance on the worst crop, pixels of the 80x80 crop.
        memory_mb: memory limit of the process that runs the engine; no limit where it uses a GPU.
        seconds: time limit of that process.
    """

    px: Mapping[str, float]
    memory_mb: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of an engine; a string in ``shape`` is a dimension of any size."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class BundleEngine:
    """One engine of ``model.json``; the attributes are those of ``engine_table.Engine``.

    Attributes:
        file: path below the target's folder; None where it is not built yet.
        latency: one row for each batch size; empty where it was not timed.
    """

    precision: Precision
    status: EngineStatus
    file: str | None
    sha256: str | None
    size_bytes: int | None
    runtime_version: str | None
    compute_capability: tuple[int, int] | None
    driver_cuda: tuple[int, int] | None
    hardware_compatibility: str
    version_compatible: bool
    golden_px: float | None
    parity_px: float | None
    metrics: Mapping[str, float | None] | None
    latency: tuple[Timing, ...]


@dataclass(frozen=True, slots=True)
class BundleModel(FileRecord):
    """``model.json``.

    Attributes:
        version: version of the bundle, from ``bundle.version`` in params.yaml.
        runtime_version: version of the runtime that the bundle is made for.
        box_scale: side of the crop divided by the longer side of the face box.
        confidence: ``learned`` or ``peak``.
        confidence_px: see ``describe_confidence``.
        default: the precision that runs unless the user chooses another.
        signed_by: description of the key that signed the bundle.
    """

    name: str
    version: str
    target: str
    device: str
    compute_capability: tuple[int, int] | None
    runtime: RuntimeName
    runtime_version: str | None
    net: str
    num_keypoints: int
    dataset: str
    box_scale: float
    confidence: str
    confidence_px: float | None
    crop_px: int
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    default: Precision
    golden: GoldenLimits
    gate_passed: bool
    engines: tuple[BundleEngine, ...]
    signed_by: str

    def engine(self, precision: str) -> BundleEngine | None:
        """The engine of one precision; None where the bundle has none."""
        return next((engine for engine in self.engines if engine.precision == precision), None)

    def id_of(self, engine: BundleEngine) -> EngineId:
        """The target and precision of one of its engines."""
        return EngineId(self.target, engine.precision)

    def built_for(self, engine: BundleEngine) -> BuiltFor:
        """The device and software that one of its engines was built for."""
        return BuiltFor(
            self.runtime,
            engine.runtime_version,
            engine.compute_capability,
            engine.driver_cuda,
            engine.hardware_compatibility,
            engine.version_compatible,
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An engine that does not ship, and why."""

    target: str
    precision: Precision
    reason: str


@dataclass(frozen=True, slots=True)
class BundleContents(FileRecord):
    """``bundle.json``: the engines that ship, by target and precision, and those that do not."""

    version: str
    gate_passed: bool
    signed_by: str
    targets: Mapping[str, Mapping[Precision, EngineStatus]]
    left_out: tuple[LeftOut, ...]
