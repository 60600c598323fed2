"""TARGETS: one row a GPU target; what its engines are built from, where and for which batches.

Jetson versions are those of the last JetPack for the device (FACTS, STACK): Nano 4.6.1, Xavier
5.1, Orin 6.2. A Nano's SM 5.3 has no INT8 arithmetic; a T4 ships FP16 (DESIGN).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.params import TargetName

RuntimeName = Literal["onnxruntime", "tensorrt_rtx", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8"]
Status = Literal["ready", "built, not judged", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class GpuTarget:
    """A device to build engines for.

    Attributes:
        device: what people call it.
        compute_capability: (major, minor) of the GPU; None for the CPU.
        runtime: what executes the engine, and builds it.
        runtime_version: (major, minor, patch) of ``tensorrt`` on the device; None where the version
            installed here is the one.
        opset: of the ONNX file that its parser reads.
        precisions: to build.
        batch: smallest, best and largest batch of the engine's profile.
        pool: the work pool whose worker builds it.
    """

    device: str
    compute_capability: tuple[int, int] | None
    runtime: RuntimeName
    runtime_version: tuple[int, int, int] | None
    opset: int
    precisions: tuple[Precision, ...]
    batch: tuple[int, int, int]
    pool: str

    @property
    def takes_cache(self) -> bool:
        """Whether INT8 comes from a calibration cache: TensorRT 11 and RTX have no calibrators."""
        version = self.runtime_version
        return "int8" in self.precisions and version is not None and version < (11, 0, 0)


@dataclass(frozen=True, slots=True)
class Network:
    """The files that one precision of a target is built from.

    Attributes:
        onnx: the network in that precision; for INT8 the one with Q/DQ.
        unquantised: the FP32 network that a calibration cache belongs to, INT8 only.
        caches: version number of TensorRT -> calibration cache, INT8 only.
    """

    onnx: Path
    unquantised: Path | None = None
    caches: tuple[tuple[int, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A finished engine and the version of the runtime that built it."""

    engine: bytes
    runtime_version: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Why the engine cannot be built on this machine; it is not an error."""

    reason: str


def tensorrt_number(version: tuple[int, int, int]) -> int:
    """TensorRT's own number of a version, as the first line of a calibration cache has it.

    >>> tensorrt_number((8, 5, 2)), tensorrt_number((10, 3, 0))
    (8502, 100300)
    """
    major, minor, patch = version
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def cache_name(version: tuple[int, int, int], opset: int) -> str:
    """File name of a calibration cache below the calibrate folder.

    >>> cache_name((8, 5, 2), 17)
    'calibration/trt-8.5.2-opset17.cache'
    """
    return f"calibration/trt-{'.'.join(map(str, version))}-opset{opset}.cache"


def target_named(name: str) -> GpuTarget:
    """The target called ``name``.

    Raises:
        ValueError: there is none.
    """
    for known, target in TARGETS.items():
        if known == name:
            return target
    raise ValueError(f"unknown target {name!r}; choose one of {sorted(TARGETS)}")


_SERVER_BATCH = (1, 8, 32)
_EDGE_BATCH = (1, 1, 8)

TARGETS: dict[TargetName, GpuTarget] = {
    "cpu": GpuTarget(
        "any CPU", None, "onnxruntime", None, 17, ("fp32", "int8"), _SERVER_BATCH, "fpenet"
    ),
    "t4": GpuTarget("T4", (7, 5), "tensorrt_rtx", None, 17, ("fp16",), _SERVER_BATCH, "fpenet"),
    "a10": GpuTarget(
        "A10", (8, 6), "tensorrt_rtx", None, 17, ("fp16", "int8"), _SERVER_BATCH, "fpenet"
    ),
    "l4": GpuTarget(
        "L4", (8, 9), "tensorrt_rtx", None, 17, ("fp16", "int8"), _SERVER_BATCH, "fpenet"
    ),
    "rtx-blackwell": GpuTarget(
        "RTX, Blackwell", (12, 0), "tensorrt_rtx", None, 17, ("fp16", "int8"), _SERVER_BATCH,
        "fpenet",
    ),
    "orin-agx": GpuTarget(
        "Jetson AGX Orin", (8, 7), "tensorrt", (10, 3, 0), 17, ("fp16", "int8"), _EDGE_BATCH,
        "orin-agx",
    ),
    "xavier-nx": GpuTarget(
        "Jetson Xavier NX", (7, 2), "tensorrt", (8, 5, 2), 17, ("fp16", "int8"), _EDGE_BATCH,
        "xavier-nx",
    ),
    "nano": GpuTarget(
        "Jetson Nano", (5, 3), "tensorrt", (8, 2, 1), 13, ("fp16",), _EDGE_BATCH, "nano"
    ),
    "h200": GpuTarget(
        "H200", (9, 0), "tensorrt", (10, 16, 0), 17, ("fp16", "int8"), _SERVER_BATCH, "h200"
    ),
}  # fmt: skip
