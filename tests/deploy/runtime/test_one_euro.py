"""The one-euro filter against its equations, by hand and by a slow loop."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fpenet.deploy.runtime.one_euro import OneEuro, Smoothing

STEP = 1 / (2 * math.pi)  # with a cutoff of 1 Hz the share of the new value is then a half


def slow(
    points: NDArray[np.float64], times: list[float], side: float, how: Smoothing
) -> NDArray[np.float64]:
    """(T, K, 2) each point of each frame by itself, as the paper writes it."""
    out = np.empty_like(points)
    for k in range(points.shape[1]):
        smooth, speed = list(points[0, k]), 0.0
        out[0, k] = smooth
        for t in range(1, len(points)):
            step = times[t] - times[t - 1]
            moved = math.dist(points[t, k], points[t - 1, k]) / side / step
            share = 1 / (1 + 1 / (2 * math.pi * how.speed_cutoff_hz) / step)
            speed = share * moved + (1 - share) * speed
            cutoff = how.min_cutoff_hz + how.beta * speed
            share = 1 / (1 + 1 / (2 * math.pi * cutoff) / step)
            smooth = [share * points[t, k, i] + (1 - share) * smooth[i] for i in range(2)]
            out[t, k] = smooth
    return out


def run(
    points: NDArray[np.float64], times: list[float], side: float, how: Smoothing
) -> NDArray[np.float64]:
    one = OneEuro(how)
    return np.stack([one(frame, at, side) for frame, at in zip(points, times, strict=True)])


def test_half_of_a_step_by_hand() -> None:
    points = np.array([[[10.0, 20.0]], [[14.0, 20.0]], [[14.0, 20.0]]])
    found = run(points, [0.0, STEP, 2 * STEP], 100.0, Smoothing(1.0, 0.0))
    assert found[:, 0, 0] == pytest.approx([10.0, 12.0, 13.0])
    assert found[:, 0, 1] == pytest.approx([20.0, 20.0, 20.0])


def test_speed_opens_the_filter_by_hand() -> None:
    # 4 px of a 40 px face in STEP: speed 0.1 / STEP, halved by its own filter; with beta STEP * 20
    # the cutoff is 1 + 1 = 2 Hz, and the share of the new value 2/3.
    points = np.array([[[0.0, 0.0]], [[4.0, 0.0]]])
    found = run(points, [0.0, STEP], 40.0, Smoothing(1.0, STEP * 20))
    assert found[1, 0] == pytest.approx([4 * 2 / 3, 0.0])


def test_it_is_the_slow_loop_at_uneven_times() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(100, 20, (12, 5, 2))
    times = np.cumsum(rng.uniform(0.01, 0.1, 12)).tolist()
    how = Smoothing(1.5, 8.0, 2.0)
    assert np.allclose(run(points, times, 90.0, how), slow(points, times, 90.0, how))


def test_a_face_twice_as_large_is_smoothed_alike() -> None:
    points = np.random.default_rng(1).normal(50, 5, (8, 3, 2))
    times = [t / 25 for t in range(8)]
    small, large = (run(s * points, times, s * 60, Smoothing()) for s in (1.0, 2.0))
    assert np.allclose(2 * small, large)


def test_still_points_stop_trembling_and_moving_ones_lag_little() -> None:
    rng = np.random.default_rng(2)
    times = [t / 25 for t in range(100)]
    noise = rng.normal(0, 0.5, (100, 68, 2))
    still = run(noise, times, 150.0, Smoothing())[20:]
    assert still.std() < 0.6 * noise.std()
    path = np.linspace(0, 300, 100)[:, None, None] * np.ones((1, 68, 2))  # half a face a second
    lag = np.abs(run(path, times, 150.0, Smoothing()) - path)[20:]
    only_low_pass = np.abs(run(path, times, 150.0, Smoothing(0.5, 0.0)) - path)[20:]
    assert lag.max() < 4.0 < 10.0 < only_low_pass.min()


def test_time_must_go_on() -> None:
    one = OneEuro(Smoothing())
    one(np.zeros((1, 2)), 1.0, 10.0)
    with pytest.raises(ValueError, match=r"a frame at 1\.0 s comes after one at 1\.0 s"):
        one(np.zeros((1, 2)), 1.0, 10.0)
