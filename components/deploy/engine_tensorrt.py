"""Runtime tensorrt: engines that only their own device can build, by the worker of its pool.

TensorRT <= 10 takes a calibration cache and builder flags for INT8 and FP16; from 11 on the network
is strongly typed and INT8 is in its Q/DQ. On any other machine the engine is pending.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.deploy.calibration_cache import read_cache
from components.deploy.cuda_device import compute_capability
from components.deploy.onnx_file import CONFIDENCE, INPUT, KEYPOINTS, read_onnx
from components.deploy.targets import Built, GpuTarget, Network, Pending, Precision, tensorrt_number
from components.kpi.predictions import Predict
from components.params import BuildParams


def absence(
    target: GpuTarget, capability: tuple[int, int] | None, installed: bool
) -> Pending | None:
    """Why this machine cannot build for ``target``; None where it can.

    >>> from components.deploy.targets import TARGETS
    >>> absence(TARGETS["h200"], None, installed=False)
    Pending(reason='no CUDA device here; H200 builds its own engines: worker of pool h200')
    """
    wanted = target.compute_capability
    assert wanted is not None
    own = f"{target.device} builds its own engines: worker of pool {target.pool}"
    if capability is None:
        return Pending(f"no CUDA device here; {own}")
    if capability != wanted:
        return Pending(f"the CUDA device here is SM {_dotted(capability)}; {own}")
    if not installed:
        return Pending(f"tensorrt and polygraphy are not installed here; {own}")
    return None


def build(
    network: Network, target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """Build the engine on this device, if it is the target's.

    Raises:
        ValueError: TensorRT refuses the network.
    """
    installed = all(find_spec(name) for name in ("tensorrt", "polygraphy"))
    pending = absence(target, compute_capability(), installed)
    if pending:
        return pending
    from polygraphy.backend.trt import (
        Calibrator,
        CreateConfig,
        Profile,
        engine_bytes_from_network,
        network_from_onnx_path,
    )
    from polygraphy.exception import PolygraphyException

    trt = import_module("tensorrt")
    version = version_of(trt.__version__)
    low, best, high = ((n, 1, 80, 80) for n in target.batch)
    config: dict[str, Any] = {
        "profiles": [Profile().add(INPUT, low, best, high)],
        "memory_pool_limits": {trt.MemoryPoolType.WORKSPACE: build.workspace_mb << 20},
    }
    source, cache = chosen_source(network, version)
    if version < (10, 0, 0):  # weakly typed: flags allow what the network asks for
        config |= {"fp16": True, "int8": precision == "int8"}
    elif cache is not None:
        config |= {"fp16": True, "int8": True}
    if version >= (8, 6, 0):
        config["builder_optimization_level"] = build.builder_optimization_level
    if cache is not None:
        # Should TensorRT reject the cache it asks for data, which ends the build.
        config["calibrator"] = Calibrator(map(_refuse_calibration, [cache]), cache=str(cache))
    read_onnx(source)
    try:
        with _errors_only():
            parsed = network_from_onnx_path(
                str(source), strongly_typed=version >= (10, 0, 0) and cache is None
            )
            engine = bytes(engine_bytes_from_network(parsed, config=CreateConfig(**config)))
    except PolygraphyException as error:
        raise ValueError(f"TensorRT {trt.__version__} refuses {source.name}: {error}") from None
    return Built(engine, trt.__version__)


def chosen_source(network: Network, version: tuple[int, int, int]) -> tuple[Path, Path | None]:
    """The ONNX file to build from and the calibration cache, None where Q/DQ says it all.

    A cache is taken only by the very version that it was written for, and never from 11 on.

    Raises:
        ValueError: the cache is not one, or another version's.
    """
    caches = dict(network.caches)
    number = tensorrt_number(version)
    if version >= (11, 0, 0) or number not in caches or network.unquantised is None:
        return network.onnx, None
    try:
        written_for, _ = read_cache(caches[number].read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{caches[number]}: {error}") from None
    if written_for != number:
        raise ValueError(f"{caches[number]}: is of TensorRT {written_for}, not {number}")
    return network.unquantised, caches[number]


def version_of(text: str) -> tuple[int, int, int]:
    """Major, minor and patch of a version string.

    >>> version_of("8.5.2.2"), version_of("10.3.0")
    ((8, 5, 2), (10, 3, 0))
    """
    major, minor, patch = (*text.split("."), "0")[:3]
    return int(major), int(minor), int(patch)


def open_engine(path: Path, threads: int = 0) -> Predict | Pending:
    """The engine, ready to run on this device. Its digest must have been checked before.

    Its host code, if it holds any, is not allowed to run.
    """
    if compute_capability() is None:
        return Pending("no CUDA device here")
    if not all(find_spec(name) for name in ("tensorrt", "polygraphy")):
        return Pending("tensorrt and polygraphy are not installed here")
    from polygraphy.backend.trt import TrtRunner, get_trt_logger

    trt = import_module("tensorrt")
    runtime = trt.Runtime(get_trt_logger())
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise ValueError(f"{path}: TensorRT {trt.__version__} cannot read this engine here")
    runner = TrtRunner(engine)
    runner.activate()

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found = runner.infer({INPUT: images.astype(np.float32)})
        return found[KEYPOINTS].copy(), found[CONFIDENCE].copy()

    return predict


def _refuse_calibration(cache: Path) -> Any:
    raise ValueError(f"{cache}: TensorRT did not accept this calibration cache")


@contextmanager
def _errors_only() -> Iterator[None]:
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        yield


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
