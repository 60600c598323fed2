"""Parity checks: the distance of the points from torch to FP32 ONNX, and from there to FP16, INT8.

Input: points of the same faces from each rendering, executed by ONNX Runtime (``int8`` is the
rendering that the CPU target ships, ``int8_signed`` has the levels of the TensorRT renderings), and
from each engine that can run here. Output: one row for each check, with mean and largest distance
in pixels of the 80x80 crop, the budget, and the faces with the largest distance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.records import FileRecord
from fpenet.deploy.engines.targets import Precision
from fpenet.params import ParityParams

PARITY = "parity.json"
NUM_WORST = 5


@dataclass(frozen=True, slots=True)
class WorstFace:
    """A face with a large distance: its image, and the mean distance of its points in pixels."""

    face: str
    mean_px: float


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """The comparison of a rendering or engine with its reference.

    Attributes:
        name, reference: names of the two.
        mean_px, max_px: distance of a point, pixels of the 80x80 crop.
        budget_px: the mean must be below it.
        worst_faces: the faces with the largest mean distance.
    """

    name: str
    reference: str
    mean_px: float
    max_px: float
    budget_px: float
    passed: bool
    worst_faces: tuple[WorstFace, ...]


@dataclass(frozen=True, slots=True)
class ParityTable(FileRecord):
    """``parity.json``."""

    checks: tuple[ParityCheck, ...]

    def check(self, name: str) -> ParityCheck | None:
        """The check called ``name``; None where there is none."""
        return next((check for check in self.checks if check.name == name), None)


def distances(points: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]]) -> Any:
    """(N, K) distances between two sets of points (N, K, 2), in their pixels."""
    return np.linalg.norm(points.astype(np.float64) - reference.astype(np.float64), axis=2)


def parity_checks(
    points: Mapping[str, NDArray[np.floating[Any]]],
    faces: Sequence[str],
    budgets: ParityParams,
) -> list[ParityCheck]:
    """The checks of ``PARITY_CHECKS`` in order. A distance that is not finite does not pass.

    Args:
        points: ``torch`` and every rendering -> (N, K, 2) pixels of the 80x80 crop.
        faces: N names.
    """
    return [
        parity_check(name, reference, points, faces, float(getattr(budgets, budget)))
        for name, (reference, budget) in PARITY_CHECKS.items()
    ]


def engine_parity_check(
    name: str,
    precision: Precision,
    points: Mapping[str, NDArray[np.floating[Any]]],
    faces: Sequence[str],
    budgets: ParityParams,
) -> ParityCheck:
    """The check of an executed engine: compared with FP32 ONNX, with the budget of its precision.

    Args:
        points: ``onnx`` and ``name`` -> (N, K, 2) pixels of the 80x80 crop.
    """
    _, budget = PARITY_CHECKS[CHECK_OF_PRECISION[precision]]
    return parity_check(name, "onnx", points, faces, float(getattr(budgets, budget)))


def parity_check(
    name: str,
    reference: str,
    points: Mapping[str, NDArray[np.floating[Any]]],
    faces: Sequence[str],
    budget_px: float,
) -> ParityCheck:
    """The check of the points ``name`` with the points ``reference``."""
    moved = np.nan_to_num(distances(points[name], points[reference]), nan=1e9, posinf=1e9)
    means = moved.mean(axis=1)
    worst = np.argsort(means)[::-1][:NUM_WORST]
    return ParityCheck(
        name,
        reference,
        float(moved.mean()),
        float(moved.max()),
        budget_px,
        bool(moved.mean() < budget_px),
        tuple(WorstFace(faces[index], float(means[index])) for index in worst),
    )


PARITY_CHECKS: dict[str, tuple[str, str]] = {
    "onnx": ("torch", "onnx"),
    "fp16": ("onnx", "fp16"),
    "int8": ("onnx", "int8"),
    "int8_signed": ("onnx", "int8"),
}
"""Check -> the rendering it is compared with, and its key in ``build.parity_px``."""

CHECK_OF_PRECISION: dict[Precision, str] = {"fp32": "onnx", "fp16": "fp16", "int8": "int8"}
"""Precision of an engine -> the check of its rendering."""
