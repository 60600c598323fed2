"""TARGETS: one row for each target device: runtime, versions, opset, precisions and batch sizes.

The TensorRT versions of a Jetson are those of its JetPacks: Nano 4.6.1, Xavier 5.1, Orin 6.1 (and
6.0, 5.1, 7.2.2), Thor 7.0 (and 7.2.2), from NVIDIA's release notes (docs/targets.md). A Nano's
SM 5.3 has no INT8 arithmetic; a T4 ships FP16 (docs/fpenet.md, Export and deployment).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fpenet.core.errors import InputError
from fpenet.params import Precision as Precision
from fpenet.params import TargetName
from fpenet.params.registered import Registered

RuntimeName = Annotated[str, Registered(("fpenet.deploy.engines.runtimes:RUNTIMES",))]
Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Card:
    """Times of FPENet in NVIDIA's model card: trtexec, batch 1, FP16; None: not in the card."""

    latency_ms: float | None
    fps: float | None


@dataclass(frozen=True, slots=True)
class GpuTarget:
    """A device to build engines for.

    Attributes:
        device: product name.
        compute_capability: (major, minor) of the GPU; None for the CPU.
        runtime: the software that builds and executes the engine.
        versions: (major, minor, patch) of every TensorRT that exists for the device and reads the
            opset; the first is the version that a bundle is made for. For TensorRT-RTX the pinned
            version.
        opset: opset of the ONNX file that the engine is built from.
        precisions: precisions to build.
        batch: smallest, optimal and largest batch of the engine's profile.
        dla_cores: number of deep-learning accelerators (DLA).
        pool: the work pool whose worker builds the engine.
        card: the times of the device in NVIDIA's model card.
        built_on_device: whether its engines can be built only on the device itself.
    """

    device: str
    compute_capability: tuple[int, int] | None
    runtime: RuntimeName
    versions: tuple[Version, ...]
    opset: int
    precisions: tuple[Precision, ...]
    batch: tuple[int, int, int]
    pool: str
    dla_cores: int = 0
    card: Card | None = None
    built_on_device: bool = False

    def rendering(self, precision: Precision) -> str:
        """The name of the ONNX rendering that an engine of this target is built from."""
        return f"{precision}_cpu" if self.compute_capability is None else precision

    @property
    def runtime_version(self) -> Version | None:
        """The TensorRT version that a bundle is made for; None where engines are built here."""
        return self.versions[0] if self.built_on_device else None

    @property
    def calibrated(self) -> tuple[Version, ...]:
        """Versions that read a calibration cache: TensorRT 11 and RTX have no calibrators."""
        if not self.built_on_device or "int8" not in self.precisions:
            return ()
        return tuple(version for version in self.versions if version < (11, 0, 0))

    @property
    def takes_cache(self) -> bool:
        """Whether the version that a bundle is made for builds INT8 from a calibration cache."""
        return self.runtime_version in self.calibrated


