"""How a stage tells how far it is: structured log records, and the end of each training epoch.

A record is what the CLI and the flows draw. The end of an epoch goes, with the points of that
moment, to whoever watches: MLflow's live view, a sweep that may stop the training.
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
    """What a training says after an epoch, of the faces that it watches.

    Attributes:
        curve: the numbers of every epoch so far, the last one being this epoch's.
        images: (N, 1, 80, 80) uint8, the same faces after every epoch; N may be 0.
        points_crop: (N, K, 2) predicted, crop pixels.
        target_crop: (N, K, 2) labelled, crop pixels, NaN where unlabelled.
    """

    curve: Sequence[Mapping[str, float]]
    images: NDArray[np.uint8]
    points_crop: NDArray[np.float32]
    target_crop: NDArray[np.float32]


EpochObserver = Callable[[EpochEnd], None]
_WATCHES: ContextVar[tuple[EpochObserver, ...]] = ContextVar("watches", default=())


def report(done: int, total: int, unit: str, **metrics: float) -> None:
    """Log that ``done`` of ``total`` ``unit`` are finished, with the ``metrics`` of this moment.

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
    """Tell those that watch; what one of them raises ends the training."""
    for watch in _WATCHES.get():
        watch(end)


@contextmanager
def observed_epochs(watch: EpochObserver) -> Iterator[None]:
    """Have ``watch`` told of the epochs that end in this thread meanwhile."""
    token = _WATCHES.set((*_WATCHES.get(), watch))
    try:
        yield
    finally:
        _WATCHES.reset(token)
