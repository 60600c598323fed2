"""MLflow's tracking side: one run a release, with its parameters, numbers, curves and plain files.

Where MLflow is, is MLflow's own affair (``MLFLOW_TRACKING_URI`` and so on); nothing is set here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from components.release.record import RELEASE_TAG

_PARAMS_A_CALL = 100
_METRICS_A_CALL = 1000
_LONGEST_PARAM = 6000
_PASSWORD = re.compile(r"//[^/@\s]+@")  # user:password in a URL


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file, or a folder's content, and the folder of the run that it goes to."""

    path: Path
    folder: str


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A finished run."""

    run_id: str
    experiment_id: str
    artifact_uri: str


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn MLflow's errors into one line that says where MLflow was looked for.

    Raises:
        ConnectionError: MLflow refused or could not be reached; nothing half-done counts, a retry
            goes on from what is there.
    """
    try:
        yield
    except MlflowException as error:
        line = f"MLflow at {get_tracking_uri()}: {' '.join(str(error).split())}"
        raise ConnectionError(_PASSWORD.sub("//", line)) from None


def find_experiment(name: str) -> str:
    """The id of the experiment called ``name``, which is made when there is none.

    Raises:
        ValueError: it was deleted in MLflow.
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
        raise ValueError(
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
    run = client.create_run(
        experiment_id, run_name=name, tags={**tags, "mlflow.note.content": description}
    )
    run_id, start = run.info.run_id, run.info.start_time
    try:
        logged = [Param(key, value[:_LONGEST_PARAM]) for key, value in params.items()]
        for first in range(0, len(logged), _PARAMS_A_CALL):
            client.log_batch(run_id, params=logged[first : first + _PARAMS_A_CALL])
        numbers = [Metric(key, value, start, 0) for key, value in metrics.items()]
        for line in curve:
            when = start + int(1000 * line.get("seconds", 0.0))
            numbers += [
                Metric(f"train/{key}", value, when, int(line.get("epoch", 0)))
                for key, value in line.items()
                if key not in ("epoch", "seconds")
            ]
        for first in range(0, len(numbers), _METRICS_A_CALL):
            client.log_batch(run_id, metrics=numbers[first : first + _METRICS_A_CALL])
        for artifact in artifacts:
            add_artifact(run_id, artifact)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return _logged(run)


def add_artifact(run_id: str, artifact: Artifact) -> None:
    """Put a file, or what is in a folder, into the run."""
    client = MlflowClient()
    log = client.log_artifacts if artifact.path.is_dir() else client.log_artifact
    log(run_id, str(artifact.path), artifact.folder or None)


def _logged(run: Any) -> LoggedRun:
    return LoggedRun(run.info.run_id, str(run.info.experiment_id), run.info.artifact_uri)
