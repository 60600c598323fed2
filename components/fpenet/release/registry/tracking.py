"""MLflow tracking: one run per release, with its parameters, metrics, curves and files.

The address of the server comes from MLflow's variables (``MLFLOW_TRACKING_URI`` and others).
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
"""The errors of MLflow and of its artifact store."""
_PASSWORD = re.compile(r"//[^/@\s]+@")  # user:password in a URL


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file, or the content of a folder, and its folder in the run."""

    path: Path
    folder: str


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A finished run; ``encryption`` is the cipher and key id of its weights, or ``none``."""

    run_id: str
    experiment_id: str
    artifact_uri: str
    encryption: str


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn the errors of MLflow into a ConnectionError of one line with the server's address.

    Raises:
        ConnectionError: MLflow cannot be reached or refuses a request. An unfinished run is not
            used; a retry continues after the last finished step.
    """
    try:
        yield
    except _AWAY as error:
        line = f"MLflow at {get_tracking_uri()}: {' '.join(str(error).split())}"
        raise ConnectionError(_PASSWORD.sub("//", line)) from None


def find_experiment(name: str) -> str:
    """The id of the experiment ``name``; it is created if it does not exist.

    Raises:
        InputError: the experiment was deleted in MLflow.
    """
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another release created it in the meantime
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"register.experiment is {name!r}, which was deleted in MLflow; restore it or use"
            " another name"
        )
    return str(experiment.experiment_id)


def find_run(experiment_id: str, release_digest: str) -> LoggedRun | None:
    """The finished run of a release; None if there is none."""
    runs = MlflowClient().search_runs(
        [experiment_id],
        f"tags.`{RELEASE_TAG}` = '{release_digest}' and attributes.status = 'FINISHED'",
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
    """Log one release; the run becomes FINISHED only after everything is logged.

    Args:
        curve: metrics of each epoch; ``epoch`` is the step, ``seconds`` the time since the start.
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
    """The metrics of each epoch with its time; ``start`` is the start of the run, in ms."""
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
    """The MLflow run of a training; a resumed training, which has the same ``key``, reuses it."""

    def __init__(self, experiment_id: str, key: str) -> None:
        self._client, self._key = MlflowClient(), key
        runs = self._client.search_runs(
            [experiment_id], f"tags.`{TRAINING_TAG}` = '{key}'", max_results=1
        )
        if runs:
            self._run = runs[0]
            self._client.update_run(self._run.info.run_id, status="RUNNING")
        else:
            self._run = self._client.create_run(
                experiment_id, run_name=f"training-{key[:12]}", tags={TRAINING_TAG: key}
            )
        history = self._client.get_metric_history(self._run.info.run_id, "train/loss")
        self._logged = max((metric.step for metric in history), default=0)

    def nest(self, sweep: str, settings: Mapping[str, Any]) -> None:
        """Nest the run in the run of a sweep, with these settings as parameters."""
        parent = _sweep_run(self._run.info.experiment_id, sweep)
        self._client.set_tag(self._run.info.run_id, MLFLOW_PARENT_RUN_ID, parent)
        self._client.update_run(self._run.info.run_id, name=f"trial-{self._key}")
        params = [Param(key, str(value)) for key, value in settings.items()]
        self._client.log_batch(self._run.info.run_id, params=params)

    def log_curve(self, curve: Sequence[Mapping[str, float]]) -> None:
        """Log the epochs that are not logged yet."""
        fresh = [line for line in curve if line["epoch"] > self._logged]
        numbers = _curve_metrics(fresh, self._run.info.start_time)
        for first in range(0, len(numbers), _METRICS_A_CALL):
            self._client.log_batch(
                self._run.info.run_id, metrics=numbers[first : first + _METRICS_A_CALL]
            )
        self._logged = max([self._logged, *(int(line["epoch"]) for line in fresh)])

    def log_image(self, image: Image.Image, path: str) -> None:
        """Log an image to the run."""
        self._client.log_image(self._run.info.run_id, image, path)

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self._run.info.run_id, status)


def end_sweep(experiment_id: str, sweep: str, best: Mapping[str, Any], value: float) -> None:
    """Log the best settings, as tags, and their error in crop pixels; end the sweep's run."""
    client = MlflowClient()
    run_id = _sweep_run(experiment_id, sweep)
    for key, setting in best.items():
        client.set_tag(run_id, f"best.{key}", str(setting))
    client.log_metric(run_id, "best/val_crop_px", value)
    client.set_terminated(run_id, "FINISHED")


def _sweep_run(experiment_id: str, sweep: str) -> str:
    """The id of the parent run of the trials of ``sweep``; it is created if it does not exist."""
    client = MlflowClient()
    runs = client.search_runs([experiment_id], f"tags.`{SWEEP_TAG}` = '{sweep}'", max_results=1)
    run = (
        runs[0]
        if runs
        else client.create_run(experiment_id, run_name=f"sweep-{sweep}", tags={SWEEP_TAG: sweep})
    )
    return str(run.info.run_id)


def add_artifact(run_id: str, artifact: Artifact) -> None:
    """Store a file, or the content of a folder, in the run."""
    client = MlflowClient()
    log = client.log_artifacts if artifact.path.is_dir() else client.log_artifact
    log(run_id, str(artifact.path), artifact.folder or None)


def link_run(run_id: str, tag: str, url: str) -> None:
    """Add the URL of a page to a run: as a tag, and as a link at the top of its description."""
    client = MlflowClient()
    note = client.get_run(run_id).data.tags.get(_NOTE, "")
    client.set_tag(run_id, tag, url)
    client.set_tag(run_id, _NOTE, f"[Flow run]({url})\n\n{_LINK.sub('', note)}")


def _logged(run: Any) -> LoggedRun:
    encryption = run.data.tags.get(ENCRYPTION_TAG, PLAIN)
    return LoggedRun(
        run.info.run_id, str(run.info.experiment_id), run.info.artifact_uri, encryption
    )
