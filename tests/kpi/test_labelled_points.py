"""A set that labels only some of a scheme's points is judged on those; the others are n/a."""

import csv
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fpenet.data.crops.store import CropStore
from fpenet.kpi.compare import compare
from fpenet.kpi.evaluate import judge
from fpenet.kpi.metrics import judged_regions
from fpenet.kpi.predictions import Predictions, digest_faces, judged_rows
from fpenet.kpi.report import plot_kpi, write_kpi, write_kpi_card
from fpenet.params import EvaluateParams, load_params
from tests.conftest import PARAMS

LABELLED = [8, 36, 39, 42, 45, 48, 54]
"""Chin, four eye corners, two mouth corners."""


@pytest.fixture
def store(store_of: Callable[..., CropStore]) -> CropStore:
    points = np.random.default_rng(0).uniform(10, 70, (8, 68, 2))
    points[:, [k for k in range(68) if k not in LABELLED]] = np.nan
    return store_of(points, [f"s{n}" for n in range(8)], visible=np.isfinite(points[..., 0]))


def moved(store: CropStore, x: float) -> Predictions:
    """Predictions ``x`` px to the right of the labels; 0 where there is none."""
    rows = judged_rows(store)
    points = np.nan_to_num(store.points_crop(rows)) + np.array([x, 0.0], np.float32)
    points[:, 36, 1] += 3 * x  # the error of this point is sqrt(10) x
    confidence = np.full(points.shape[:2], np.nan, np.float32)
    return Predictions(points, confidence, None, rows, digest_faces(store, rows))


def test_numbers_are_of_the_labelled_points_and_regions_without_one_are_na(
    store: CropStore, evaluate_params: EvaluateParams, tmp_path: Path
) -> None:
    predictions = moved(store, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kpi = judge(store, predictions, evaluate_params)
        write_kpi(kpi, tmp_path)
        write_kpi_card(kpi, "theirs", "SHA-256 of nothing", tmp_path / "card.md")
        plot_kpi(kpi, store, predictions, tmp_path / "kpi.png")
    far = 2.0 * 10**0.5
    assert kpi.metrics["crop_px/all"] == pytest.approx((6 * 2.0 + far) / 7, abs=1e-5)
    assert kpi.metrics["crop_px/eyes"] == pytest.approx((3 * 2.0 + far) / 4, abs=1e-5)
    assert kpi.metrics["crop_px/mouth"] == pytest.approx(2.0, abs=1e-5)
    interval = kpi.intervals["crop_px/all"]
    assert interval == pytest.approx([(6 * 2.0 + far) / 7] * 2, abs=1e-4)  # all faces are equal
    for region in ("nose", "eyebrows"):
        values = {name: v for name, v in kpi.metrics.items() if name.endswith(f"/{region}")}
        assert set(values.values()) == {None}
        assert kpi.intervals[f"crop_px/{region}"] is None
    assert kpi.unlabelled == tuple(k for k in range(68) if k not in LABELLED)
    assert kpi.regions["eyes"] == (36, 39, 42, 45)
    rows = list(csv.DictReader((tmp_path / "kpi_per_point.csv").read_text().splitlines()))
    assert len(rows) == 68
    assert [int(row["point"]) - 1 for row in rows if row["crop_px"] != "n/a"] == LABELLED
    assert "7 of the 68 keypoints have labels and are judged: 9, 37, 40, 43, 46, 49, 55." in (
        (tmp_path / "card.md").read_text()
    )


def test_a_point_that_one_face_labels_is_judged(
    store: CropStore, evaluate_params: EvaluateParams
) -> None:
    store.points_margin[3, 30] = [56.0, 56.0]
    regions = judged_regions(store, judged_rows(store), evaluate_params)
    assert list(regions["nose"]) == [30]
    assert 30 in regions["all"]
    assert len(regions["eyebrows"]) == 10  # none has a label: all stay, and are n/a


def test_two_models_are_compared_on_the_labelled_points(
    store: CropStore, evaluate_params: EvaluateParams
) -> None:
    comparison = load_params(PARAMS).gate.comparison.model_copy(
        update={"metrics": ("crop_px/all", "crop_px/nose"), "slices": {}}
    )
    rows = compare(store, moved(store, 2.0), moved(store, 1.0), evaluate_params, comparison)
    whole = {row.metric: row for row in rows if row.slice is None}
    assert whole["crop_px/all"].change == pytest.approx(-0.5, abs=1e-5)
    assert whole["crop_px/nose"].first is None
