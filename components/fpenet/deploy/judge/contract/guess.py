"""Guess the contract of an ONNX file from its tensors and from its outputs on test crops.

Input: a loaded network, and the number of keypoints of the labels. Does: reads size, channels and
layout from the input, runs grey and random crops, and identifies points, their units and a
confidence by shape and values. Output: a contract, and for each of its keys that the file does not
determine the reason why it may be wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.judge.contract.crop_tensor import to_tensor
from fpenet.deploy.judge.contract.decode import FORMS
from fpenet.deploy.judge.contract.foreign_network import (
    DTYPES,
    ForeignNetwork,
    TensorShape,
    padded,
)
from fpenet.deploy.judge.contract.keypoint_maps import named_map
from fpenet.keypoints import SCHEMES
from fpenet.params.contract import (
    LARGEST_INPUT_PX,
    ContractInput,
    ContractOutput,
    ContractParams,
)

_USUAL_SIZES = (112, 128, 256, 192, 224, 96, 64, CROP_PX)
"""Tried in this order where the file fixes no size."""
_USUAL_COUNTS = (5, 29, 68, 80, 98, 104, 106, 194)
"""Numbers of keypoints of public sets."""
_NORMALISED = 2.0
"""Coordinates of a crop in pixels are larger than this, normalised ones are not."""
_NEGATIVE = -0.25
"""Below this, normalised coordinates are from -1 to 1, not from 0 to 1."""


@dataclass(frozen=True, slots=True)
class ContractGuess:
    """A contract that fits an ONNX file as far as can be seen.

    Attributes:
        num_keypoints: of the model.
        open_keys: dotted key -> why its value may be wrong.
        several: names of the outputs that could have the points, if there are several.
    """

    contract: ContractParams
    num_keypoints: int
    open_keys: Mapping[str, str]
    several: tuple[str, ...] = ()


def guess_contract(network: ForeignNetwork, num_labelled: int, box_scale: float) -> ContractGuess:
    """The contract that fits the network.

    Args:
        num_labelled: number of keypoints of the labels.
        box_scale: the scale of the crops of this project, which is taken for ``crop_scale``.

    Raises:
        InputError: no contract fits: it has several inputs, its input is no image of one or three
            channels, or no output is like points; the message names the file and its tensors.
    """
    tensor, open_keys = _guess_input(network)
    tensor, arrays = _run_on_test_crops(network, tensor)
    readings = [row for name in arrays for row in _readings(name, arrays[name], num_labelled)]
    counts = {row.count for row in readings if row.form == "points"}
    candidates = sorted(
        # K numbers beside an output of K points are their confidence
        (row for row in readings if row.form != "flat" or 2 * row.count not in counts),
        key=lambda row: row.rank,
    )
    if not candidates:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise InputError(
            f"{network.path}: its outputs are {shapes}; none is like points: (N, K, 2), (N, 2K), or"
            " heat maps (N, K, h, w)"
        )
    best = candidates[0]
    several = tuple(
        row.name for row in candidates if (row.form, row.count) == (best.form, best.count)
    )
    if len(several) > 1:
        open_keys["output.points"] = f"{', '.join(several)} have the same shape"
    units = None
    if not best.form.startswith("heatmaps"):
        units = guess_units(FORMS[best.form](arrays[best.name]))
        open_keys["output.units"] = "guessed from the output for grey and random crops"
    confidence = [
        name
        for name, array in arrays.items()
        if name not in several and _lengths(array) == (best.count,)
    ]
    if len(confidence) > 1:
        open_keys["output.confidence"] = f"{', '.join(confidence)} have the same shape"
    open_keys["crop_scale"] = "not in the file; this is crop.box_scale of params.yaml"
    keypoints = None
    if best.count != num_labelled and not _same_numbering(best.count, num_labelled):
        keypoints = named_map(best.count, num_labelled)
        open_keys["keypoints"] = (
            f"if the {best.count} are numbered as in that public set"
            if keypoints
            else f"list the model's point (1 to {best.count}) for each of the {num_labelled} points"
            " of the labels"
        )
    output = ContractOutput(
        points=best.name,
        form=best.form,  # type: ignore[arg-type]  # a key of FORMS
        units=units,  # type: ignore[arg-type]  # a key of UNITS
        confidence=confidence[0] if confidence else None,
    )
    contract = ContractParams(
        input=tensor, crop_scale=box_scale, output=output, keypoints=keypoints
    )
    return ContractGuess(contract, best.count, open_keys, several if len(several) > 1 else ())


def guess_units(coordinates: NDArray[np.float64]) -> str:
    """``pixels``, ``unit`` (0 to 1) or ``centred`` (-1 to 1), from the size of coordinates.

    >>> guess_units(np.array([0.1, 0.9])), guess_units(np.array([-0.8, 0.9]))
    ('unit', 'centred')
    >>> guess_units(np.array([8.0, 90.0]))
    'pixels'
    """
    known = coordinates[np.isfinite(coordinates)]
    if np.abs(known).max(initial=0.0) > _NORMALISED:
        return "pixels"
    return "centred" if known.min(initial=0.0) < _NEGATIVE else "unit"


def _guess_input(network: ForeignNetwork) -> tuple[ContractInput, dict[str, str]]:
    """The input of the contract, and its keys that the file does not determine."""
    tensor = network.input_named(None)
    shape = tensor.shape
    layouts = [
        layout
        for layout, axis in (("nchw", 1), ("nhwc", 3))
        if len(shape) == 4 and shape[axis] in (1, 3)
    ]
    if not layouts:
        raise InputError(
            f"{network.path}: its input is {tensor}; it must be (N, C, height, width) or"
            " (N, height, width, C) with 1 or 3 channels"
        )
    layout = layouts[0]
    channels, height, width = (
        (shape[1], shape[2], shape[3]) if layout == "nchw" else (shape[3], shape[1], shape[2])
    )
    sides = [side if isinstance(side, int) and side > 0 else None for side in (width, height)]
    if any(side is not None and not 8 <= side <= LARGEST_INPUT_PX for side in sides):
        raise InputError(
            f"{network.path}: its input is {tensor}; a crop must have 8 to {LARGEST_INPUT_PX} px"
        )
    open_keys: dict[str, str] = {}
    if None in sides:
        open_keys["input.size"] = "the file fixes no size; it ran with this one"
    known = next((side for side in sides if side), _USUAL_SIZES[0])
    scale, why = _guess_scale(network, tensor, (sides[0] or known, sides[1] or known), channels)
    if why:
        open_keys["input.scale"] = why
    if channels == 3:
        open_keys["input.order"] = "not in the file"
    return ContractInput(
        name=tensor.name,
        size=(sides[0] or known, sides[1] or known),
        channels=channels,  # type: ignore[arg-type]  # 1 or 3
        order="rgb" if channels == 3 else None,
        layout=layout,  # type: ignore[arg-type]  # nchw or nhwc
        mean=(0.0,),
        scale=(scale,),
    ), open_keys


def _guess_scale(
    network: ForeignNetwork, tensor: TensorShape, size: tuple[int, int], channels: Any
) -> tuple[float, str]:
    """``input.scale``, and why it may be wrong; empty if the file determines it."""
    if tensor.type == "tensor(uint8)":
        return 1.0, ""
    if size == (CROP_PX, CROP_PX) and channels == 1:
        return 1.0, "not in the file; FPENet's input has grey levels of 0 to 255"
    graph = onnx.load(network.path, load_external_data=False).graph
    operators = [node.op_type for node in graph.node if tensor.name in node.input]
    if operators and set(operators) <= {"Sub", "Div", "Mul"}:
        return 1.0, f"its first operator is {operators[0]}: it seems to normalise 0 to 255 itself"
    return round(1 / 255, 8), "not in the file; most public models take levels of 0 to 1"


def _run_on_test_crops(
    network: ForeignNetwork, tensor: ContractInput
) -> tuple[ContractInput, dict[str, NDArray[Any]]]:
    """The outputs on a grey and on random crops, and the input with a size that runs."""
    fixed_sides = [side for side in network.inputs[0].shape[1:] if isinstance(side, int)]
    sizes = [tensor.size]
    if len(fixed_sides) < 3:
        sizes += [(side, side) for side in _USUAL_SIZES if (side, side) != tensor.size]
    problem = None
    for size in sizes:
        sized = tensor.model_copy(update={"size": size})
        try:
            return sized, run_test_crops(network, sized)
        except InputError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def run_test_crops(network: ForeignNetwork, tensor: ContractInput) -> dict[str, NDArray[Any]]:
    """Every output for a grey crop and two random ones, concatenated over single runs.

    Raises:
        InputError: ONNX Runtime cannot run the network on crops of this size.
    """
    width, height = tensor.size
    shape = (height, width, tensor.channels)
    rng = np.random.default_rng(0)
    crops = [np.full(shape, 128, np.uint8)]
    crops += [rng.integers(0, 256, shape).astype(np.uint8) for _ in range(2)]
    dtype = DTYPES[network.inputs[0].type]
    runs = [
        network.run(padded(to_tensor(crop[None], tensor, dtype), network.fixed_batch))
        for crop in crops
    ]
    return {
        name: np.concatenate([np.asarray(run[name])[:1] for run in runs])
        for name in runs[0]
        if np.ndim(runs[0][name]) > 0
    }


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read an output as ``count`` points; the smallest ``rank`` is the likeliest."""

    name: str
    form: str
    count: int
    rank: tuple[bool, bool, int]


