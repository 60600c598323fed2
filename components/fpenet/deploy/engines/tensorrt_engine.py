"""Runtime tensorrt: engines that only their own device can build, by the worker of its pool.

TensorRT <= 10 takes a calibration cache and builder flags for INT8 and FP16; from 11 on the network
is strongly typed and INT8 is in its Q/DQ. On any other machine, on a slice of the GPU and on one
that others use, the engine is pending.
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
    target: GpuTarget, device: CudaDevice | None, installed: str | None, build: BuildParams
) -> Pending | None:
    """Why this machine cannot build for ``target`` now; None where it can.

    A builder times kernels: on a slice of a GPU, or on one that others compute on, its choice would
    not be the device's.

    Args:
        installed: what is missing to drive TensorRT, None where all is there.
    """
    wanted = target.compute_capability
    assert wanted is not None
    own = f"{target.device} builds its own engines: worker of pool {target.pool}"
    if device is None:
        return Pending(f"no CUDA device here; {own}")
    if device.compute_capability != wanted:
        return Pending(f"the CUDA device here is SM {_dotted(device.compute_capability)}; {own}")
    if device.sliced:
        return Pending(f"the CUDA device here, {device.name}, is sliced (MIG); {own}")
    if device.other_processes:
        count = device.other_processes
        return Pending(f"the CUDA device here is busy: {count} other processes compute; {own}")
    if device.free_mb is not None and device.free_mb < build.workspace_mb:
        short = f"{device.free_mb} MB free, build.workspace_mb is {build.workspace_mb}"
        return Pending(f"the CUDA device here is busy: {short}; {own}")
    if installed is not None:
        return Pending(f"{installed}; {own}")
    return None


def missing() -> str | None:
    """What is missing here to drive TensorRT; None where all is there.

    The package index has an empty wheel, ``tensorrt`` 10.0.0b6, which imports and can do nothing.
    """
    absent = [name for name in ("tensorrt", "polygraphy") if find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed here (extra tensorrt)"
    if not hasattr(import_module("tensorrt"), "Builder"):
        return "the tensorrt installed here is an empty wheel (10.0.0b6 is one); install the real"
    return None


def build(
    network: Network, target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """Build the engine on this device, if it is the target's and free.

    Raises:
        InputError: TensorRT refuses the network, or does not finish.
    """
    pending = absence(target, cuda_device(), missing(), build)
    if pending:
        return pending
    read_onnx(network.onnx)
    return build_in_child(network, target, precision, build, __name__)


def installed_version() -> str:
    """Of TensorRT, in the child process."""
    version: str = import_module("tensorrt").__version__
    return version


def plan(
    network: Network,
    target: GpuTarget,
    precision: Precision,
    build: BuildParams,
    more: dict[str, Any],
) -> tuple[Any, Any]:
    """Polygraphy's network and builder config, in the child process.

    Raises:
        InputError: the calibration cache is not this version's.
    """
    from polygraphy.backend.trt import Calibrator, CreateConfig, Profile, network_from_onnx_path

    trt = import_module("tensorrt")
    version = version_of(trt.__version__)
    source, cache = chosen_source(network, version)
    read_onnx(source)
    low, best, high = profile(target, build.dla)
    options = flags(target, precision, build, version, cache is not None)
    if level := options.pop("hardware_compatibility_level", None):
        options["hardware_compatibility_level"] = getattr(trt.HardwareCompatibilityLevel, level)
    if cache is not None:
        # Should TensorRT reject the cache it asks for data, which ends the build.
        options["calibrator"] = Calibrator(map(_refuse_calibration, [cache]), cache=str(cache))
    config = CreateConfig(
        profiles=[Profile().add(INPUT, *((batch, 1, 80, 80) for batch in (low, best, high)))],
        memory_pool_limits={trt.MemoryPoolType.WORKSPACE: build.workspace_mb << 20},
        **options,
        **more,
    )
    typed = version >= (10, 0, 0) and cache is None
    return network_from_onnx_path(str(source), strongly_typed=typed), config


def flags(
    target: GpuTarget, precision: Precision, build: BuildParams, version: Version, cached: bool
) -> dict[str, Any]:
    """What the builder of ``version`` is allowed; a name in place of TensorRT's own constant.

    Before 10 the network is weakly typed: flags allow what it asks for. With a calibration cache
    they must. Optimisation levels and both compatibilities came with 8.6.
    """
    found: dict[str, Any] = {}
    if version < (10, 0, 0):
        found |= {"fp16": True, "int8": precision == "int8"}
    elif cached:
        found |= {"fp16": True, "int8": True}
    if version >= (8, 6, 0):
        found["builder_optimization_level"] = build.builder_optimization_level
        if build.hardware_compatibility != "none":
            found["hardware_compatibility_level"] = build.hardware_compatibility.upper()
        if build.version_compatible:
            found["version_compatible"] = True
    if build.dla and target.dla_cores:
        found |= {"use_dla": True, "allow_gpu_fallback": True}
    return found


def chosen_source(network: Network, version: Version) -> tuple[Path, Path | None]:
    """The ONNX file to build from and the calibration cache, None where Q/DQ says it all.

    A cache is taken only by the very version that it was written for, and never from 11 on.

    Raises:
        InputError: the cache is not one, or another version's.
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
        raise InputError(f"{caches[number]}: is of TensorRT {written_for}, not {number}")
    return network.unquantised, caches[number]


def version_of(text: str) -> Version:
    """Major, minor and patch of a version string.

    >>> version_of("8.5.2.2"), version_of("10.3.0")
    ((8, 5, 2), (10, 3, 0))
    """
    major, minor, patch = (*text.split("."), "0")[:3]
    return int(major), int(minor), int(patch)


def load_engine(engine: bytes, source: str, threads: int = 0) -> Predict | Pending:
    """The engine, ready to run on this device. Its signature must have been checked before."""
    if compute_capability() is None:
        return Pending("no CUDA device here")
    if (absent := missing()) is not None:
        return Pending(absent)
    return deserialised("tensorrt", engine, source)


def deserialised(module: str, engine: bytes, source: str) -> Predict:
    """An engine of ``tensorrt`` or ``tensorrt_rtx``, ready to run.

    Host code that it may hold (a plugin library) is not allowed to run. Polygraphy's own loaders
    allow it, so none of them is used.

    Raises:
        InputError: naming ``source``: the runtime cannot read it here.
    """
    from polygraphy.backend.trt import TrtRunner, get_trt_logger

    trt = import_module(module)
    runtime = trt.Runtime(get_trt_logger())
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = False
    found = runtime.deserialize_cuda_engine(engine)
    if found is None:
        raise InputError(f"{source}: {module} {trt.__version__} cannot read this engine here")
    runner = TrtRunner(found)
    runner.activate()

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        said = runner.infer({INPUT: images.astype(np.float32)})
        return said[KEYPOINTS].copy(), said[CONFIDENCE].copy()

    return predict


def _refuse_calibration(cache: Path) -> Any:
    raise InputError(f"{cache}: TensorRT did not accept this calibration cache")


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
