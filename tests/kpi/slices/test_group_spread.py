"""The spread between groups of subjects: by hand, and against a loop over resamples."""

from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.kpi.bootstrap import Resamples, expanded_tail
from fpenet.kpi.evaluate import judge
from fpenet.kpi.metric_table import MetricTable
from fpenet.kpi.predictions import predict_judged
from fpenet.kpi.report import KpiReport
from fpenet.kpi.slices.group_spread import GroupSpread, describes_subjects
from fpenet.params import EvaluateParams, IntervalParams

Judge = Callable[..., KpiReport]


@pytest.fixture
def report(store_of: Callable[..., CropStore], evaluate_params: EvaluateParams) -> Judge:
    """The report of faces whose errors are known: ``report(errors_px, subjects, attributes)``."""

    def make(errors_px: list[float], subjects: list[str], **attributes: list[str]) -> KpiReport:
        points = np.full((len(subjects), 3, 2), 30.0)
        store = store_of(points, subjects, **attributes)  # face boxes of 40 px of the crop
        moved = points + np.array(errors_px)[:, None, None] * np.array([0.6, 0.8])
        predictions = predict_judged(lambda images: (moved, np.ones((len(subjects), 3))), store, 64)
        return judge(store, predictions, evaluate_params)

    return make


def spreads(kpi: KpiReport) -> dict[str, GroupSpread]:
    return {row.attribute: row for row in kpi.spreads}


def test_it_is_the_largest_error_of_a_group_over_the_smallest(report: Judge) -> None:
    kpi = report(
        [2.0, 2.0, 4.0, 6.0, 3.0, 3.0],
        list("abcdef"),
        skin=["light", "light", "dark", "dark", "medium", "medium"],
    )
    row = spreads(kpi)["skin"]
    # NME: 2 / 40, (4 + 6) / 2 / 40, 3 / 40.
    assert row.ratio == pytest.approx(5.0 / 2.0, rel=1e-5)
    assert (row.largest, row.smallest, row.groups, row.why) == ("dark", "light", 3, None)


def test_equal_errors_of_each_group_have_an_interval_of_no_width(report: Judge) -> None:
    people = [f"s{number}" for number in range(20)]
    kpi = report([1.0, 3.0] * 10, people, sex=["f", "m"] * 10)
    row = spreads(kpi)["sex"]
    assert row.ratio == pytest.approx(3.0, rel=1e-5)
    assert row.interval == pytest.approx((3.0, 3.0), rel=1e-5)


def test_the_interval_is_that_of_a_loop_over_the_same_resamples() -> None:
    rng = np.random.default_rng(11)
    subjects = [f"s{number // 3:02d}" for number in range(60)]
    values = rng.uniform(1, 3, (60, 1))
    table = MetricTable(values, {"nme": (0,)})
    draws = Resamples.of(subjects, IntervalParams(resamples=2000, level=0.95, seed=3))
    first, second = np.arange(0, 24), np.arange(24, 54)  # 8 and 10 of the 20 subjects
    loop = []
    for counts in draws.counts.T.astype(int):
        weights = counts[draws.subjects]
        means = [
            (values[faces, 0] * weights[faces]).sum() / weights[faces].sum()
            for faces in (first, second)
            if weights[faces].sum()
        ]
        if len(means) == 2:
            loop.append(means[0] / means[1])
    tail = 100 * expanded_tail(0.025, 18)
    expected = tuple(np.percentile(loop, [tail, 100 - tail]))
    assert draws.ratios(table, first, second)["nme"] == pytest.approx(expected, rel=1e-5)


def test_a_subject_in_both_groups_moves_both_errors_of_a_resample() -> None:
    """Faces of the first group have twice the error of the same subject's in the second."""
    rng = np.random.default_rng(4)
    own = rng.uniform(1, 9, 30)
    table = MetricTable(np.concatenate([2 * own, own])[:, None], {"nme": (0,)})
    subjects = [f"s{number}" for number in range(30)] * 2
    draws = Resamples.of(subjects, IntervalParams(resamples=1000, level=0.95, seed=3))
    interval = draws.ratios(table, np.arange(30), np.arange(30, 60))["nme"]
    assert interval == pytest.approx((2.0, 2.0), rel=1e-5)


def test_fewer_than_two_groups_with_enough_faces_have_a_reason(report: Judge) -> None:
    kpi = report([1.0, 2.0, 3.0], list("abc"), sex=["f", "m", "m"])
    assert spreads(kpi)["sex"] == GroupSpread(
        "sex", 1, None, None, None, None, "1 of 2 groups with enough faces and an error; needs 2"
    )


def test_an_attribute_with_one_value_has_its_reason(report: Judge) -> None:
    row = spreads(report([1.0, 2.0], ["a", "b"], ethnicity=["x", "x"]))["ethnicity"]
    assert (row.ratio, row.why) == (None, "all faces are x")


def test_a_model_without_an_error_has_no_ratio(report: Judge) -> None:
    row = spreads(report([0.0] * 4, list("abcd"), sex=["f", "f", "m", "m"]))["sex"]
    assert row.ratio is None
    assert row.why is not None
    assert row.why.startswith("the error of ")


def test_what_differs_between_the_images_of_a_subject_is_no_attribute_of_it(
    report: Judge,
) -> None:
    people = ["a", "a", "b", "b"]
    kpi = report(
        [1.0, 2.0, 3.0, 4.0],
        people,
        hair=["long", "long", "short", "short"],
        light=["07", "08", "07", "08"],
        yaw=["0", "0", "45", "45"],
    )
    assert set(spreads(kpi)) == {"hair"}


def test_one_face_a_subject_does_not_make_an_attribute_one_of_subjects() -> None:
    faces = {"07": np.array([0, 1]), "08": np.array([2])}
    assert not describes_subjects("light", faces, ["a", "b", "c"])
    assert describes_subjects("skin_tone", faces, ["a", "b", "c"])
    assert describes_subjects("Sex", faces, ["a", "a", "a"])


def test_the_spread_comes_back_from_its_file(report: Judge) -> None:
    kpi = report([1.0, 2.0, 3.0, 5.0], list("abcd"), sex=["f", "f", "m", "m"])
    assert KpiReport.parse(kpi.text(), "kpi.json") == kpi
    assert spreads(kpi)["sex"].ratio == pytest.approx(8 / 3, rel=1e-5)
