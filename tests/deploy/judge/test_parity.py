"""The parity checks, with distances worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fpenet.deploy.judge.parity import PARITY_CHECKS, WorstFace, engine_parity_check, parity_checks
from fpenet.params import ParityParams

BUDGETS = ParityParams(onnx=0.01, fp16=0.1, int8=2.0)
FACES = ["a.png", "b.png"]


def points_of(**moved: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Two faces of two keypoints of each rendering, all at (10, 20) unless ``moved``."""
    still = np.tile([10.0, 20.0], (2, 2, 1))
    return {name: moved.get(name, still) for name in ("torch", *PARITY_CHECKS)}


def test_points_that_did_not_move_pass_every_check() -> None:
    checks = parity_checks(points_of(), FACES, BUDGETS)
    assert [(r.name, r.reference) for r in checks] == [
        ("onnx", "torch"),
        ("fp16", "onnx"),
        ("int8", "onnx"),
        ("int8_signed", "onnx"),
    ]
    assert all(r.passed and r.mean_px == r.max_px == 0.0 for r in checks)


def test_mean_and_largest_distance_and_the_worst_face() -> None:
    int8 = points_of()["onnx"].copy()
    int8[1] += [[3.0, 4.0], [0.0, 1.0]]  # 5 px and 1 px on the second face
    check = parity_checks(points_of(int8=int8), FACES, BUDGETS)[2]
    assert (check.mean_px, check.max_px, check.passed) == (1.5, 5.0, True)
    assert check.worst_faces[0] == WorstFace("b.png", 3.0)


def test_only_the_check_over_its_budget_is_lost() -> None:
    checks = parity_checks(points_of(fp16=points_of()["onnx"] + 0.1), FACES, BUDGETS)
    assert {r.name: r.passed for r in checks} == {
        "onnx": True,
        "fp16": False,
        "int8": True,
        "int8_signed": True,
    }


def test_an_engine_stands_beside_fp32_onnx_with_its_precision_s_budget() -> None:
    points = points_of()
    points["t4/fp16"] = points["onnx"] + [0.03, 0.04]  # 0.05 px
    held = engine_parity_check("t4/fp16", "fp16", points, FACES, BUDGETS)
    assert (held.name, held.reference, held.budget_px, held.passed) == (
        "t4/fp16",
        "onnx",
        0.1,
        True,
    )
    assert held.mean_px == pytest.approx(0.05)
    assert not engine_parity_check("t4/fp16", "fp32", points, FACES, BUDGETS).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_f37_points_that_are_no_numbers_do_not_pass(value: float) -> None:
    broken = points_of()["onnx"].copy()
    broken[0, 1, 0] = value
    check = parity_checks(points_of(onnx=broken), FACES, BUDGETS)[0]
    assert not check.passed
    assert check.worst_faces[0].face == "a.png"