def _readings(name: str, array: NDArray[Any], num_labelled: int) -> list[_Reading]:
    """The ways to read an output as points."""
    if array.dtype.kind != "f":
        return []
    lengths = _lengths(array)
    forms: list[tuple[str, int]] = []
    if len(lengths) == 1 and lengths[0] % 2 == 0:
        forms.append(("flat", lengths[0] // 2))
    if array.ndim >= 3 and len(lengths) == 2 and lengths[1] in (2, 3):
        forms.append(("points", lengths[0]))
    if array.ndim == 4 and min(array.shape[2:]) >= 8:
        forms.append(("heatmaps", array.shape[1]))
    if array.ndim == 4 and min(array.shape[1:3]) >= 8:
        forms.append(("heatmaps_last", array.shape[3]))
    order = ("points", "flat", "heatmaps", "heatmaps_last")
    return [
        _Reading(
            name,
            form,
            count,
            (count != num_labelled, count not in _USUAL_COUNTS, order.index(form)),
        )
        for form, count in forms
        if count >= min(2, num_labelled)
    ]


def _lengths(array: NDArray[Any]) -> tuple[int, ...]:
    """The lengths of the axes of one face, without those of length 1."""
    return tuple(length for length in array.shape[1:] if length != 1)


def _same_numbering(first: int, second: int) -> bool:
    return {first, second} <= {count for count, scheme in SCHEMES.items() if scheme.of_fpenet}
