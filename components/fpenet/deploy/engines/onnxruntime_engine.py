"""Runtime onnxruntime, for the CPU target: its engine is the ONNX file itself."""

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
    network: Network, gpu_target: GpuTarget, precision: Precision, build: BuildParams
) -> Built | Pending:
    """The engine: the bytes of the network, after ONNX Runtime has loaded them.

    Raises:
        InputError: ONNX Runtime refuses the network, or its inputs and outputs have other names.
    """
    engine_bytes = read_onnx(network.onnx)
    _session(engine_bytes, str(network.onnx), threads=1)
    return Built(engine_bytes, onnxruntime.__version__)


def open_engine(path: Path, threads: int = 0) -> Predict:
    """The network in an ONNX file, ready to run on the CPU.

    Args:
        threads: 0 takes all cores.

    Raises:
        InputError: the file is refused; the message names it and the reason.
    """
    return load_engine(read_onnx(path), str(path), threads)


def load_engine(engine_bytes: bytes, source: str, threads: int = 0) -> Predict:
    """As ``open_engine``, from the bytes of an ONNX file; ``source`` names it in messages."""
    refuse_external_data(engine_bytes, source)
    session = _session(engine_bytes, source, threads)

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points, confidence = session.run(
            [KEYPOINTS, CONFIDENCE], {INPUT: images.astype(np.float32)}
        )
        return points, confidence

    return predict


def read_metadata(network: bytes, source: str) -> dict[str, str]:
    """The metadata that the export stage wrote into an ONNX file.

    Args:
        network: the bytes of the file.
        source: its name in messages.

    Raises:
        InputError: ONNX Runtime refuses the file.
    """
    session = _session(network, source, threads=1)
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return metadata


def _session(engine_bytes: bytes, source: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(
            engine_bytes, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common base class but Exception
        raise InputError(
            f"{source}: ONNX Runtime {onnxruntime.__version__} refuses it:"
            f" {' '.join(str(error).split())[:600]}"
        ) from None
    names = [value.name for value in [*session.get_inputs(), *session.get_outputs()]]
    if names != [INPUT, KEYPOINTS, CONFIDENCE]:
        raise InputError(
            f"{source}: its inputs and outputs are {names}; they must be"
            f" {[INPUT, KEYPOINTS, CONFIDENCE]}"
        )
    return session
