"""A third-party ONNX model: input (N, 1, 80, 80) grey, outputs points and confidence.

Input: an ONNX file; its outputs may have any names. Does: identifies its outputs by their shapes,
with one grey crop as input. Output: a candidate model that is judged as the models of this project
are, and the list of the assumptions that were needed because the file has no such metadata.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.judge.candidate_model import CandidateModel
from fpenet.deploy.onnx.onnx_file import read_onnx
from fpenet.kpi.predictions import Predict, Predictions

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
MOST = 1 << 16
"""Largest batch where the file has no limit."""


def open_onnx(path: Path, box_scale: float) -> CandidateModel:
    """The network in an ONNX file.

    Args:
        box_scale: side of the crop divided by the longer side of the face box; used where the
            file's metadata has no ``box_scale``.

    Raises:
        InputError: an input or output does not fit; the message names the file.
    """
    session = _session(path)
    inputs = session.get_inputs()
    (name, shape, kind) = (inputs[0].name, inputs[0].shape, inputs[0].type)
    if len(inputs) != 1 or shape[1:] != [1, CROP_PX, CROP_PX] or kind not in _TYPES:
        described = [(tensor.name, tensor.type, tensor.shape) for tensor in inputs]
        raise InputError(
            f"{path}: its inputs are {described};"
            f" there must be one input (N, 1, {CROP_PX}, {CROP_PX}) of {sorted(_TYPES)}"
        )
    fixed = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    grey = np.full((fixed or 1, 1, CROP_PX, CROP_PX), 128, _TYPES[kind])
    arrays = session.run(None, {name: grey})
    outputs = dict(zip((tensor.name for tensor in session.get_outputs()), arrays, strict=True))
    points = _only(path, outputs, "points (N, K, 2)", lambda a: a.ndim == 3 and a.shape[2] == 2)
    count = outputs[points].shape[1]
    confidence = _only(
        path, outputs, f"confidence (N, {count})", lambda a: a.ndim == 2 and a.shape[1] == count
    )
    metadata = session.get_modelmeta().custom_metadata_map
    assumed = ["its keypoints are numbered as the labels are"]
    if not {"input", "outputs"} <= set(metadata):
        assumed += [
            f"its input {name} is {_TYPES[kind].__name__}, grey levels 0 to 255",
            f"its output {points} is in pixels of the {CROP_PX}x{CROP_PX} crop, x right, y down,"
            " pixel centres at integers",
            f"its output {confidence} is larger for a point that is more certain",
        ]
    if "box_scale" in metadata:
        box_scale = float(metadata["box_scale"])
    else:
        assumed.append(
            f"its crop is {box_scale:g} times the longer side of the face box (crop.box_scale),"
            " because its metadata has no box_scale; the numbers of the tight crop do not depend on"
            " it"
        )
    if fixed:
        assumed.append(f"it takes batches of {fixed} only; the last batch is padded")
    return CandidateModel(
        path.name,
        _predict(session, (name, points, confidence), _TYPES[kind], fixed),
        count,
        box_scale,
        fixed or MOST,
        tuple(assumed),
        float(metadata["confidence_px"]) if "confidence_px" in metadata else None,
    )


def check_frame(predictions: Predictions, source: str) -> None:
    """Refuse points that cannot be pixels of the crop.

    Raises:
        InputError: all coordinates are between -2 and 2, as normalised ones are, or none is finite.
    """
    largest = np.abs(predictions.points[np.isfinite(predictions.points)]).max(initial=0.0)
    if largest <= 2.0:
        raise InputError(
            f"{source}: its coordinates are between -{largest:.3g} and {largest:.3g}; they must be"
            f" pixels of the {CROP_PX}x{CROP_PX} crop, and they seem to be normalised"
        )


def _session(path: Path) -> Any:
    data = read_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class but Exception
        raise InputError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} refuses it:"
            f" {' '.join(str(error).split())[:300]}"
        ) from None


def _only(path: Path, outputs: dict[str, Any], expected: str, fits: Any) -> str:
    """The name of the one output for which ``fits`` is true.

    Raises:
        InputError: no output fits, or several fit.
    """
    names = [name for name, array in outputs.items() if fits(array)]
    if len(names) != 1:
        shapes = {name: array.shape for name, array in outputs.items()}
        raise InputError(f"{path}: its outputs are {shapes}; exactly one must be {expected}")
    return names[0]


def _predict(session: Any, names: tuple[str, str, str], dtype: Any, fixed: int | None) -> Predict:
    """A predict function of the session; it pads a batch to the fixed batch size."""
    name, points, confidence = names

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        count = len(images)
        if fixed and count < fixed:
            images = np.concatenate([images, np.repeat(images[-1:], fixed - count, axis=0)])
        arrays = session.run([points, confidence], {name: images.astype(dtype)})
        return arrays[0][:count].astype(np.float32), arrays[1][:count].astype(np.float32)

    return predict
