"""Runtime tensorrt_rtx: engines for T4, A100, A10, L4 and RTX, built ahead of time with no GPU.

RTX networks are strongly typed: the precision is the network's. An engine is for one compute
capability; RTX has no other compatibility with hardware, and none with versions. Nothing here runs
the engine: it is built, not judged.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.deploy.builder import build_in_child
from components.deploy.onnx_file import INPUT, read_onnx
from components.deploy.targets import Built, GpuTarget, Network, Pending, Precision
from components.params import BuildParams


def build(
    network: Network, target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """Build the engine in a child process.

    Raises:
        ValueError: the builder refuses the network, or does not finish.
    """
    missing = [name for name in ("tensorrt_rtx", "polygraphy") if find_spec(name) is None]
    if missing:
        return Pending(f"{' and '.join(missing)} not installed here (extra rtx)")
    read_onnx(network.onnx)
    return build_in_child(network, target, precision, build, build.memory_mb)


def open_engine(path: Path, threads: int = 0) -> Pending:
    """Nothing here runs an RTX engine."""
    return Pending("a TensorRT-RTX engine runs only on its own GPU")


def installed_version() -> str:
    """Of the builder, in the child process: Polygraphy is told before its backend is imported."""
    config: Any = import_module("polygraphy.config")
    config.USE_TENSORRT_RTX = True
    version: str = import_module("tensorrt_rtx").__version__
    return version


def plan(
    network: Network,
    target: GpuTarget,
    precision: Precision,
    build: BuildParams,
    more: dict[str, Any],
) -> tuple[Any, Any]:
    """Polygraphy's network and builder config."""
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX
    from polygraphy.backend.trt import Profile, network_from_onnx_path

    rtx = import_module("tensorrt_rtx")
    low, best, high = ((batch, 1, 80, 80) for batch in target.batch)
    config = CreateConfigRTX(
        compute_capabilities=[tuple(target.compute_capability or ())],
        profiles=[Profile().add(INPUT, low, best, high)],
        builder_optimization_level=build.builder_optimization_level,
        memory_pool_limits={rtx.MemoryPoolType.WORKSPACE: build.workspace_mb << 20},
        **more,
    )
    return network_from_onnx_path(str(network.onnx), strongly_typed=True), config
