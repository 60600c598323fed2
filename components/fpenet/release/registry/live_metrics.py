"""Log a training to MLflow while it runs: its curves, and its predictions on a few fixed faces.

A separate thread logs each epoch from a queue, so a slow MLflow does not slow the training. An
error of MLflow ends the logging with a warning; it does not end the training. The MLflow run is
identified by the key of the training: a resumed training continues the same curve.
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
_FACTOR = 3  # a crop of 80 px is shown this many times larger
_PATIENCE_S = 30.0  # longest wait for MLflow at the end of the training


@dataclass(frozen=True, slots=True)
class TrialOf:
    """The trial of a sweep: the name of the sweep, and the settings of the trial.

    The MLflow run of the trial is nested in the run of the sweep.
    """

    sweep: str
    settings: Mapping[str, Any]


@contextmanager
def live_metrics(experiment: str, key: str, trial: TrialOf | None = None) -> Iterator[None]:
    """Log the training inside the ``with`` block to MLflow, after each epoch.

    Args:
        key: of the training; the MLflow run has it as tag ``fpenet.training``.
        trial: the trial of a sweep that this training is, or None.
    """
    ends: queue.Queue[EpochEnd | str] = queue.Queue()
    thread = threading.Thread(target=_log_epochs, args=(ends, experiment, key, trial), daemon=True)
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
            LOGGER.warning("MLflow did not store all epochs of the training in time")


def is_image_epoch(epoch: int) -> bool:
    """Whether images are logged after this epoch: often at first, rarely later.

    >>> [epoch for epoch in range(1, 120) if is_image_epoch(epoch)]
    [1, 2, 3, 5, 10, 20, 30, 50, 100]
    """
    while epoch >= 10 and epoch % 10 == 0:
        epoch //= 10
    return epoch in (1, 2, 3, 5)


def overlay_sheet(end: EpochEnd) -> Image.Image:
    """Up to twelve faces in rows of four: predicted points are filled, labelled ones hollow."""
    indices = np.linspace(0, len(end.images) - 1, min(_FACES, len(end.images))).astype(int)
    side = _FACTOR * end.images.shape[-1]
    rows = -(-len(indices) // _ACROSS)
    sheet = Image.new("RGB", (side * min(_ACROSS, len(indices)), side * rows))
    for position, index in enumerate(indices):
        crop = Image.fromarray(end.images[index, 0]).convert("RGB")
        enlarged = crop.resize((side, side), Image.Resampling.BICUBIC)
        for points, filled in ((end.target_crop, False), (end.points_crop, True)):
            scaled = (points[index].astype(float) + 0.5) * _FACTOR - 0.5
            draw_points(enlarged, scaled, np.full(len(scaled), filled))
        sheet.paste(enlarged, (position % _ACROSS * side, position // _ACROSS * side))
    return sheet


def log_sweep_result(experiment: str, trial: TrialOf, value: float) -> None:
    """Log the best trial of a sweep and its ``value`` to the run of the sweep, and end the run."""
    from fpenet.release.registry import tracking

    try:
        with tracking.mlflow_errors():
            experiment_id = tracking.find_experiment(experiment)
            tracking.end_sweep(experiment_id, trial.sweep, trial.settings, value)
    except (OSError, InputError) as error:
        LOGGER.warning("the sweep was not logged to MLflow: %s", error)


def _log_epochs(
    ends: "queue.Queue[EpochEnd | str]", experiment: str, key: str, trial: TrialOf | None
) -> None:
    """Log each epoch of the queue to MLflow, until the final status of the run arrives."""
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
                    run.log_image(overlay_sheet(end), f"live/epoch_{epoch:04d}.png")
        except Exception as error:  # no error of the logging may end the training
            message = " ".join(str(error).split())[:300]
            LOGGER.warning("the training is no longer logged to MLflow: %s", message)
            return
