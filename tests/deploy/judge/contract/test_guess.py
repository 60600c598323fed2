"""What an ONNX file shows of its contract, and what a person has to check."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fpenet.deploy.judge.contract.foreign_network import open_network
from fpenet.deploy.judge.contract.guess import ContractGuess, guess_contract, guess_units
from tests.deploy.judge.foreign_models import write_brightest, write_constant

POINTS = np.random.default_rng(0).uniform(0.2, 0.8, (68, 2))


def guess(path: Path, num_labelled: int = 68) -> ContractGuess:
    return guess_contract(open_network(path), num_labelled, 1.2)


@pytest.mark.parametrize(
    ("output", "shape", "expected"),
    [
        (POINTS.ravel(), ("n", 3, 112, 112), ("flat", "unit", (112, 112), "nchw")),
        (POINTS * 224, (1, 224, 192, 3), ("points", "pixels", (192, 224), "nhwc")),
        (POINTS * 2 - 1, ("n", 1, 64, 64), ("points", "centred", (64, 64), "nchw")),
        (np.zeros((68, 16, 16)), ("n", 3, 64, 64), ("heatmaps", None, (64, 64), "nchw")),
        (np.zeros((16, 16, 68)), ("n", 64, 64, 3), ("heatmaps_last", None, (64, 64), "nhwc")),
    ],
)
def test_size_layout_form_and_units_are_seen(
    tmp_path: Path, output: np.ndarray, shape: Any, expected: tuple[Any, ...]
) -> None:
    contract = guess(write_constant(tmp_path / "m.onnx", output, shape)).contract
    assert (
        contract.output.form,
        contract.output.units,
        contract.input.size,
        contract.input.layout,
    ) == expected
    assert contract.output.points == "marks"
    assert contract.input.order == ("rgb" if 3 in shape else None)


def test_a_confidence_has_as_many_numbers_as_there_are_points(tmp_path: Path) -> None:
    """136 and 68 numbers: the points of 68, and their confidences, not 34 points."""
    model = write_constant(tmp_path / "m.onnx", POINTS.ravel(), confidence=np.zeros(68))
    contract = guess(model).contract
    assert (contract.output.points, contract.output.confidence) == ("marks", "score")


def test_what_the_file_does_not_say_is_marked(tmp_path: Path) -> None:
    seen = guess(write_constant(tmp_path / "m.onnx", np.tile(POINTS, (2, 1))[:98].ravel()))
    assert (seen.num_keypoints, seen.contract.keypoints) == (98, "98->68")
    assert set(seen.open_keys) == {
        "input.scale",
        "input.order",
        "crop_scale",
        "output.units",
        "keypoints",
    }
    levels = write_constant(tmp_path / "u8.onnx", POINTS.ravel(), kind=TensorProto.UINT8)
    assert guess(levels).contract.input.scale == (1.0,)
    assert "input.scale" not in guess(levels).open_keys


def test_a_model_that_normalises_itself_gets_levels_of_0_to_255(tmp_path: Path) -> None:
    path = write_brightest(tmp_path / "m.onnx")
    assert guess(path, 1).contract.input.scale == (round(1 / 255, 8),)
    model = onnx.load(path)
    graph = model.graph
    graph.node[0].input[0] = "normalised"
    graph.node.insert(0, helper.make_node("Sub", ["face", "mean"], ["normalised"]))
    graph.initializer.append(helper.make_tensor("mean", TensorProto.FLOAT, [1], [127.5]))
    onnx.save(model, path)
    assert guess(path, 1).contract.input.scale == (1.0,)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-0.1, 1.1], "unit"),
        ([-0.9, 0.9], "centred"),
        ([-5.0, 100.0], "pixels"),
        ([np.nan, 0.5], "unit"),
    ],
)
def test_units_are_seen_from_the_size_of_the_numbers(values: list[float], expected: str) -> None:
    assert guess_units(np.array(values)) == expected
