"""A third-party landmark model in an ONNX file, with or without a contract.

Input: an ONNX file; its outputs may have any names. Does: with a contract file, calls it as that
says. Without one, guesses the contract; a file whose input is the 80x80 grey crop and whose points
are its pixels is judged with the guess. Output: a candidate model that is judged as the models of
this project are, and the list of the assumptions, or an error with the contract that would fit.
"""

from pathlib import Path

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX, CropStore
from fpenet.deploy.judge.candidate_model import CandidateModel, shared_keypoints
from fpenet.deploy.judge.contract.contract_model import predict_of
from fpenet.deploy.judge.contract.contract_text import contract_yaml
from fpenet.deploy.judge.contract.foreign_network import (
    DTYPES,
    MOST,
    ForeignNetwork,
    open_network,
)
from fpenet.deploy.judge.contract.guess import ContractGuess, guess_contract
from fpenet.deploy.judge.contract.image_crops import CropView
from fpenet.kpi.predictions import Predict, Predictions
from fpenet.params.contract import ContractParams, read_contract

_SAME_NUMBERS = "its keypoints are numbered as the labels are"
_NEAR_PX = 3.0
"""Points of different faces that all lie within this many pixels of each other are no faces."""
_FAR_PX = 10.0 * CROP_PX
"""Points that are mostly farther than this from the crop are not in the units of the contract."""


def open_onnx(path: Path, store: CropStore, contract: Path | None = None) -> CandidateModel:
    """The network in an ONNX file.

    Args:
        store: the judged faces; its ``box_scale`` is taken where the file's metadata has none.
        contract: a contract file; see docs/contracts.md.

    Raises:
        InputError: the file cannot be read, the contract does not fit it, or it does not fit the
            contract of FPENet and none is given; the message names the file, and has the lines of
            a contract that would fit, if there is one.
    """
    network = open_network(path)
    if contract is not None:
        return _open_by_contract(network, store, read_contract(contract), contract.name)
    guess = guess_contract(network, store.num_keypoints, store.box_scale)
    reasons = _differences(guess, store)
    if reasons:
        raise InputError(_refusal(path, "; ".join(reasons), guess))
    return _open_guessed(network, store, guess)


def check_frame(predictions: Predictions, candidate: CandidateModel) -> None:
    """Refuse points that cannot be pixels of the crop.

    Raises:
        InputError: without a contract: all coordinates are between -2 and 2, as normalised ones
            are, or none is finite. With one: all points are at the same place, or far away.
    """
    points = predictions.points[np.isfinite(predictions.points).all(axis=2)]
    if candidate.contract is None:
        largest = np.abs(points).max(initial=0.0)
        if largest <= 2.0:
            raise InputError(
                f"{candidate.name}: its coordinates are between -{largest:.3g} and {largest:.3g};"
                f" they must be pixels of the {CROP_PX}x{CROP_PX} crop, and they seem to be"
                " normalised; a contract file with output.units unit or centred says so"
                " (docs/contracts.md)"
            )
        return
    extent = np.ptp(points, axis=0).max() if len(points) else 0.0
    distance = np.median(np.abs(points - (CROP_PX - 1) / 2)) if len(points) else 0.0
    if extent < _NEAR_PX or distance > _FAR_PX:
        problem = (
            f"all of its points are within {extent:.3g} px of each other"
            if extent < _NEAR_PX
            else f"its points are {distance:.3g} px from the middle of the crop"
        )
        raise InputError(
            f"{candidate.name}: {problem}, in pixels of the {CROP_PX}x{CROP_PX} crop; output.units"
            f" of {candidate.contract} is probably wrong: it must be pixels, unit or centred"
        )


