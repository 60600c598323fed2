"""RUNTIMES: how each runtime builds and loads an engine; one module of this folder each."""

from collections.abc import Callable
from dataclasses import dataclass

from fpenet.deploy.engines import onnxruntime_engine, tensorrt_engine, tensorrt_rtx_engine
from fpenet.deploy.engines.targets import Built, GpuTarget, Network, Pending, Precision, RuntimeName
from fpenet.kpi.predictions import Predict
from fpenet.params import BuildParams


@dataclass(frozen=True, slots=True)
class Runtime:
    """Software that executes engines.

    Attributes:
        build: network files, target and precision to an engine, or why it is pending.
        load: an engine's bytes, whose signature and digest were checked, the file's name for
            messages and a number of threads to a predict function, or why it cannot run here.
        suffix: of the engine's file name.
        needs_gpu: whether it executes engines on a GPU, whose driver maps a large address space.
        distributions: the packages that it may be installed from; their version must be the one
            that built an engine. Empty: any version runs it. Stage ``build`` lists them as tools.
        triton: Triton's backend, and the file that it looks for; None where it has none.
        deepstream: whether a bundle holds a configuration for it.
        in_python: whether ``fpenet.Landmarker`` is what most use it by.
        fixed_profile: whether an engine takes no larger batch than its target's profile has.
        trtexec: whether NVIDIA's trtexec can time it.
    """

    build: Callable[[Network, GpuTarget, Precision, BuildParams], Built | Pending]
    load: Callable[[bytes, str, int], Predict | Pending]
    suffix: str
    needs_gpu: bool
    distributions: tuple[str, ...] = ()
    triton: tuple[str, str] | None = None
    deepstream: bool = False
    in_python: bool = False
    fixed_profile: bool = False
    trtexec: bool = False


RUNTIMES: dict[RuntimeName, Runtime] = {
    "onnxruntime": Runtime(
        onnxruntime_engine.build,
        onnxruntime_engine.load_engine,
        ".onnx",
        needs_gpu=False,
        triton=("onnxruntime", "model.onnx"),
        in_python=True,
    ),
    "tensorrt_rtx": Runtime(
        tensorrt_rtx_engine.build,
        tensorrt_rtx_engine.load_engine,
        ".engine",
        needs_gpu=True,
        distributions=("tensorrt-rtx-cu13", "tensorrt-rtx"),
    ),
    "tensorrt": Runtime(
        tensorrt_engine.build,
        tensorrt_engine.load_engine,
        ".engine",
        needs_gpu=True,
        distributions=("tensorrt",),
        triton=("tensorrt", "model.plan"),
        deepstream=True,
        fixed_profile=True,
        trtexec=True,
    ),
}
