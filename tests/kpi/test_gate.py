"""The gate fails closed, and says what, how much, how sure, against what, and where it is seen."""

import dataclasses
from typing import Any

import pytest

from fpenet.kpi.compare import Difference
from fpenet.kpi.gate import (
    ChampionEngine,
    ChampionResult,
    ChampionState,
    GateDecision,
    JudgedEngine,
    decide,
)
from fpenet.kpi.report import KpiReport
from fpenet.params import ComparisonParams, GateParams

GATE = GateParams(
    champion=None,
    thresholds={"known": {"image_px/all": 6.0}, "other": {"nme_box/all": 0.05}},
    min_faces=10,
    min_subjects=2,
    comparison=ComparisonParams(
        margin=0.05, slice_margin=0.15, metrics=("crop_px/all",), slices={}
    ),
)
FIRST = ChampionResult(ChampionState.FIRST_RELEASE, "none yet")
RIVAL = ChampionEngine(
    "cpu/fp32", "champion/cpu.fp32.kpi.json", "champion/cpu.fp32.predictions.npz"
)


def report(value: float | None, dataset: str = "known", **changes: Any) -> KpiReport:
    empty: dict[str, Any] = {
        field.name: {} for field in dataclasses.fields(KpiReport) if field.name != "assumed"
    }
    named = {
        "dataset": dataset,
        "part": "kpi",
        "faces": "0" * 64,
        "num_faces": 20,
        "num_subjects": 5,
        "metrics": {"image_px/all": value},
        "intervals": {"image_px/all": (4.5, 6.5)},
    }
    return KpiReport(**(empty | named | changes))


def engine(name: str, value: float | None, **changes: Any) -> JudgedEngine:
    evidence = f"build/{name}.kpi.json"
    known = JudgedEngine(name, report(value), evidence, parity_px=0.001, parity_budget_px=0.01)
    return dataclasses.replace(known, **changes)


def verdict(
    *engines: JudgedEngine, faces: int = 20, subjects: int = 5, champion: ChampionResult = FIRST
) -> GateDecision:
    trained = report(5.0, num_faces=faces, num_subjects=subjects)
    return decide(trained, engines, champion, GATE)


def difference(passed: bool, required: bool = True, where: str | None = None) -> Difference:
    why = (
        "" if passed else "+9.0% (95% interval +7.0% to +11.0%); its upper end must be below +5.0%"
    )
    return Difference(
        "crop_px/all", where, 20, 5, 1.0, 1.09, 0.09, (0.07, 0.11), 0.05, required, passed, why
    )


def test_a_good_release_passes() -> None:
    found = verdict(engine("cpu/fp32", 5.0))
    assert found.passed
    assert found.engines == {"cpu/fp32": True}


@pytest.mark.parametrize("value", [6.0, 7.0, None])
def test_at_the_limit_over_it_or_unmeasured_is_refused(value: float | None) -> None:
    found = verdict(engine("cpu/fp32", value))
    assert not found.passed
    assert "image_px/all" in found.reasons[0]


def test_a_reason_names_number_interval_threshold_and_evidence() -> None:
    assert verdict(engine("cpu/fp32", 6.25)).reasons == (
        "cpu/fp32: image_px/all is 6.25 (interval 4.5 to 6.5); must be below 6"
        " (build/cpu/fp32.kpi.json)",
    )
    check = verdict(engine("cpu/fp32", 5.0)).checks[2]
    assert (check.value, check.limit, check.interval) == (5.0, 6.0, (4.5, 6.5))
    assert check.evidence == "build/cpu/fp32.kpi.json"


def test_each_threshold_is_of_its_own_metric() -> None:
    thresholds = {"known": {"image_px/all": 6.0, "image_px/mouth": 3.0, "crop_px/eyes": 1.5}}
    metrics = {"image_px/all": 5.0, "image_px/mouth": 3.5, "crop_px/eyes": 1.25}
    intervals = {name: (value - 0.5, value + 0.5) for name, value in metrics.items()}
    kpi = report(None, metrics=metrics, intervals=intervals)
    judged = engine("cpu/fp32", None, kpi=kpi)
    found = decide(kpi, [judged], FIRST, GATE.model_copy(update={"thresholds": thresholds}))
    rows = [one for one in found.checks if one.name in metrics]
    assert [(one.name, one.value, one.limit, one.interval) for one in rows] == [
        ("image_px/all", 5.0, 6.0, (4.5, 5.5)),
        ("image_px/mouth", 3.5, 3.0, (3.0, 4.0)),
        ("crop_px/eyes", 1.25, 1.5, (0.75, 1.75)),
    ]
    assert [one.passed for one in rows] == [True, False, True]
    assert found.reasons == (
        "cpu/fp32: image_px/mouth is 3.5 (interval 3 to 4); must be below 3"
        " (build/cpu/fp32.kpi.json)",
    )