@dataclass(frozen=True, slots=True)
class Network:
    """The files that one precision of a target is built from.

    Attributes:
        onnx: the network in that precision; for INT8 with Q/DQ nodes.
        unquantised: the FP32 network that a calibration cache belongs to, INT8 only.
        caches: version number of TensorRT -> calibration cache, INT8 only.
    """

    onnx: Path
    unquantised: Path | None = None
    caches: tuple[tuple[int, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A finished engine and the version of the runtime that built it."""

    engine_bytes: bytes
    runtime_version: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Why the engine cannot be built on this machine; it is not an error."""

    reason: str


def tensorrt_number(version: Version) -> int:
    """A version as TensorRT writes it in the first line of a calibration cache.

    >>> tensorrt_number((8, 5, 2)), tensorrt_number((10, 3, 0))
    (8502, 100300)
    """
    major, minor, patch = version
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def cache_name(version: Version, opset: int) -> str:
    """File name of a calibration cache below the calibrate folder.

    >>> cache_name((8, 5, 2), 17)
    'calibration/trt-8.5.2-opset17.cache'
    """
    return f"calibration/trt-{'.'.join(map(str, version))}-opset{opset}.cache"


def profile(gpu_target: GpuTarget, dla: bool) -> tuple[int, int, int]:
    """Smallest, optimal and largest batch; a DLA needs one fixed batch size.

    >>> profile(TARGETS["orin-agx"], dla=False), profile(TARGETS["orin-agx"], dla=True)
    ((1, 1, 8), (1, 1, 1))
    """
    low, best, high = gpu_target.batch
    return (best, best, best) if dla and gpu_target.dla_cores else (low, best, high)


def target_named(target: str) -> GpuTarget:
    """The target called ``target``.

    Raises:
        InputError: there is no such target.
    """
    if target in TARGETS:
        return TARGETS[target]
    raise InputError(f"unknown target {target!r}; choose one of {sorted(TARGETS)}")


def how_to_build(target: str) -> str:
    """What a person has to do for a pending engine of a target.

    Raises:
        InputError: there is no such target.

    >>> how_to_build("nano")
    'on the Jetson Nano, in the project: `prefect worker start --pool nano --type process`'
    >>> how_to_build("t4")
    "where the release runs: `pip install 'fpenet[rtx]'`"
    """
    gpu_target = target_named(target)
    if gpu_target.built_on_device:
        command = f"prefect worker start --pool {gpu_target.pool} --type process"
        return f"on the {gpu_target.device}, in the project: `{command}`"
    extra = {"tensorrt_rtx": "rtx"}.get(gpu_target.runtime, "pipeline")
    return f"where the release runs: `pip install 'fpenet[{extra}]'`"


_SERVER_BATCH = (1, 8, 32)
_EDGE_BATCH = (1, 1, 8)
_RTX: tuple[Version, ...] = ((1, 7, 1),)
_ORIN: tuple[Version, ...] = ((10, 3, 0), (11, 4, 1), (8, 6, 2), (8, 5, 2))
_HOPPER: tuple[Version, ...] = ((10, 16, 1), (11, 4, 0), (10, 16, 0), (10, 13, 3), (10, 3, 0))


def network_for(
    gpu_target: GpuTarget, precision: Precision, export_dir: Path, calibrate_dir: Path
) -> Network:
    """The files that an engine is built from.

    Raises:
        InputError: the network was not exported at the target's opset.
    """
    opset = f"opset{gpu_target.opset}"
    if not (export_dir / opset).is_dir():
        raise InputError(
            f"export.opsets has no {gpu_target.opset}, which {gpu_target.device} needs; the export"
            f" has {sorted(folder.name for folder in export_dir.glob('opset*'))}"
        )
    rendering = gpu_target.rendering(precision)
    if precision != "int8":
        return Network(export_dir / opset / f"{rendering}.onnx")
    return Network(
        calibrate_dir / opset / f"{rendering}.onnx",
        calibrate_dir / opset / "fp32.onnx",
        tuple(
            (tensorrt_number(version), path)
            for version in gpu_target.versions
            if (path := calibrate_dir / cache_name(version, gpu_target.opset)).is_file()
        ),
    )


def _rtx(
    device: str, capability: tuple[int, int], *precisions: Precision, **options: Any
) -> GpuTarget:
    """A device whose engines can be built on any machine, without a GPU."""
    return GpuTarget(
        device, capability, "tensorrt_rtx", _RTX, 17, precisions, _SERVER_BATCH, "fpenet", **options
    )


def _on_device(
    pool: TargetName,
    device: str,
    capability: tuple[int, int],
    versions: tuple[Version, ...],
    batch: tuple[int, int, int] = _EDGE_BATCH,
    **options: Any,
) -> GpuTarget:
    """A device whose engines are built on it, by the worker of the pool with its name."""
    return GpuTarget(
        device,
        capability,
        "tensorrt",
        versions,
        17,
        ("fp16", "int8"),
        batch,
        pool,
        built_on_device=True,
        **options,
    )


TARGETS: dict[TargetName, GpuTarget] = {
    "cpu": GpuTarget(
        "any CPU", None, "onnxruntime", (), 17, ("fp32", "int8"), _SERVER_BATCH, "fpenet"
    ),
    "t4": _rtx("T4", (7, 5), "fp16", card=Card(0.33, 2489)),
    "a100": _rtx("A100", (8, 0), "fp16", "int8"),
    "a10": _rtx("A10", (8, 6), "fp16", "int8"),
    "l4": _rtx("L4", (8, 9), "fp16", "int8"),
    "rtx-blackwell": _rtx("RTX, Blackwell", (12, 0), "fp16", "int8"),
    "nano": GpuTarget(
        device="Jetson Nano",
        compute_capability=(5, 3),
        runtime="tensorrt",
        versions=((8, 2, 1),),
        opset=13,
        precisions=("fp16",),
        batch=_EDGE_BATCH,
        pool="nano",
        card=Card(None, 115),
        built_on_device=True,
    ),
    "xavier-nx": _on_device(
        "xavier-nx", "Jetson Xavier NX", (7, 2), ((8, 5, 2),), dla_cores=2, card=Card(1.3, 483)
    ),
    "xavier-agx": _on_device(
        "xavier-agx", "Jetson AGX Xavier", (7, 2), ((8, 5, 2),), dla_cores=2, card=Card(0.84, 1015)
    ),
    "orin-nano": _on_device("orin-nano", "Jetson Orin Nano", (8, 7), _ORIN),
    "orin-nx": _on_device("orin-nx", "Jetson Orin NX", (8, 7), _ORIN, dla_cores=1),  # 2 with 16 GB
    "orin-agx": _on_device("orin-agx", "Jetson AGX Orin", (8, 7), _ORIN, dla_cores=2),
    "thor": _on_device("thor", "Jetson AGX Thor", (11, 0), ((10, 13, 3), (11, 4, 1))),
    "h100": _on_device("h100", "H100", (9, 0), _HOPPER, _SERVER_BATCH),
    "h200": _on_device("h200", "H200", (9, 0), _HOPPER, _SERVER_BATCH),
}
