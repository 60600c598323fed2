"""Runtime tensorrt_rtx: engines for T4, A100, A10, L4 and RTX, built without a GPU.

TensorRT-RTX networks are strongly typed: the types in the network are the precision. An engine is
for one compute capability; RTX has no hardware compatibility and no version compatibility. An
engine was never executed so far: it is built, not judged.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fpenet.deploy.engines.builder import build_in_child
from fpenet.deploy.engines.cuda_device import compute_capability
from fpenet.deploy.engines.targets import Built, GpuTarget, Network, Pending, Precision
from fpenet.deploy.engines.tensorrt_engine import deserialised
from fpenet.deploy.onnx.onnx_file import INPUT, read_onnx
from fpenet.kpi.predictions import Predict
from fpenet.params import BuildParams


def build(
    network: Network, gpu_target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """Build the engine in a child process.

    Raises:
        InputError: the builder refuses the network, or does not finish.
    """
    missing = [name for name in ("tensorrt_rtx", "polygraphy") if find_spec(name) is None]
    if missing:
        return Pending(f"{' and '.join(missing)} not installed here (extra rtx)")
    read_onnx(network.onnx)
    return build_in_child(network, gpu_target, precision, build, __name__, build.memory_mb)


def load_engine(engine_bytes: bytes, source: str, threads: int = 0) -> Predict | Pending:
    """The engine, ready to run on its GPU. The caller has checked its signature."""
    if compute_capability() is None:
        return Pending("no CUDA device here; a TensorRT-RTX engine needs the GPU it was built for")
    if find_spec("tensorrt_rtx") is None or find_spec("polygraphy") is None:
        return Pending("tensorrt_rtx and polygraphy not installed here (extra rtx)")
    installed_version()
    return deserialised("tensorrt_rtx", engine_bytes, source)


def installed_version() -> str:
    """Version of TensorRT-RTX. Switches Polygraphy to it; call before its backend is imported."""
    config: Any = import_module("polygraphy.config")
    config.USE_TENSORRT_RTX = True
    version: str = import_module("tensorrt_rtx").__version__
    return version


def plan(
    network: Network,
    gpu_target: GpuTarget,
    precision: Precision,
    build: BuildParams,
    extra_options: dict[str, Any],
) -> tuple[Any, Any]:
    """Polygraphy's network and builder config."""
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX
    from polygraphy.backend.trt import Profile, network_from_onnx_path

    rtx = import_module("tensorrt_rtx")
    low, best, high = ((batch, 1, 80, 80) for batch in gpu_target.batch)
    config = CreateConfigRTX(
        compute_capabilities=[tuple(gpu_target.compute_capability or ())],
        profiles=[Profile().add(INPUT, low, best, high)],
        builder_optimization_level=build.builder_optimization_level,
        memory_pool_limits={rtx.MemoryPoolType.WORKSPACE: build.workspace_mb << 20},
        **extra_options,
    )
    return network_from_onnx_path(str(network.onnx), strongly_typed=True), config
