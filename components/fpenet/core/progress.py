"""Progress of a stage: structured log records, and observers of the end of each training epoch.

The CLI and the flows display the records. At the end of an epoch each observer gets the metrics and
the predicted points. Observers are MLflow's live metrics, and a sweep, which may stop the training.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Metrics and predictions after one training epoch.

    Attributes:
        curve: the metrics of every epoch so far; the last entry is this epoch.
        images: (N, 1, 80, 80) uint8, the same N sample faces in every epoch; N may be 0.
        points_crop: (N, K, 2) predicted, crop pixels.
        target_crop: (N, K, 2) labelled, crop pixels, NaN where unlabelled.
    """

    curve: Sequence[Mapping[str, float]]
    images: NDArray[np.uint8]
    points_crop: NDArray[np.float32]
    target_crop: NDArray[np.float32]


EpochObserver = Callable[[EpochEnd], None]
_OBSERVERS: ContextVar[tuple[EpochObserver, ...]] = ContextVar("observers", default=())


def report(done: int, total: int, unit: str, **metrics: float) -> None:
    """Log that ``done`` of ``total`` ``unit`` are finished, with the current ``metrics``.

    The record carries ``done``, ``total``, ``unit`` and ``metrics`` as attributes.
    """
    LOGGER.info(
        "%d/%d %s%s",
        done,
        total,
        unit,
        "".join(f" {name}={value:.4g}" for name, value in metrics.items()),
        extra={"done": done, "total": total, "unit": unit, "metrics": metrics},
    )


def notify_epoch(end: EpochEnd) -> None:
    """Call the observers of this thread; an exception in one of them ends the training."""
    for observer in _OBSERVERS.get():
        observer(end)


@contextmanager
def observed_epochs(observer: EpochObserver) -> Iterator[None]:
    """Call ``observer`` at the end of each epoch in this thread while the context is open."""
    token = _OBSERVERS.set((*_OBSERVERS.get(), observer))
    try:
        yield
    finally:
        _OBSERVERS.reset(token)
