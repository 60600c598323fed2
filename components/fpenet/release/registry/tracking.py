"""MLflow's tracking side: one run a release, with its parameters, numbers, curves and plain files.

Where MLflow is, is MLflow's own affair (``MLFLOW_TRACKING_URI`` and so on); nothing is set here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from PIL import Image
from requests import RequestException

from fpenet.core.errors import InputError
from fpenet.provenance.object_store import S3_ERRORS
from fpenet.release.evidence import RELEASE_TAG
from fpenet.release.store.encryption import ENCRYPTION_TAG, PLAIN

TRAINING_TAG = "fpenet.training"
SWEEP_TAG = "fpenet.sweep"
_PARAMS_A_CALL = 100
_METRICS_A_CALL = 1000
_LONGEST_PARAM = 6000
_NOTE = "mlflow.note.content"
_LINK = re.compile(r"\A\[Flow run\]\([^)]*\)\n\n")
_AWAY = (MlflowException, RequestException, *S3_ERRORS)
"""What MLflow and what stores its artifacts raise."""
_PASSWORD = re.compile(r"//[^/@\s]+@")  # user:password in a URL


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file, or a folder's content, and the folder of the run that it goes to."""

    path: Path
    folder: str


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A finished run; ``encryption`` is how its secret files are stored."""

    run_id: str
    experiment_id: str
    artifact_uri: str
    encryption: str


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn MLflow's errors into one line that says where MLflow was looked for.

    Raises:
        ConnectionError: MLflow refused or could not be reached; nothing half-done counts, a retry
            goes on from what is there.
    """
    try:
        yield
    except _AWAY as error:
        line = f"MLflow at {get_tracking_uri()}: {' '.join(str(error).split())}"
        raise ConnectionError(_PASSWORD.sub("//", line)) from None


def find_experiment(name: str) -> str:
    """The id of the experiment called ``name``, which is made when there is none.

    Raises:
        InputError: it was deleted in MLflow.
    """
    client = MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another release made it in the meantime
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise InputError(
            f"register.experiment is {name!r}, which was deleted in MLflow; restore it or give"
            " another name"
        )
    return str(found.experiment_id)


