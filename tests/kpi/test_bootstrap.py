"""Intervals: against a slow loop, and against how often they hold the truth."""

import math

import numpy as np
import pytest

from fpenet.kpi import bootstrap
from fpenet.kpi.bootstrap import Interval, Resamples, expanded_tail
from fpenet.kpi.metric_table import MetricTable
from fpenet.params import IntervalParams

HOW = IntervalParams(resamples=4000, level=0.95, seed=1)


def faces(
    num_subjects: int, rng: np.random.Generator, each: int = 4
) -> tuple[MetricTable, list[str]]:
    """Cells of two columns, alike within a person, some of them missing."""
    subjects = [f"s{number}" for number in range(num_subjects) for _ in range(each)]
    own = np.repeat(rng.normal(3, 1, num_subjects), each)[:, None]
    values = own + rng.normal(0, 0.3, (num_subjects * each, 2))
    values[rng.random(values.shape) < 0.1] = np.nan
    return MetricTable(values, {"both": (0, 1), "first": (0,)}), subjects


def intervals(
    cells: MetricTable, subjects: list[str], interval_params: IntervalParams
) -> dict[str, Interval | None]:
    return Resamples.of(subjects, interval_params).intervals(cells)


def test_an_interval_is_that_of_a_loop_over_resampled_people() -> None:
    rng = np.random.default_rng(7)
    cells, subjects = faces(12, rng)
    names = sorted(set(subjects))
    found = []
    for _ in range(4000):
        drawn = rng.choice(names, len(names))
        rows = [face for name in drawn for face, own in enumerate(subjects) if own == name]
        found.append(np.nanmean(cells.values[rows], axis=0).mean())
    tail = 100 * expanded_tail(0.025, 12)
    low, high = np.percentile(found, [tail, 100 - tail])
    interval = intervals(cells, subjects, HOW)["both"]
    assert interval == pytest.approx((low, high), abs=0.03)


def test_faces_of_one_person_are_not_independent() -> None:
    cells, subjects = faces(20, np.random.default_rng(3), each=10)
    clustered = intervals(cells, subjects, HOW)["both"]
    alone = intervals(cells, [str(face) for face in range(200)], HOW)["both"]
    assert clustered is not None
    assert alone is not None
    assert clustered[1] - clustered[0] > 2 * (alone[1] - alone[0])


def test_an_interval_of_23_people_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    interval_params = IntervalParams(resamples=1000, level=0.95, seed=2)
    held = 0
    for _ in range(300):
        found = intervals(*faces(23, rng), interval_params)["both"]
        assert found
        held += found[0] <= 3 <= found[1]
    assert 0.92 < held / 300 < 0.985


def test_the_interval_of_a_slice_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    interval_params = IntervalParams(resamples=1000, level=0.95, seed=2)
    held = 0
    for _ in range(300):
        cells, subjects = faces(50, rng)
        own = np.arange(40)  # ten people
        found = Resamples.of(subjects, interval_params).rows(own).intervals(cells.rows(own))["both"]
        assert found
        held += found[0] <= 3 <= found[1]
    assert 0.92 < held / 300 < 0.985


@pytest.mark.parametrize(
    ("num_subjects", "t"), [(5, 2.776), (10, 2.262), (23, 2.074), (101, 1.984)]
)
def test_the_ends_are_those_of_student_s_t(num_subjects: int, t: float) -> None:
    wider = t * (num_subjects / (num_subjects - 1)) ** 0.5
    tail = 0.5 * math.erfc(wider / 2**0.5)
    assert expanded_tail(0.025, num_subjects) == pytest.approx(tail, rel=0.03)


def test_people_drawn_in_groups_spread_as_much_as_people(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, subjects = faces(600, np.random.default_rng(4))
    alone = intervals(cells, subjects, HOW)["both"]
    monkeypatch.setattr(bootstrap, "MAX_CLUSTERS", 300)
    grouped = intervals(cells, subjects, HOW)["both"]
    assert alone is not None
    assert grouped is not None
    assert grouped[1] - grouped[0] == pytest.approx(alone[1] - alone[0], rel=0.15)


def test_a_paired_difference_does_not_see_what_is_hard_about_a_face() -> None:
    cells, subjects = faces(15, np.random.default_rng(6))
    worse = MetricTable(cells.values * 1.02, cells.metrics)
    change, interval = Resamples.of(subjects, HOW).differences(cells, worse)["both"]
    assert change == pytest.approx(0.02, abs=1e-9)
    assert interval == pytest.approx((0.02, 0.02), abs=1e-5)


def test_a_slice_of_the_draws_spreads_as_draws_of_the_slice() -> None:
    cells, subjects = faces(60, np.random.default_rng(8))
    own = np.flatnonzero(np.arange(240) % 8 < 4)  # half of the people
    sliced = Resamples.of(subjects, HOW).rows(own).intervals(cells.rows(own))["both"]
    alone = intervals(cells.rows(own), [subjects[face] for face in own], HOW)["both"]
    assert sliced == pytest.approx(alone, abs=0.06)


def test_columns_with_other_gaps_are_a_mean_of_means_and_not_a_mean_of_all() -> None:
    rng = np.random.default_rng(9)
    values = rng.normal(3, 1, (30, 4))
    values[:20, 3] = np.nan
    cells = MetricTable(values, {"all": (0, 1, 2, 3), "last": (3,), "two": (0, 1)})
    draws = Resamples.of([str(face) for face in range(30)], HOW)
    found = draws.intervals(cells)
    tail = 100 * expanded_tail(0.025, 30)
    for name, own in cells.metrics.items():
        loop = []
        for counts in draws.counts.T.astype(int):
            rows = np.repeat(np.arange(30), counts[draws.subjects])
            loop.append(np.nanmean(values[rows][:, list(own)], axis=0).mean())
        ends = np.percentile(loop, [tail, 100 - tail])
        assert found[name] == pytest.approx(tuple(ends), abs=1e-5)


def test_one_person_has_no_interval() -> None:
    cells, _ = faces(4, np.random.default_rng(0))
    assert intervals(cells, ["a"] * 16, HOW) == {"both": None, "first": None}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_metric_without_a_number_has_no_interval_and_harms_no_other(bad: float) -> None:
    cells, subjects = faces(8, np.random.default_rng(0))
    values = cells.values.copy()
    values[:, 1] = bad
    found = intervals(MetricTable(values, cells.metrics), subjects, HOW)
    assert found["both"] is None
    assert found["first"] == intervals(cells, subjects, HOW)["first"]


def test_the_same_seed_gives_the_same_interval() -> None:
    cells, subjects = faces(8, np.random.default_rng(0))
    other = HOW.model_copy(update={"seed": 2})
    assert intervals(cells, subjects, HOW) == intervals(cells, subjects, HOW)
    assert intervals(cells, subjects, HOW) != intervals(cells, subjects, other)