def test_too_few_faces_or_people_are_no_evidence() -> None:
    found = verdict(engine("cpu/fp32", 5.0), faces=9, subjects=1)
    assert found.reasons == (
        "insufficient evidence: 9 faces; must be at least 10 (evaluate/kpi.json)",
        "insufficient evidence: 1 subjects; must be at least 2 (evaluate/kpi.json)",
    )


def test_exactly_enough_faces_and_people_pass_and_one_fewer_does_not() -> None:
    assert verdict(engine("cpu/fp32", 5.0), faces=10, subjects=2).passed
    for faces, people, word in ((9, 2, "9 faces"), (10, 1, "1 subjects")):
        found = verdict(engine("cpu/fp32", 5.0), faces=faces, subjects=people)
        assert not found.passed
        (reason,) = found.reasons
        assert reason.startswith(f"insufficient evidence: {word}; must be at least ")


def test_one_lost_precision_is_not_shipped_and_the_rest_is() -> None:
    found = verdict(engine("cpu/fp32", 5.0), engine("cpu/int8", 9.0))
    assert found.passed
    assert found.engines == {"cpu/fp32": True, "cpu/int8": False}


def test_a_target_that_lost_every_precision_refuses_the_release() -> None:
    found = verdict(engine("cpu/fp32", 5.0), engine("h200/fp16", 9.0))
    assert not found.passed
    assert found.engines == {"cpu/fp32": True, "h200/fp16": False}


def test_an_engine_without_a_report_or_parity_is_refused() -> None:
    found = verdict(engine("cpu/fp32", 5.0, kpi=None), engine("l4/fp16", 5.0, parity_px=None))
    assert "no KPI report" in found.reasons[0]
    assert "l4/fp16: parity px was not measured" in found.reasons[1]


def test_an_engine_that_was_judged_on_other_faces_is_refused() -> None:
    found = verdict(engine("cpu/fp32", 5.0, kpi=report(5.0, faces="a" * 64)))
    assert found.reasons == (
        "cpu/fp32: judged on different faces: aaaaaaaaaaaaaaaa; must be of 0000000000000000"
        " (build/cpu/fp32.kpi.json)",
    )


def test_no_executed_engine_refuses_the_release() -> None:
    assert verdict().reasons == ("no engine was executed and judged (build/engines.json)",)


def test_an_unnamed_data_set_meets_the_thresholds_of_other() -> None:
    found = verdict(engine("cpu/fp32", 5.0, kpi=report(5.0, dataset="mine")))
    assert "nme_box/all was not measured" in found.reasons[0]


def test_a_first_release_is_compared_with_none_and_says_so() -> None:
    found = verdict(engine("cpu/fp32", 5.0))
    assert found.passed
    assert found.champion.state is ChampionState.FIRST_RELEASE
    assert found.comparisons == ()


def test_a_loss_to_the_champion_refuses_the_engine() -> None:
    champion = ChampionResult(ChampionState.COMPARED, "", "v1", {"cpu/fp32": RIVAL})
    rows = (difference(True), difference(False, where="yaw_range=above 60"))
    found = verdict(engine("cpu/fp32", 5.0, differences=rows), champion=champion)
    assert found.reasons == (
        "cpu/fp32: crop_px/all relative to the champion, yaw_range=above 60: +9.0%"
        " (95% interval +7.0% to +11.0%); its upper end must be below +5.0%"
        " (champion/cpu.fp32.kpi.json)",
    )
    assert len(found.comparisons) == 2


def test_a_slice_that_is_not_required_is_told_and_refuses_nothing() -> None:
    champion = ChampionResult(ChampionState.COMPARED, "", "v1", {"cpu/fp32": RIVAL})
    rows = (difference(True), difference(False, required=False, where="session=01"))
    assert verdict(engine("cpu/fp32", 5.0, differences=rows), champion=champion).passed


def test_a_champion_that_could_not_be_compared_refuses() -> None:
    champion = ChampionResult(ChampionState.NOT_COMPARABLE, "v1: no bundle", "v1")
    assert verdict(engine("cpu/fp32", 5.0), champion=champion).reasons == (
        "cpu/fp32: not compared with the champion: v1: no bundle (gate.champion)",
    )