def _open_by_contract(
    network: ForeignNetwork, store: CropStore, contract: ContractParams, source: str
) -> CandidateModel:
    """A model that is called as its contract says."""
    predict, num_keypoints, absent = predict_of(network, contract, store.num_keypoints)
    try:
        shared_keypoints(store, num_keypoints)
    except InputError as error:
        raise InputError(f"{network.path}: {error}; see keypoints of {source}") from None
    tensor, scale = contract.input, contract.crop_scale
    view = CropView(tensor.size, tensor.channels, scale)
    stored = CropView((CROP_PX, CROP_PX), 1, store.box_scale)
    assumed = [f"{source} says what its input and its outputs are"]
    if contract.keypoints is None:
        assumed.append(_SAME_NUMBERS)
    if absent:
        assumed.append(
            f"it does not have the points {_numbers(absent)}, which are not judged: keypoints of"
            f" {source}"
        )
    if view != stored:
        colour = "grey" if tensor.channels == 1 else "colour"
        assumed += [
            f"its crops are cut from the images: {tensor.size[0]}x{tensor.size[1]} px, {colour},"
            f" {scale:g} times the longer side of the face box; all errors are in the frame of the"
            f" {CROP_PX}x{CROP_PX} crop of {store.box_scale:g} times that side",
            "robustness and temporal jitter are not measured: the corruptions are of"
            f" {CROP_PX}x{CROP_PX} grey crops",
        ]
    return CandidateModel(
        network.path.name,
        predict if view != stored else _of_stored_crops(predict),
        num_keypoints,
        scale,
        network.fixed_batch or MOST,
        (*assumed, *_about_batch(network)),
        view=view if view != stored else None,
        absent=absent,
        contract=source,
    )


def _open_guessed(
    network: ForeignNetwork, store: CropStore, guess: ContractGuess
) -> CandidateModel:
    """A model that takes the crops of the store and returns their pixels."""
    metadata, output = network.metadata, guess.contract.output
    tensor = network.inputs[0]
    predict, num_keypoints, _ = predict_of(network, guess.contract, store.num_keypoints)
    box_scale = float(metadata.get("box_scale", store.box_scale))
    assumed = [_SAME_NUMBERS]
    if not {"input", "outputs"} <= set(metadata):
        assumed += [
            f"its input {tensor.name} is {DTYPES[tensor.type].__name__}, grey levels 0 to 255",
            f"its output {output.points} is in pixels of the {CROP_PX}x{CROP_PX} crop, x right, y"
            " down, pixel centres at integers",
            f"its output {output.confidence} is larger for a point that is more certain"
            if output.confidence
            else "it has no confidence",
        ]
    if "box_scale" not in metadata:
        assumed.append(
            f"its crop is {box_scale:g} times the longer side of the face box (crop.box_scale),"
            " because its metadata has no box_scale; the numbers of the tight crop do not depend on"
            " it"
        )
    return CandidateModel(
        network.path.name,
        _of_stored_crops(predict),
        num_keypoints,
        box_scale,
        network.fixed_batch or MOST,
        (*assumed, *_about_batch(network)),
        float(metadata["confidence_px"]) if "confidence_px" in metadata else None,
    )


def _differences(guess: ContractGuess, store: CropStore) -> list[str]:
    """Why a model cannot be judged without a contract file; empty if it can."""
    tensor, output = guess.contract.input, guess.contract.output
    reasons = []
    if (tensor.size, tensor.channels, tensor.layout) != ((CROP_PX, CROP_PX), 1, "nchw"):
        (width, height), plural = tensor.size, "s" if tensor.channels > 1 else ""
        reasons.append(
            f"its input is {tensor.layout.upper()}, {width}x{height} px,"
            f" {tensor.channels} channel{plural}; without a contract file there must be one input"
            f" (N, 1, {CROP_PX}, {CROP_PX})"
        )
    if output.units is None:
        reasons.append(f"its output {output.points} seems to have heat maps, not points")
    elif output.units != "pixels":
        reasons.append(
            f"the points of its output {output.points} seem to be normalised ({output.units}), not"
            f" pixels of the {CROP_PX}x{CROP_PX} crop"
        )
    if guess.several:
        reasons.append(f"exactly one output must be points; {', '.join(guess.several)} could be")
    try:
        shared_keypoints(store, guess.num_keypoints)
    except InputError as error:
        reasons.append(str(error))
    return reasons


def _refusal(path: Path, reason: str, guess: ContractGuess) -> str:
    """The message of a refusal, with the lines of a contract file that would fit."""
    return (
        f"{path}: {reason}. Save these lines as {path.stem}.yaml, check them, and add"
        f" --contract {path.stem}.yaml (docs/contracts.md):\n"
        f"{contract_yaml(guess.contract, guess.open_keys)}"
    )


def _about_batch(network: ForeignNetwork) -> list[str]:
    batch = network.fixed_batch
    return [f"it takes batches of {batch} only; the last batch is padded"] if batch else []


def _of_stored_crops(predict: Predict) -> Predict:
    """``predict``, which takes (N, 80, 80, 1), for crops (N, 1, 80, 80)."""
    return lambda crops: predict(np.moveaxis(crops, 1, 3))


def _numbers(keypoints: tuple[int, ...]) -> str:
    return ", ".join(str(k + 1) for k in keypoints)
