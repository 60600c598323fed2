"""Runtime tensorrt: engines that are built on the device that they run on, by its pool's worker.

TensorRT <= 10 reads a calibration cache and builder flags for INT8 and FP16; from 11 on the network
is strongly typed and its Q/DQ nodes define INT8. The engine is pending on any other machine, on a
slice of the GPU, and on a GPU that other processes use.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.deploy.engines.builder import build_in_child
from fpenet.deploy.engines.cuda_device import CudaDevice, compute_capability, cuda_device
from fpenet.deploy.engines.targets import (
    Built,
    GpuTarget,
    Network,
    Pending,
    Precision,
    Version,
    profile,
    tensorrt_number,
)
from fpenet.deploy.int8.calibration_cache import read_cache
from fpenet.deploy.onnx.onnx_file import CONFIDENCE, INPUT, KEYPOINTS, read_onnx
from fpenet.kpi.predictions import Predict
from fpenet.params import BuildParams


def absence(
    gpu_target: GpuTarget, device: CudaDevice | None, installed: str | None, build: BuildParams
) -> Pending | None:
    """Why this machine cannot build for ``target`` now; None where it can.

    A builder times kernels. On a slice of a GPU, or on a GPU that other processes use, the times
    are wrong and the builder chooses other kernels.

    Args:
        installed: which package is missing for TensorRT, None where all are installed.
    """
    expected = gpu_target.compute_capability
    assert expected is not None
    builder = f"engines for {gpu_target.device} are built by the worker of pool {gpu_target.pool}"
    if device is None:
        return Pending(f"no CUDA device here; {builder}")
    if device.compute_capability != expected:
        actual = _dotted(device.compute_capability)
        return Pending(f"the CUDA device here is SM {actual}; {builder}")
    if device.sliced:
        return Pending(f"the CUDA device here, {device.name}, is sliced (MIG); {builder}")
    if device.other_processes:
        count = device.other_processes
        return Pending(f"the CUDA device here is busy: {count} other processes use it; {builder}")
    if device.free_mb is not None and device.free_mb < build.workspace_mb:
        memory = f"{device.free_mb} MB free, build.workspace_mb is {build.workspace_mb}"
        return Pending(f"the CUDA device here is busy: {memory}; {builder}")
    if installed is not None:
        return Pending(f"{installed}; {builder}")
    return None


def missing() -> str | None:
    """Which package is missing here for TensorRT; None where all are installed.

    The package index has an empty wheel, ``tensorrt`` 10.0.0b6: its import works, but it has no
    content.
    """
    absent = [name for name in ("tensorrt", "polygraphy") if find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed here (extra tensorrt)"
    if not hasattr(import_module("tensorrt"), "Builder"):
        return "the tensorrt installed here is an empty wheel (as 10.0.0b6); install NVIDIA's"
    return None


def build(
    network: Network, gpu_target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """Build the engine on this device, if it is the target's device and not in use.

    Raises:
        InputError: TensorRT refuses the network, or does not finish.
    """
    pending = absence(gpu_target, cuda_device(), missing(), build)
    if pending:
        return pending
    read_onnx(network.onnx)
    return build_in_child(network, gpu_target, precision, build, __name__)


def installed_version() -> str:
    """Version of TensorRT, in the child process."""
    version: str = import_module("tensorrt").__version__
    return version


def plan(
    network: Network,
    gpu_target: GpuTarget,
    precision: Precision,
    build: BuildParams,
    extra_options: dict[str, Any],
) -> tuple[Any, Any]:
    """Polygraphy's network and builder config, in the child process.

    Raises:
        InputError: the calibration cache is of another version.
    """
    from polygraphy.backend.trt import Calibrator, CreateConfig, Profile, network_from_onnx_path

    trt = import_module("tensorrt")
    version = version_of(trt.__version__)
    source, cache = chosen_source(network, version)
    read_onnx(source)
    low, best, high = profile(gpu_target, build.dla)
    options = flags(gpu_target, precision, build, version, cache is not None)
    if level := options.pop("hardware_compatibility_level", None):
        options["hardware_compatibility_level"] = getattr(trt.HardwareCompatibilityLevel, level)
    if cache is not None:
        # If TensorRT rejects the cache it requests data, and that ends the build with an error.
        options["calibrator"] = Calibrator(map(_refuse_calibration, [cache]), cache=str(cache))
    config = CreateConfig(
        profiles=[Profile().add(INPUT, *((batch, 1, 80, 80) for batch in (low, best, high)))],
        memory_pool_limits={trt.MemoryPoolType.WORKSPACE: build.workspace_mb << 20},
        **options,
        **extra_options,
    )
    typed = version >= (10, 0, 0) and cache is None
    return network_from_onnx_path(str(source), strongly_typed=typed), config


def flags(
    gpu_target: GpuTarget, precision: Precision, build: BuildParams, version: Version, cached: bool
) -> dict[str, Any]:
    """Options of Polygraphy's builder config for ``version``; levels by name, not by constant.

    Before TensorRT 10 the network is weakly typed and flags permit its types. With a calibration
    cache the flags are always needed. Optimisation levels, hardware compatibility and version
    compatibility exist from 8.6 on.
    """
    options: dict[str, Any] = {}
    if version < (10, 0, 0):
        options |= {"fp16": True, "int8": precision == "int8"}
    elif cached:
        options |= {"fp16": True, "int8": True}
    if version >= (8, 6, 0):
        options["builder_optimization_level"] = build.builder_optimization_level
        if build.hardware_compatibility != "none":
            options["hardware_compatibility_level"] = build.hardware_compatibility.upper()
        if build.version_compatible:
            options["version_compatible"] = True
    if build.dla and gpu_target.dla_cores:
        options |= {"use_dla": True, "allow_gpu_fallback": True}
    return options


def chosen_source(network: Network, version: Version) -> tuple[Path, Path | None]:
    """The ONNX file to build from and the calibration cache, None where Q/DQ nodes define INT8.

    A cache is read only by the exact version that it was written for, and not from 11 on.

    Raises:
        InputError: the file is not a calibration cache, or is of another version.
    """
    caches = dict(network.caches)
    number = tensorrt_number(version)
    if version >= (11, 0, 0) or number not in caches or network.unquantised is None:
        return network.onnx, None
    try:
        written_for, _ = read_cache(caches[number].read_text(encoding="utf-8"))
    except InputError as error:
        raise InputError(f"{caches[number]}: {error}") from None
    if written_for != number:
        raise InputError(f"{caches[number]}: cache of TensorRT {written_for}, not {number}")
    return network.unquantised, caches[number]


def version_of(text: str) -> Version:
    """Major, minor and patch of a version string.

    >>> version_of("8.5.2.2"), version_of("10.3.0")
    ((8, 5, 2), (10, 3, 0))
    """
    major, minor, patch = (*text.split("."), "0")[:3]
    return int(major), int(minor), int(patch)


def load_engine(engine_bytes: bytes, source: str, threads: int = 0) -> Predict | Pending:
    """The engine, ready to run on this device. The caller has checked its signature."""
    if compute_capability() is None:
        return Pending("no CUDA device here")
    if (absent := missing()) is not None:
        return Pending(absent)
    return deserialised("tensorrt", engine_bytes, source)


def deserialised(module: str, engine_bytes: bytes, source: str) -> Predict:
    """An engine of ``tensorrt`` or ``tensorrt_rtx``, ready to run.

    Host code in the engine (a plugin library) is not allowed to run. Polygraphy's loaders allow
    it, so they are not used.

    Raises:
        InputError: the runtime cannot read the engine here; the message names ``source``.
    """
    from polygraphy.backend.trt import TrtRunner, get_trt_logger

    trt = import_module(module)
    runtime = trt.Runtime(get_trt_logger())
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = False
    cuda_engine = runtime.deserialize_cuda_engine(engine_bytes)
    if cuda_engine is None:
        raise InputError(f"{source}: {module} {trt.__version__} cannot read this engine here")
    runner = TrtRunner(cuda_engine)
    runner.activate()

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs = runner.infer({INPUT: images.astype(np.float32)})
        return outputs[KEYPOINTS].copy(), outputs[CONFIDENCE].copy()

    return predict


def _refuse_calibration(cache: Path) -> Any:
    raise InputError(f"{cache}: TensorRT did not accept this calibration cache")


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
