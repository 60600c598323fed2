"""KPI numbers against hand values and a slow reference."""

import math

import numpy as np

from fpenet.kpi.metrics import masked_mean, nme, point_errors, region_error


def test_a_region_is_the_plain_mean_of_its_point_means() -> None:
    errors = np.array([[1.0, 10.0], [3.0, np.nan]])
    means = masked_mean(errors, np.isfinite(errors), axis=0)
    assert means.tolist() == [2.0, 10.0]
    assert region_error(means, (0, 1)) == 6.0  # not (1 + 3 + 10) / 3


def test_a_point_without_a_sample_is_not_zero() -> None:
    means = masked_mean(np.array([[1.0, 2.0]]), np.array([[True, False]]), axis=0)
    assert means[0] == 1.0
    assert math.isnan(means[1])
    assert math.isnan(region_error(means, (0, 1)))


def test_nme_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(3)
    predicted, target = rng.normal(size=(2, 9, 5, 2)) * 10
    mask = rng.random((9, 5)) < 0.7
    norm = rng.uniform(5, 50, 9)
    expected = []
    for n in range(9):
        distances = [
            math.dist(predicted[n, k], target[n, k]) / norm[n] for k in range(5) if mask[n, k]
        ]
        expected.append(sum(distances) / len(distances) if distances else math.nan)
    found = nme(point_errors(predicted, target), mask, norm)
    assert np.allclose(found, expected, equal_nan=True)


def test_a_face_without_a_norm_has_no_nme() -> None:
    ones = np.ones((2, 1))
    assert np.isnan(nme(ones, ones > 0, np.array([0.0, np.nan]))).all()
