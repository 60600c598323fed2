"""RUNTIMES: how each runtime builds an engine and opens one. A runtime is one file beside this."""

from collections.abc import Callable
from dataclasses import dataclass

from fpenet.deploy.engines import onnxruntime_engine as engine_onnxruntime
from fpenet.deploy.engines import tensorrt_engine as engine_tensorrt
from fpenet.deploy.engines import tensorrt_rtx_engine as engine_tensorrt_rtx
from fpenet.deploy.engines.targets import Built, GpuTarget, Network, Pending, Precision, RuntimeName
from fpenet.kpi.predictions import Predict
from fpenet.params import BuildParams


@dataclass(frozen=True, slots=True)
class Runtime:
    """What executes engines.

    Attributes:
        build: network files, target and precision to an engine, or why it is pending.
        load: an engine's bytes, whose signature and digest were checked, the file's name for
            messages and a number of threads to a predict function, or why it cannot run here.
        suffix: of the engine's file name.
    """

    build: Callable[[Network, GpuTarget, Precision, BuildParams], Built | Pending]
    load: Callable[[bytes, str, int], Predict | Pending]
    suffix: str


RUNTIMES: dict[RuntimeName, Runtime] = {
    "onnxruntime": Runtime(engine_onnxruntime.build, engine_onnxruntime.load_engine, ".onnx"),
    "tensorrt_rtx": Runtime(engine_tensorrt_rtx.build, engine_tensorrt_rtx.load_engine, ".engine"),
    "tensorrt": Runtime(engine_tensorrt.build, engine_tensorrt.load_engine, ".engine"),
}
