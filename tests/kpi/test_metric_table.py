"""Every metric against numbers worked out by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.keypoints import scheme_for
from fpenet.kpi.metric_table import ERRORS, FAILURE_RATES, SCORES, MetricTable, metric_table
from fpenet.kpi.metrics import FaceErrors, face_errors

NAN = math.nan


@pytest.fixture
def table() -> MetricTable:
    """Two faces of three keypoints; the third of the second face is unlabelled, one is hidden."""
    errors = np.array([[1.0, 2.0, 6.0], [3.0, 0.5, NAN]])
    visible = np.array([[True, False, True], [True, True, False]])
    found = FaceErrors(
        errors,
        visible,
        side=np.array([80.0, 160.0]),
        norms={"box": np.array([20.0, 40.0]), "interocular": np.array([50.0, NAN])},
        tight=np.array([[4.0, 4.0, 4.0], [NAN, NAN, NAN]]),
    )
    return metric_table(found, {"all": (0, 1, 2), "pair": (0, 1)})


@pytest.fixture
def means(table: MetricTable) -> dict[str, float]:
    return table.means()


def test_a_metric_counts_the_faces_that_have_a_value_of_it(table: MetricTable) -> None:
    counts = table.face_counts()
    assert (counts["nme_box/all"], counts["nme_interocular/all"]) == (2, 1)
    assert (counts["tight/image_px/all"], counts["crop_px_visible/all"]) == (1, 2)
    assert table.counted("nme_interocular/pair").tolist() == [True, False]


def test_crop_pixels_are_the_mean_of_the_means_of_the_points(means: dict[str, float]) -> None:
    # Points: (1 + 3) / 2 = 2, (2 + 0.5) / 2 = 1.25, 6.
    assert means["crop_px/all"] == pytest.approx((2 + 1.25 + 6) / 3)
    assert means["crop_px/pair"] == pytest.approx(1.625)


def test_image_pixels_are_crop_pixels_times_the_side(means: dict[str, float]) -> None:
    # The second face is twice as large: points (1 + 6) / 2, (2 + 1) / 2, 6.
    assert means["image_px/all"] == pytest.approx((3.5 + 1.5 + 6) / 3)


def test_hidden_points_do_not_count_among_the_visible(means: dict[str, float]) -> None:
    # Points: 2, 0.5 (of the second face alone), 6.
    assert means["crop_px_visible/all"] == pytest.approx((2 + 0.5 + 6) / 3)


def test_a_face_without_a_tight_crop_has_no_say_there(means: dict[str, float]) -> None:
    assert means["tight/image_px/all"] == 4.0


def test_nme_is_a_face_s_mean_error_over_each_length(means: dict[str, float]) -> None:
    # Face means: 3 and 1.75.
    assert means["nme_box/all"] == pytest.approx((3 / 20 + 1.75 / 40) / 2)
    assert means["nme_interocular/all"] == pytest.approx(3 / 50)  # the second face has none
    # Visible: (1 + 6) / 2 and (3 + 0.5) / 2.
    assert means["nme_box_visible/all"] == pytest.approx((3.5 / 20 + 1.75 / 40) / 2)


def test_failure_rate_and_area_are_read_off_the_headline_nme(means: dict[str, float]) -> None:
    # Headline NME of "all": 0.15 and 0.04375; of "pair": 0.075 and 0.04375.
    assert means["failure_rate_box_8/all"] == 0.5
    assert means["failure_rate_box_10/pair"] == 0.0
    # Area to 8 %: 0 and 1 - 0.04375 / 0.08.
    assert means["auc_box_8/all"] == pytest.approx((1 - 0.04375 / 0.08) / 2)
    assert means["auc_box_10/pair"] == pytest.approx((0.25 + 0.5625) / 2)


def test_the_area_is_that_under_the_stepped_curve() -> None:
    nme = np.random.default_rng(2).uniform(0, 0.15, 50)
    found = FaceErrors(
        nme[:, None] * 40, np.ones((50, 1), bool), np.full(50, 80.0), {"box": np.full(50, 40.0)}
    )
    grid = np.linspace(0, 0.08, 200_001)
    curve = np.searchsorted(np.sort(nme), grid, side="right") / 50
    area = metric_table(found, {"all": (0,)}).means()["auc_box_8/all"]
    assert area == pytest.approx(np.trapezoid(curve, grid) / 0.08, abs=1e-5)


def test_pck_is_the_share_of_points_nearer_than_so_much_of_the_length(
    means: dict[str, float],
) -> None:
    # At 5 % (1 px and 2 px): not 1 (at the limit) and not 3; not 2 but 0.5; not 6.
    assert means["pck_box_5/all"] == pytest.approx((0 + 0.5 + 0) / 3)
    # At 10 % (2 px and 4 px): 1 and 3; not 2 (at the limit) but 0.5; not 6.
    assert means["pck_box_10/all"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_a_point_without_a_visible_sample_is_no_number_and_never_zero() -> None:
    found = FaceErrors(
        np.array([[1.0, 2.0]]),
        np.array([[True, False]]),
        np.array([80.0]),
        {"box": np.array([9.0])},
    )
    means = metric_table(found, {"all": (0, 1), "first": (0,)}).means()
    assert math.isnan(means["crop_px_visible/all"])
    assert means["crop_px_visible/first"] == 1.0


def test_a_prediction_that_is_no_number_spoils_its_metrics(
    store_of: Callable[..., CropStore],
) -> None:
    points = np.random.default_rng(0).uniform(10, 70, (2, 3, 2))
    store = store_of(points, ["a", "b"])
    predicted = points.astype(np.float32)
    predicted[1, 2, 0] = np.nan
    found = face_errors(store, np.arange(2), predicted)
    means = metric_table(found, {"all": (0, 1, 2), "pair": (0, 1)}).means()
    assert means["crop_px/all"] == math.inf
    assert means["failure_rate_box_10/all"] == 0.5
    assert means["crop_px/pair"] == pytest.approx(0, abs=1e-5)


def test_68_points_take_the_middle_of_the_eyes_for_the_pupils() -> None:
    assert scheme_for(68).pupils == (tuple(range(36, 42)), tuple(range(42, 48)))
    assert scheme_for(104).pupils == ((68, 69, 70, 71), (72, 73, 74, 75))
    assert scheme_for(10).pupils is None


def test_head_pose_set_pupils_and_ears_are_regions() -> None:
    assert set(scheme_for(68).regions) >= {
        "all",
        "eyes",
        "mouth",
        "nose",
        "eyebrows",
        "chin",
        "head_pose",
    }
    regions = scheme_for(80).regions
    assert (regions["pupils"], regions["ears"]) == (tuple(range(68, 76)), tuple(range(76, 80)))
    assert regions["head_pose"] == (8, 17, 21, 22, 26, 31, 35, 36, 39, 42, 45, 48, 54, 57)


def test_chosen_metrics_keep_their_values() -> None:
    cells = MetricTable(
        np.array([[1.0, 2.0, 3.0], [3.0, NAN, 5.0]]), {"a": (0, 2), "b": (1,), "c": (2,)}
    )
    kept = cells.chosen(lambda name: name != "b")
    assert kept.values.shape == (2, 2)
    assert kept.means() == {"a": 3.0, "c": 4.0}
    assert kept.rows([1]).means() == {"a": 4.0, "c": 5.0}


def test_a_report_has_every_registered_metric_and_no_other(means: dict[str, float]) -> None:
    """With two normalisers, of which ``box`` is the headline."""
    units = set()
    for unit in ERRORS:
        full = {unit.format(normaliser=name) for name in ("box", "interocular")}
        units |= full | {f"{name}_visible" for name in full}
    units |= {unit.format(normaliser="box") for unit in (*FAILURE_RATES, *SCORES)}
    assert units >= {"crop_px", "tight/image_px_visible", "nme_box_visible", "pck_box_10"}
    assert set(means) == {f"{unit}/{region}" for unit in units for region in ("all", "pair")}
