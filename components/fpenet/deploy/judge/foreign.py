"""Anybody's ONNX model with the contract: (N, 1, 80, 80) grey in, points and confidence out.

Input: an ONNX file whose outputs may be called anything. Does: finds its outputs by their shapes,
on one grey crop. Output: a contestant that is judged by the code that judges ours, and in words
all that was taken for granted of it, because the file does not say.
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
"""Of a batch that the file does not limit."""


def open_onnx(path: Path, box_scale: float) -> CandidateModel:
    """The network in an ONNX file.

    Args:
        box_scale: of the crop, where the file does not say which it was made for.

    Raises:
        InputError: naming the file, and what of the contract it does not keep.
    """
    session = _session(path)
    inputs = session.get_inputs()
    (name, shape, kind) = (inputs[0].name, inputs[0].shape, inputs[0].type)
    if len(inputs) != 1 or shape[1:] != [1, CROP_PX, CROP_PX] or kind not in _TYPES:
        raise InputError(
            f"{path}: takes {[(one.name, one.type, one.shape) for one in inputs]}; wanted one"
            f" input (N, 1, {CROP_PX}, {CROP_PX}) of {sorted(_TYPES)}"
        )
    fixed = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    grey = np.full((fixed or 1, 1, CROP_PX, CROP_PX), 128, _TYPES[kind])
    found = session.run(None, {name: grey})
    outputs = dict(zip((one.name for one in session.get_outputs()), found, strict=True))
    points = _only(path, outputs, "points (N, K, 2)", lambda a: a.ndim == 3 and a.shape[2] == 2)
    count = outputs[points].shape[1]
    confidence = _only(
        path, outputs, f"confidence (N, {count})", lambda a: a.ndim == 2 and a.shape[1] == count
    )
    told = session.get_modelmeta().custom_metadata_map
    assumed = ["its keypoints are numbered as the labels are"]
    if not {"input", "outputs"} <= set(told):
        assumed += [
            f"its input {name} is {_TYPES[kind].__name__}, grey levels 0 to 255",
            f"its output {points} is in pixels of the {CROP_PX}x{CROP_PX} crop, x right, y down,"
            " pixel centres at integers",
            f"its output {confidence} is larger for a point that is more certain",
        ]
    if "box_scale" in told:
        box_scale = float(told["box_scale"])
    else:
        assumed.append(
            f"its crop is {box_scale:g} times the longer side of the face box (crop.box_scale), for"
            " the file does not say; the tight crop's numbers do not depend on it"
        )
    if fixed:
        assumed.append(f"it takes batches of {fixed} only; the last one is filled up")
    return CandidateModel(
        path.name,
        _predict(session, (name, points, confidence), _TYPES[kind], fixed),
        count,
        box_scale,
        fixed or MOST,
        tuple(assumed),
        float(told["confidence_px"]) if "confidence_px" in told else None,
    )


def check_frame(predictions: Predictions, source: str) -> None:
    """Refuse points that cannot be pixels of the crop.

    Raises:
        InputError: all lie within 2 of 0, as normalised ones do, or none is a number.
    """
    largest = np.abs(predictions.points[np.isfinite(predictions.points)]).max(initial=0.0)
    if largest <= 2.0:
        raise InputError(
            f"{source}: its points lie between -{largest:.3g} and {largest:.3g}; wanted pixels of"
            f" the {CROP_PX}x{CROP_PX} crop, so they seem to be normalised"
        )


def _session(path: Path) -> Any:
    data = read_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base but this
        raise InputError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} refuses it:"
            f" {' '.join(str(error).split())[:300]}"
        ) from None


def _only(path: Path, outputs: dict[str, Any], expected: str, fits: Any) -> str:
    """The one output that fits.

    Raises:
        InputError: none does, or several do.
    """
    names = [name for name, array in outputs.items() if fits(array)]
    if len(names) != 1:
        shapes = {name: array.shape for name, array in outputs.items()}
        raise InputError(f"{path}: its outputs are {shapes}; wanted one of {expected}")
    return names[0]


def _predict(session: Any, names: tuple[str, str, str], dtype: Any, fixed: int | None) -> Predict:
    """The session as the judge takes it."""
    name, points, confidence = names

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        count = len(images)
        if fixed and count < fixed:
            images = np.concatenate([images, np.repeat(images[-1:], fixed - count, axis=0)])
        found = session.run([points, confidence], {name: images.astype(dtype)})
        return found[0][:count].astype(np.float32), found[1][:count].astype(np.float32)

    return predict
