"""Runtime onnxruntime: the CPU target. Its engine is the ONNX file itself; it runs anywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.deploy.engines.targets import Built, GpuTarget, Network, Pending, Precision
from fpenet.deploy.onnx.onnx_file import (
    CONFIDENCE,
    INPUT,
    KEYPOINTS,
    read_onnx,
    refuse_external_data,
)
from fpenet.kpi.predictions import Predict
from fpenet.params import BuildParams


def build(
    network: Network, target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """The engine is the network, once ONNX Runtime has taken it.

    Raises:
        InputError: it does not, or it has other inputs and outputs than ours.
    """
    engine = read_onnx(network.onnx)
    _session(engine, str(network.onnx), threads=1)
    return Built(engine, onnxruntime.__version__)


def open_engine(path: Path, threads: int = 0) -> Predict:
    """The network in an ONNX file, ready to run on the CPU.

    Args:
        threads: 0 takes all cores.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    return load_engine(read_onnx(path), str(path), threads)


def load_engine(network: bytes, source: str, threads: int = 0) -> Predict:
    """The network in the bytes of an ONNX file that ``source`` names, as ``open_engine``."""
    refuse_external_data(network, source)
    session = _session(network, source, threads)

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points, confidence = session.run(
            [KEYPOINTS, CONFIDENCE], {INPUT: images.astype(np.float32)}
        )
        return points, confidence

    return predict


def read_metadata(network: bytes, source: str) -> dict[str, str]:
    """What the export stage wrote into the ONNX file that ``source`` names about its use.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    session = _session(network, source, threads=1)
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return metadata


def _session(data: bytes, source: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base but this
        raise InputError(
            f"{source}: ONNX Runtime {onnxruntime.__version__} refuses it:"
            f" {' '.join(str(error).split())[:600]}"
        ) from None
    names = [value.name for value in [*session.get_inputs(), *session.get_outputs()]]
    if names != [INPUT, KEYPOINTS, CONFIDENCE]:
        raise InputError(
            f"{source}: its inputs and outputs are {names}; wanted {[INPUT, KEYPOINTS, CONFIDENCE]}"
        )
    return session
