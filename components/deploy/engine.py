"""RUNTIMES: how each runtime builds an engine and opens one. A runtime is one file beside this."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.deploy import engine_onnxruntime, engine_tensorrt, engine_tensorrt_rtx
from components.deploy.targets import Built, GpuTarget, Network, Pending, Precision, RuntimeName
from components.kpi.predictions import Predict
from components.params import BuildParams


@dataclass(frozen=True, slots=True)
class Runtime:
    """What executes engines.

    Attributes:
        build: network files, target and precision to an engine, or why it is pending.
        open: an engine file and a number of threads to a predict function, or why it cannot run
            on this machine. Check the file's digest before.
        suffix: of the engine's file name.
    """

    build: Callable[[Network, GpuTarget, Precision, BuildParams], Built | Pending]
    open: Callable[[Path, int], Predict | Pending]
    suffix: str


RUNTIMES: dict[RuntimeName, Runtime] = {
    "onnxruntime": Runtime(engine_onnxruntime.build, engine_onnxruntime.open_engine, ".onnx"),
    "tensorrt_rtx": Runtime(engine_tensorrt_rtx.build, engine_tensorrt_rtx.open_engine, ".engine"),
    "tensorrt": Runtime(engine_tensorrt.build, engine_tensorrt.open_engine, ".engine"),
}
