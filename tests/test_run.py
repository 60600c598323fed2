"""What a run of the tests promises: every test ends."""

import signal

import pytest


def test_a_test_that_waits_forever_is_ended() -> None:
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 300


@pytest.mark.slow
def test_a_slow_test_has_half_an_hour() -> None:
    assert 300 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1800
