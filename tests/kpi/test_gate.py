"""The gate fails closed."""

from typing import Any

import pytest

from components.kpi.evaluate import KpiReport
from components.kpi.gate import judge
from components.params import GateParams

GATE = GateParams(
    thresholds={"known": {"image_px/all": 6.0}, "other": {"nme/all": 0.07}},
    min_faces=10,
    min_subjects=2,
)
RUNGS = [
    {"rung": "onnx", "mean_px": 0.001, "budget_px": 0.01},
    {"rung": "int8", "mean_px": 0.2, "budget_px": 0.5},
]


def report(value: float | None, dataset: str = "known", faces: int = 20) -> KpiReport:
    return KpiReport(dataset, "kpi", faces, 5, 68, "inter-ocular", {"image_px/all": value}, {}, [])


def engine(precision: str, value: float | None) -> dict[str, Any]:
    metrics = {"image_px/all": value}
    return {"target": "cpu", "precision": precision, "status": "ready", "metrics": metrics}


def test_a_good_release_passes() -> None:
    verdict = judge(report(5.0), [engine("fp32", 5.0)], RUNGS, GATE)
    assert verdict["passed"]
    assert verdict["engines"] == {"cpu/fp32": True}


@pytest.mark.parametrize("value", [6.0, 7.0, None])
def test_at_the_limit_over_it_or_unmeasured_is_refused(value: float | None) -> None:
    verdict = judge(report(value), [engine("fp32", 5.0)], RUNGS, GATE)
    assert not verdict["passed"]
    assert "image_px/all" in verdict["reasons"][0]


def test_too_few_faces_are_no_evidence() -> None:
    verdict = judge(report(5.0, faces=9), [engine("fp32", 5.0)], RUNGS, GATE)
    assert "insufficient evidence: 9 faces" in verdict["reasons"][0]


def test_one_lost_precision_is_not_shipped_and_the_rest_is() -> None:
    verdict = judge(report(5.0), [engine("fp32", 5.0), engine("int8", 9.0)], RUNGS, GATE)
    assert verdict["passed"]
    assert verdict["engines"] == {"cpu/fp32": True, "cpu/int8": False}


def test_a_target_that_lost_every_precision_refuses_the_release() -> None:
    assert not judge(report(5.0), [engine("fp32", 9.0)], RUNGS, GATE)["passed"]


def test_no_executed_engine_refuses_the_release() -> None:
    pending = {"target": "h200", "precision": "fp16", "status": "pending", "metrics": None}
    verdict = judge(report(5.0), [pending], RUNGS, GATE)
    assert verdict["reasons"] == ["no engine was executed and judged"]


def test_an_unnamed_data_set_meets_the_thresholds_of_other() -> None:
    verdict = judge(report(5.0, dataset="mine"), [engine("fp32", 5.0)], RUNGS, GATE)
    assert "net nme/all was not measured" in verdict["reasons"]