def find_run(experiment_id: str, release: str) -> LoggedRun | None:
    """The finished run of ``release``, if it was logged before."""
    runs = MlflowClient().search_runs(
        [experiment_id],
        f"tags.`{RELEASE_TAG}` = '{release}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return _logged(runs[0]) if runs else None


def log_run(
    experiment_id: str,
    *,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    curve: Sequence[Mapping[str, float]],
    artifacts: Sequence[Artifact],
    description: str,
) -> LoggedRun:
    """Log one release; the run is FINISHED only once everything is there.

    Args:
        curve: numbers of each epoch; ``epoch`` is the step, ``seconds`` the time since the start.
    """
    client = MlflowClient()
    name = f"release-{tags[RELEASE_TAG][:12]}"
    run = client.create_run(experiment_id, run_name=name, tags={**tags, _NOTE: description})
    run_id, start = run.info.run_id, run.info.start_time
    try:
        logged = [Param(key, value[:_LONGEST_PARAM]) for key, value in params.items()]
        for first in range(0, len(logged), _PARAMS_A_CALL):
            client.log_batch(run_id, params=logged[first : first + _PARAMS_A_CALL])
        numbers = [Metric(key, value, start, 0) for key, value in metrics.items()]
        numbers += _curve_metrics(curve, start)
        for first in range(0, len(numbers), _METRICS_A_CALL):
            client.log_batch(run_id, metrics=numbers[first : first + _METRICS_A_CALL])
        for artifact in artifacts:
            add_artifact(run_id, artifact)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return _logged(run)


def _curve_metrics(curve: Iterable[Mapping[str, float]], start: int) -> list[Metric]:
    """The numbers of each epoch at its own time; ``start`` is the run's, in milliseconds."""
    return [
        Metric(
            f"train/{key}",
            value,
            start + int(1000 * line.get("seconds", 0.0)),
            int(line.get("epoch", 0)),
        )
        for line in curve
        for key, value in line.items()
        if key not in ("epoch", "seconds")
    ]


class TrainingRun:
    """The run of a training that goes on: made, or found again by the training's ``key``."""

    def __init__(self, experiment_id: str, key: str) -> None:
        self._client, self._key = MlflowClient(), key
        found = self._client.search_runs(
            [experiment_id], f"tags.`{TRAINING_TAG}` = '{key}'", max_results=1
        )
        if found:
            self._run = found[0]
            self._client.update_run(self._run.info.run_id, status="RUNNING")
        else:
            self._run = self._client.create_run(
                experiment_id, run_name=f"training-{key[:12]}", tags={TRAINING_TAG: key}
            )
        history = self._client.get_metric_history(self._run.info.run_id, "train/loss")
        self._logged = max((metric.step for metric in history), default=0)

    def nest(self, sweep: str, settings: Mapping[str, Any]) -> None:
        """Make it a trial, with these settings, of the sweep's run, which is made if need be."""
        parent = _sweep_run(self._run.info.experiment_id, sweep)
        self._client.set_tag(self._run.info.run_id, MLFLOW_PARENT_RUN_ID, parent)
        self._client.update_run(self._run.info.run_id, name=f"trial-{self._key}")
        params = [Param(key, str(value)) for key, value in settings.items()]
        self._client.log_batch(self._run.info.run_id, params=params)

    def log_curve(self, curve: Sequence[Mapping[str, float]]) -> None:
        """Log the epochs that MLflow does not have yet."""
        fresh = [line for line in curve if line["epoch"] > self._logged]
        numbers = _curve_metrics(fresh, self._run.info.start_time)
        for first in range(0, len(numbers), _METRICS_A_CALL):
            self._client.log_batch(
                self._run.info.run_id, metrics=numbers[first : first + _METRICS_A_CALL]
            )
        self._logged = max([self._logged, *(int(line["epoch"]) for line in fresh)])

    def log_picture(self, picture: Image.Image, path: str) -> None:
        """Put a picture into the run."""
        self._client.log_image(self._run.info.run_id, picture, path)

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self._run.info.run_id, status)


def end_sweep(experiment_id: str, sweep: str, best: Mapping[str, Any], value: float) -> None:
    """Put the best settings, as tags, and their error in crop pixels into the sweep's run."""
    client = MlflowClient()
    run_id = _sweep_run(experiment_id, sweep)
    for key, setting in best.items():
        client.set_tag(run_id, f"best.{key}", str(setting))
    client.log_metric(run_id, "best/val_crop_px", value)
    client.set_terminated(run_id, "FINISHED")


def _sweep_run(experiment_id: str, sweep: str) -> str:
    """The id of the run that the trials of ``sweep`` are nested in."""
    client = MlflowClient()
    found = client.search_runs([experiment_id], f"tags.`{SWEEP_TAG}` = '{sweep}'", max_results=1)
    run = (
        found[0]
        if found
        else client.create_run(experiment_id, run_name=f"sweep-{sweep}", tags={SWEEP_TAG: sweep})
    )
    return str(run.info.run_id)


def add_artifact(run_id: str, artifact: Artifact) -> None:
    """Put a file, or what is in a folder, into the run."""
    client = MlflowClient()
    log = client.log_artifacts if artifact.path.is_dir() else client.log_artifact
    log(run_id, str(artifact.path), artifact.folder or None)


def link_run(run_id: str, tag: str, url: str) -> None:
    """Have a run name a page, as a tag and as a link above its description."""
    client = MlflowClient()
    note = client.get_run(run_id).data.tags.get(_NOTE, "")
    client.set_tag(run_id, tag, url)
    client.set_tag(run_id, _NOTE, f"[Flow run]({url})\n\n{_LINK.sub('', note)}")


def _logged(run: Any) -> LoggedRun:
    encryption = run.data.tags.get(ENCRYPTION_TAG, PLAIN)
    return LoggedRun(
        run.info.run_id, str(run.info.experiment_id), run.info.artifact_uri, encryption
    )
