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
        build: takes network files, target, precision and params; returns an engine, or why it is
            pending.
        load: takes an engine's bytes, whose signature and digest were checked, the file's name for
            messages, and a number of threads; returns a predict function, or why the engine cannot
            run here.
        suffix: suffix of the engine's file name.
        needs_gpu: whether it executes engines on a GPU; no limit of address space applies then.
        distributions: the packages that it may be installed from; their version must be the one
            that built an engine. Empty: any version runs it. Stage ``build`` lists them as tools.
        triton: Triton's backend and its model file name; None: Triton has no backend for it.
        deepstream: whether a bundle has a configuration for DeepStream.
        in_python: whether the README of a bundle shows ``fpenet.Landmarker``.
        fixed_profile: whether the largest batch of an engine is that of its target's profile.
        trtexec: whether NVIDIA's trtexec can time its engines.
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
