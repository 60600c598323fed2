"""Ranges of activations from streaming histograms, by four methods.

Input: a network and faces. Does: collects all activations through Polygraphy (without TensorRT) and
counts |value| in a fixed number of bins. The limit of the histogram doubles when a larger value
occurs, so its memory is constant. Output: amax, the value that INT8's level 127 represents.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from fpenet.core.errors import InputError
from fpenet.deploy.onnx.network import float_activations
from fpenet.params import CalibrateParams, CalibrationMethod

BINS = 2048
LEVELS = 128
"""Number of magnitudes of symmetric INT8."""
SMOOTHED = 1e-4
"""Share of a histogram's mass that is distributed evenly before two histograms are compared."""


@dataclass(slots=True)
class Histogram:
    """Counts of |value| over [0, limit]; the last bin includes the limit.

    Attributes:
        limit: upper edge of the last bin; 0 while all values are 0.
        largest: the largest |value|.
        counts: (BINS,) int64.
    """

    limit: float = 0.0
    largest: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Count ``values``.

        Raises:
            InputError: there are no values, or a value is not finite.
        """
        magnitude = np.abs(values.reshape(-1)).astype(np.float32, copy=False)
        largest = float(magnitude.max()) if magnitude.size else float("nan")
        if not np.isfinite(largest):
            raise InputError(f"{magnitude.size} values, the largest {largest}: no finite range")
        self.largest = max(self.largest, largest)
        if largest > self.limit:
            self._widen(largest)
        if self.limit == 0.0:
            self.counts[0] += magnitude.size
            return
        bins = np.minimum((magnitude * (BINS / self.limit)).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    def _widen(self, largest: float) -> None:
        """Double the limit until ``largest`` fits; each time pairs of bins are merged."""
        if self.limit == 0.0:
            self.limit = largest
            return
        while self.limit < largest:
            self.limit *= 2.0
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate((pairs, np.zeros(BINS // 2, np.int64)))


def largest_value(histogram: Histogram, calibrate: CalibrateParams) -> float:
    """The largest |value|."""
    return histogram.largest


def percentile_value(histogram: Histogram, calibrate: CalibrateParams) -> float:
    """The upper edge of the bin at which ``calibrate.percentile`` % of all values are reached."""
    below = np.cumsum(histogram.counts)
    index = int(np.searchsorted(below, below[-1] * (calibrate.percentile / 100.0)))
    return min((index + 1) * histogram.limit / BINS, histogram.largest)


def entropy_value(histogram: Histogram, calibrate: CalibrateParams) -> float:
    """The clipping limit with the least KL divergence of the 128-level from the clipped histogram.

    Migacz, "8-bit inference with TensorRT", GTC 2017. The first bin, the zeros of ReLU, is ignored.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] = counts[1]
    outside = np.concatenate((np.cumsum(counts[::-1])[::-1], [0.0]))
    best, best_divergence = BINS, np.inf
    for size in range(LEVELS, BINS + 1, LEVELS // 8):
        inside = counts[:size]
        clipped = inside.copy()
        clipped[-1] += outside[size]
        edges = np.arange(LEVELS) * size // LEVELS
        used = np.add.reduceat((inside > 0).astype(np.float64), edges)
        mean = np.divide(np.add.reduceat(inside, edges), used, out=np.zeros(LEVELS), where=used > 0)
        coarse = np.where(inside > 0, np.repeat(mean, np.diff(np.append(edges, size))), 0.0)
        divergence = _divergence(clipped, coarse)
        if divergence < best_divergence:
            best, best_divergence = size, divergence
    return min(best * histogram.limit / BINS, histogram.largest)


def mse_value(histogram: Histogram, calibrate: CalibrateParams) -> float:
    """The clipping limit with the least mean squared distance of the levels to the values."""
    width = histogram.limit / BINS
    values = (np.arange(BINS) + 0.5) * width
    best, least = histogram.largest, np.inf
    for size in range(LEVELS, BINS + 1, LEVELS // 8):
        step = size * width / (LEVELS - 1)
        levels = np.minimum(np.rint(values / step), LEVELS - 1)
        error = float((histogram.counts * (values - levels * step) ** 2).sum())
        if error < least:
            best, least = size * width, error
    return min(best, histogram.largest)


def _divergence(expected: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """KL divergence of two histograms, both smoothed by ``SMOOTHED``.

    Without smoothing a single outlier gives every clipping limit an infinite divergence.
    """
    if values.sum() == 0.0:
        return float("inf")
    p, q = (
        (1.0 - SMOOTHED) * counts / counts.sum() + SMOOTHED / len(counts)
        for counts in (expected, values)
    )
    return float((p * np.log(p / q)).sum())


def collect_histograms(
    model: ModelProto, batches: Iterable[Mapping[str, NDArray[np.float32]]]
) -> dict[str, Histogram]:
    """A histogram of every float tensor of the network over all ``batches``.

    Raises:
        InputError: ``batches`` is empty, or a tensor has a value that is not finite.
    """
    from polygraphy.backend.onnx import BytesFromOnnx, modify_outputs
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.constants import MARK_ALL
    from polygraphy.logger import G_LOGGER

    histograms = {name: Histogram() for name in float_activations(model)}
    copy = ModelProto()
    copy.CopyFrom(model)
    count = 0
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        marked = modify_outputs(copy, outputs=MARK_ALL)
        with OnnxrtRunner(SessionFromOnnx(BytesFromOnnx(marked))) as runner:
            for batch in batches:
                tensors = dict(runner.infer(dict(batch))) | dict(batch)
                for name, histogram in histograms.items():
                    try:
                        histogram.add(tensors[name])
                    except InputError as error:
                        raise InputError(f"tensor {name}, batch {count + 1}: {error}") from None
                count += 1
    if count == 0:
        raise InputError(
            "calibration has no batch: there is no face, or the batches are a generator that was"
            " used before"
        )
    return histograms


def ranges_of(histograms: Mapping[str, Histogram], calibrate: CalibrateParams) -> dict[str, float]:
    """Tensor -> amax by ``calibrate.method``."""
    method = METHODS[calibrate.method]
    return {name: method(histogram, calibrate) for name, histogram in histograms.items()}


METHODS: dict[CalibrationMethod, Callable[[Histogram, CalibrateParams], float]] = {
    "minmax": largest_value,
    "percentile": percentile_value,
    "entropy": entropy_value,
    "mse": mse_value,
}
