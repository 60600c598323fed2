"""A landmark model with a contract as a candidate model.

Input: a loaded ONNX file and its contract. Output: a predict function whose points are pixels of
the 80x80 crop of the same square, with the keypoints of the labels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.deploy.judge.contract.crop_tensor import to_crop_px, to_tensor
from fpenet.deploy.judge.contract.decode import decode
from fpenet.deploy.judge.contract.foreign_network import DTYPES, ForeignNetwork, padded
from fpenet.deploy.judge.contract.guess import run_test_crops
from fpenet.deploy.judge.contract.keypoint_maps import source_keypoints
from fpenet.kpi.predictions import Predict
from fpenet.params.contract import ContractParams

_Points = NDArray[np.float32]


def predict_of(
    network: ForeignNetwork, contract: ContractParams, num_labelled: int
) -> tuple[Predict, int, tuple[int, ...]]:
    """The predict function of a network, its K, and the 0-based keypoints that it does not have.

    Args:
        num_labelled: number of keypoints of the labels.

    Returns:
        predict: crops (N, height, width, C) uint8 of ``contract.input`` -> points (N, K, 2) in
            pixels of the 80x80 crop of the same square, NaN for a keypoint that the model does not
            have; confidence (N, K), NaN without a confidence output.

    Raises:
        InputError: the contract does not fit the network; the message names file, key and value.
    """
    tensor, output = contract.input, contract.output
    dtype = DTYPES[network.input_named(tensor.name).type]
    names = [_output_name(network, output.points, "points")]
    if output.confidence is not None:
        names.append(_output_name(network, output.confidence, "confidence"))
    tested = run_test_crops(network, tensor)
    count = _decoded(network, tested[names[0]], contract).shape[1]
    if output.confidence is not None:
        _confidence(network, tested[names[1]], count)
    try:
        sources = source_keypoints(contract, count, num_labelled)
    except InputError as error:
        raise InputError(f"{network.path}: {error}") from None
    absent = tuple(k for k, source in enumerate(sources) if source is None)
    columns = [source or 0 for source in sources]

    def predict(crops: NDArray[np.uint8]) -> tuple[_Points, _Points]:
        batch = padded(to_tensor(crops, tensor, dtype), network.fixed_batch)
        arrays = network.run(batch, names)
        points = _decoded(network, arrays[names[0]][: len(crops)], contract)
        points = to_crop_px(points, tensor.size)[:, columns]
        confidence = np.full(points.shape[:2], np.nan)
        if len(names) > 1:
            confidence = _confidence(network, arrays[names[1]][: len(crops)], count)[:, columns]
        points[:, absent] = np.nan
        confidence[:, absent] = np.nan
        return points.astype(np.float32), confidence.astype(np.float32)

    return predict, len(sources), absent


def _decoded(
    network: ForeignNetwork, array: NDArray[Any], contract: ContractParams
) -> NDArray[np.float64]:
    try:
        return decode(array, contract.output, contract.input.size)
    except InputError as error:
        raise InputError(f"{network.path}: output.points: {error}") from None


def _confidence(network: ForeignNetwork, array: NDArray[Any], count: int) -> NDArray[np.float64]:
    """(N, K) values of the confidence output.

    Raises:
        InputError: it does not have one value for each of the ``count`` keypoints.
    """
    if array[0].size != count:
        raise InputError(
            f"{network.path}: output.confidence is {array.shape[1:]} for each face; the model has"
            f" {count} keypoints"
        )
    return array.reshape(len(array), count).astype(np.float64)


def _output_name(network: ForeignNetwork, name: str | None, key: str) -> str:
    names = [row.name for row in network.outputs]
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        raise InputError(f"{network.path}: output.{key} is {name}; its outputs are {names}")
    return name
