"""A training as MLflow shows it while it runs: curves, and the same few faces as they come right.

Each epoch goes through a queue to a thread of its own, so that a slow MLflow does not slow the
training, and one that is away ends the view with a warning, never the training. The run is found
again by the training's key: one that was killed goes on where its curve ended.
"""

import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fpenet.core.errors import InputError, Pruned
from fpenet.core.progress import EpochEnd, observed_epochs
from fpenet.data.overlay import draw_points

LOGGER = logging.getLogger(__name__)
_FACES = 12
_ACROSS = 4
_FACTOR = 3  # a crop of 80 px is drawn so many times larger
_PATIENCE_S = 30.0  # with what MLflow has still to be told at the end


@dataclass(frozen=True, slots=True)
class TrialOf:
    """A training as a trial: the sweep's name, whose run it is nested in, and what is tried."""

    sweep: str
    settings: Mapping[str, Any]


@contextmanager
def live_metrics(experiment: str, key: str, trial: TrialOf | None = None) -> Iterator[None]:
    """Log the training that runs meanwhile to MLflow, after each epoch.

    Args:
        key: of the training; its run has the tag ``fpenet.training``.
        trial: what it is a trial of.
    """
    ends: queue.Queue[EpochEnd | str] = queue.Queue()
    thread = threading.Thread(target=_tell, args=(ends, experiment, key, trial), daemon=True)
    thread.start()
    status = "KILLED"
    try:
        with observed_epochs(ends.put):
            yield
        status = "FINISHED"
    except Pruned:
        raise
    except Exception:
        status = "FAILED"
        raise
    finally:
        ends.put(status)
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            LOGGER.warning("MLflow has not taken all of the live view of the training in time")


def is_image_epoch(epoch: int) -> bool:
    """1, 2, 3, 5, 10, 20, 30, 50, 100, ...: often while much changes.

    >>> [epoch for epoch in range(1, 120) if is_image_epoch(epoch)]
    [1, 2, 3, 5, 10, 20, 30, 50, 100]
    """
    while epoch >= 10 and epoch % 10 == 0:
        epoch //= 10
    return epoch in (1, 2, 3, 5)


def overlay_sheet(end: EpochEnd) -> Image.Image:
    """Some watched faces, predicted points filled and labelled ones hollow, in rows of four."""
    chosen = np.linspace(0, len(end.images) - 1, min(_FACES, len(end.images))).astype(int)
    side = _FACTOR * end.images.shape[-1]
    rows = -(-len(chosen) // _ACROSS)
    sheet = Image.new("RGB", (side * min(_ACROSS, len(chosen)), side * rows))
    for place, index in enumerate(chosen):
        crop = Image.fromarray(end.images[index, 0]).convert("RGB")
        picture = crop.resize((side, side), Image.Resampling.BICUBIC)
        for points, filled in ((end.target_crop, False), (end.points_crop, True)):
            drawn = (points[index].astype(float) + 0.5) * _FACTOR - 0.5
            draw_points(picture, drawn, np.full(len(drawn), filled))
        sheet.paste(picture, (place % _ACROSS * side, place // _ACROSS * side))
    return sheet


def log_sweep_result(experiment: str, trial: TrialOf, value: float) -> None:
    """Put what was best, and its ``value``, into the sweep's own run, and end it."""
    from fpenet.release.registry import tracking

    try:
        with tracking.mlflow_errors():
            experiment_id = tracking.find_experiment(experiment)
            tracking.end_sweep(experiment_id, trial.sweep, trial.settings, value)
    except (OSError, InputError) as error:
        LOGGER.warning("the sweep is not in MLflow: %s", error)


def _tell(
    ends: "queue.Queue[EpochEnd | str]", experiment: str, key: str, trial: TrialOf | None
) -> None:
    """Tell MLflow of each end that comes, until a status does."""
    from fpenet.release.registry import tracking

    run: tracking.TrainingRun | None = None
    while True:
        end = ends.get()
        try:
            with tracking.mlflow_errors():
                if isinstance(end, str):
                    if run is not None:
                        run.close(end)
                    return
                if run is None:
                    run = tracking.TrainingRun(tracking.find_experiment(experiment), key)
                    if trial is not None:
                        run.nest(trial.sweep, trial.settings)
                run.log_curve(end.curve)
                epoch = int(end.curve[-1]["epoch"])
                if len(end.images) and is_image_epoch(epoch):
                    run.log_picture(overlay_sheet(end), f"live/epoch_{epoch:04d}.png")
        except Exception as error:  # whatever it is, the training must not end of it
            LOGGER.warning("no live view of the training: %s", " ".join(str(error).split())[:300])
            return
