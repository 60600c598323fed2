"""Reproducible random numbers from raw PCG64 words, whose stream NumPy guarantees (NEP 19).

The distributions of ``np.random.Generator`` may change between NumPy versions, so this package
does not use them.
"""

import numpy as np
from numpy.random import PCG64, SeedSequence
from numpy.typing import NDArray

from synthface.spec import Floats


def uniforms(count: int, *seed: int) -> Floats:
    """(count,) float in [0, 1), multiples of 2**-53, from the words of ``seed``."""
    raw = PCG64(SeedSequence(seed)).random_raw(count)
    fractions: Floats = (raw >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return fractions


def noise_bytes(count: int, *seed: int) -> NDArray[np.uint8]:
    """(count,) uint8, each value equally likely, from the words of ``seed``."""
    raw = PCG64(SeedSequence(seed)).random_raw((count + 7) // 8)
    return raw.astype("<u8").view(np.uint8)[:count]


class SeededRng:
    """A sequence of random numbers from one seed."""

    def __init__(self, *seed: int) -> None:
        self._bits = PCG64(SeedSequence(seed))

    def between(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((self._bits.random_raw() >> 11) / float(1 << 53))

    def bernoulli(self, probability: float) -> bool:
        """True with ``probability``."""
        return self.between(0.0, 1.0) < probability

    def index(self, count: int) -> int:
        """An integer in 0..count-1."""
        return min(int(self.between(0.0, float(count))), count - 1)
