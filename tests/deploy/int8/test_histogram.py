"""Ranges from histograms, against numbers worked out by hand or by plain loops."""

import math
from pathlib import Path

import numpy as np
import pytest

from fpenet.deploy.int8.histogram import BINS, METHODS, Histogram, entropy_value, mse_value
from fpenet.params import CalibrateParams, load_params

PARAMS = Path(__file__).parents[3] / "params.yaml"


def calibrate(percentile: float = 99.0) -> CalibrateParams:
    given = load_params(PARAMS).calibrate
    return given.model_copy(update={"method": "percentile", "percentile": percentile})


def histogram_of(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(batch.astype(np.float32))
    return histogram


def test_minmax_is_the_largest_magnitude() -> None:
    histogram = histogram_of(np.array([[0.5, -3.0], [1.0, 2.0]]), np.array([2.5]))
    assert METHODS["minmax"](histogram, calibrate()) == 3.0


def test_percentile_of_evenly_spread_values() -> None:
    histogram = histogram_of(np.linspace(0, 10, 100_001))
    value = METHODS["percentile"](histogram, calibrate(90.0))
    assert value == pytest.approx(9.0, abs=10 / BINS)
    assert METHODS["percentile"](histogram, calibrate(100.0)) == 10.0


def test_memory_does_not_grow_and_no_value_is_lost_as_the_limit_doubles() -> None:
    histogram = histogram_of(np.full(7, 0.75), np.full(5, 2.9), np.full(3, 0.0))
    assert histogram.limit == 3.0  # 0.75 doubled twice
    assert histogram.counts.shape == (BINS,)
    bins = {int(index): int(histogram.counts[index]) for index in histogram.counts.nonzero()[0]}
    assert bins == {0: 3, BINS // 4 - 1: 7, int(2.9 / 3.0 * BINS): 5}


def test_order_of_batches_moves_a_percentile_by_no_more_than_a_bin() -> None:
    small, large = np.linspace(0, 1, 5000), np.linspace(0, 7, 5000)
    one = METHODS["percentile"](histogram_of(small, large), calibrate(95.0))
    other = METHODS["percentile"](histogram_of(large, small), calibrate(95.0))
    assert one == pytest.approx(other, abs=2 * 8 / BINS)


def test_entropy_clips_a_lone_outlier_and_minmax_does_not() -> None:
    rng = np.random.default_rng(35)
    values = np.concatenate((np.abs(rng.normal(0, 1, 200_000)), [100.0]))
    histogram = histogram_of(values)
    assert METHODS["minmax"](histogram, calibrate()) == 100.0
    assert entropy_value(histogram, calibrate()) < 10.0


def test_entropy_keeps_the_range_of_evenly_spread_values() -> None:
    histogram = histogram_of(np.linspace(0, 4, 400_001))
    assert entropy_value(histogram, calibrate()) > 3.9


def test_entropy_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(7)
    histogram = histogram_of(np.abs(rng.laplace(0, 1, 20_000)))
    counts = histogram.counts.astype(float)
    counts[0] = counts[1]
    best = (math.inf, 0)
    for size in range(128, BINS + 1, 16):
        wanted = list(counts[:size])
        wanted[-1] += counts[size:].sum()
        given = [0.0] * size
        for level in range(128):
            start, stop = level * size // 128, (level + 1) * size // 128
            used = [i for i in range(start, stop) if counts[i] > 0]
            for i in used:
                given[i] = counts[start:stop].sum() / len(used)
        divergence = 0.0
        whole, coarse = sum(wanted), sum(given)
        for count, mean in zip(wanted, given, strict=True):
            p = 0.9999 * count / whole + 0.0001 / size
            q = 0.9999 * mean / coarse + 0.0001 / size
            divergence += p * math.log(p / q)
        best = min(best, (divergence, size))
    assert entropy_value(histogram, calibrate()) == pytest.approx(best[1] * histogram.limit / BINS)


def test_mse_weighs_the_clipped_value_against_finer_steps() -> None:
    # One value of 100 among many up to 1: clipping it costs 99^2, but steps of 100 / 127 cost each
    # of the others about a twelfth of 0.79^2 or all of itself.
    values = np.concatenate((np.linspace(0, 1, 10_000), [100.0]))
    assert mse_value(histogram_of(values), calibrate()) > 50.0
    many = np.concatenate((np.linspace(0, 1, 10_000_000), [2.0]))
    assert mse_value(histogram_of(many), calibrate()) < 1.2


def test_mse_agrees_with_rounding_the_values_themselves() -> None:
    values = np.abs(np.random.default_rng(7).laplace(0, 1, 50_000))

    def error(limit: float) -> float:
        levels = np.minimum(np.rint(values / (limit / 127)), 127)
        return float(((values - levels * (limit / 127)) ** 2).mean())

    found = mse_value(histogram_of(values), calibrate())
    best = min(error(limit) for limit in np.linspace(0.05, 1, 200) * values.max())
    assert error(found) < 1.02 * best


@pytest.mark.parametrize("values", [[np.nan, 1.0], [np.inf], []])
def test_values_that_are_not_finite_have_no_range(values: list[float]) -> None:
    with pytest.raises(ValueError, match="no finite range"):
        Histogram().add(np.array(values, np.float32))
