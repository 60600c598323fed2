"""The stages of STAGES as Prefect tasks.

The finished folders below ``work/`` are the only cache; Prefect's cache is off. The progress of a
stage is a progress artifact of its task run, which Prefect's UI and ``watch`` show.
"""

import contextvars
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Task, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.blocks.system import Secret
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.notify import flow_run_page, run_page, version_page
from fpenet.cli.environment import authorization, has_mlflow
from fpenet.core.errors import BAD_INPUT
from fpenet.core.progress import LOGGER
from fpenet.data.sources.s3_labels import local_labels
from fpenet.execution import cached_folder, run_stage
from fpenet.params import Params
from fpenet.provenance.encryption import ModelKey, key_in, model_key_context
from fpenet.provenance.manifest import MANIFEST
from fpenet.release.registry.local_models import local_weights
from fpenet.release.registry.registered import is_registered
from fpenet.release.release_manifest import ReleaseManifest
from fpenet.stages import STAGES

WORK = Path("work")
MODEL_KEY_BLOCK = "fpenet-model-key"
"""Name of the Prefect Secret block with the model key."""
SECONDS_BETWEEN_UPDATES = 1.0
SERVICE_DELAYS = (2.0, 10.0, 60.0)
"""Seconds before each retry of the stage that uses MLflow; MLflow's client retries as well."""


def may_retry(_task: Any, _task_run: Any, state: State[Any]) -> bool:
    """Whether a failed task is retried: not after bad input, but after a fault of the machine.

    The exception is the state's ``data``. ``state.result()`` starts a thread, and without memory
    Python can wait for ever for that thread to start, in a run that still sends heartbeats.
    """
    return not isinstance(state.data, BAD_INPUT)


def stage_task(name: str) -> Task[..., str]:
    """The stage ``name`` as a task: its arguments are the finished folders and the params."""

    def run(folders: Mapping[str, str], params: Params) -> str:
        inputs = {stage: Path(folders[stage]) for stage in STAGES[name].inputs}
        out_dir = cached_folder(WORK, name, inputs, params)
        if name == "register" and is_still_registered(out_dir, params):
            return out_dir.as_posix()
        key = model_key() if name == "register" and params.register_.encrypt else None
        logged = live_metrics_of(name, out_dir, params)
        with progress_artifact(name), logged, model_key_context(key):
            run_stage(name, out_dir, inputs, params)
        return out_dir.as_posix()

    delays = SERVICE_DELAYS if name == "register" else (2.0,)
    return task(
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays),
        retry_delay_seconds=list(delays),
        retry_condition_fn=may_retry,
    )(run)


def is_still_registered(out_dir: Path, params: Params) -> bool:
    """Whether ``out_dir`` exists and the MLflow server still has the release as it says.

    An encrypted release is registered again, which compares the model key.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if params.register_.encrypt or not address.startswith("http") or not out_dir.exists():
        return False
    return is_registered(out_dir, address, authorization(os.environ))


def live_metrics_of(name: str, out_dir: Path, params: Params) -> AbstractContextManager[None]:
    """Log the stage train to MLflow while it runs; the name of its folder is its key."""
    if name != "train" or not has_mlflow(os.environ) or (out_dir / MANIFEST).exists():
        return nullcontext()
    from fpenet.release.registry.live_metrics import live_metrics

    return live_metrics(params.register_.experiment, out_dir.name)


@task(name="synth", task_run_name="synth", cache_policy=NO_CACHE, persist_result=False)
def render_labels(params: Params, labels: Path) -> None:
    """Render the embedded data set into the folder ``labels``."""
    with progress_artifact("synth"):
        run_stage("synth", labels, {}, params)


@task(
    name="fetch",
    task_run_name="fetch",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=1,
    retry_delay_seconds=2,
    retry_condition_fn=may_retry,
)
def fetch_labels(params: Params) -> Params:
    """Download labels from S3; returns the params with the local folder."""
    with progress_artifact("fetch"):
        return local_labels(params, WORK / "labels")


@task(
    name="weights",
    task_run_name="weights",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=1,
    retry_delay_seconds=2,
    retry_condition_fn=may_retry,
)
def fetch_weights(params: Params) -> Params:
    """Download models from the registry; returns the params with the local folders."""
    with model_key_context(model_key()):
        return local_weights(params, WORK / "weights", has_registry=has_mlflow(os.environ))


def model_key() -> ModelKey | None:
    """The model key from the environment or the Secret block; None if neither is set.

    Raises:
        InputError: the key is too short.
    """
    key = key_in(os.environ)
    if key is not None:
        return key
    try:
        secret = Secret.load(MODEL_KEY_BLOCK)
    except ValueError:  # the block does not exist
        return None
    assert isinstance(secret, Secret)
    return ModelKey(str(secret.get()))


def link_with_mlflow(release: ReleaseManifest, is_new: bool) -> None:
    """Link this flow run to MLflow, and MLflow to this flow run.

    If MLflow cannot be reached, a warning is logged.

    Args:
        is_new: this flow run registered the release; otherwise MLflow has the link of the run that
            did.
    """
    page = version_page(release.model, release.version)
    if page is None:
        return  # MLflow is not a server, so it has no pages
    create_link_artifact(page, key="mlflow", link_text=f"{release.name} in MLflow")
    run = run_page(release.experiment_id, release.run_id)
    assert run is not None
    create_link_artifact(run, key="mlflow-run", link_text="the run in MLflow")
    if not is_new:
        return
    from fpenet.release.registry.versions import link_release

    try:
        link_release(release, str(flow_run_page()))
    except ConnectionError as error:
        get_run_logger().warning("the link to this run is missing in MLflow: %s", error)


@contextmanager
def progress_artifact(name: str) -> Iterator[None]:
    """Write the progress records of a stage to an artifact of the current task run."""
    handler = _ArtifactHandler(f"progress-{name}")
    level, propagate = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False  # so that the log has no line per second
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate


class _ArtifactHandler(logging.Handler):
    """Updates one artifact: at the first record, then at most once per second, and at the last."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self._artifact: UUID | None = None
        self._next = 0.0
        self._context = contextvars.copy_context()  # a stage may report from another thread

    def emit(self, record: logging.LogRecord) -> None:
        done, total = vars(record)["done"], vars(record)["total"]
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + SECONDS_BETWEEN_UPDATES
        percent = min(100.0, 100.0 * done / total) if total else 0.0
        try:
            self._context.copy().run(self._write, percent, record.getMessage())
        except Exception:  # an error of the server must not end a training
            self.handleError(record)

    def _write(self, percent: float, text: str) -> None:
        if self._artifact is None:
            created = create_progress_artifact(percent, key=self._key, description=text)
            assert isinstance(created, UUID)
            self._artifact = created
        else:
            update_progress_artifact(self._artifact, percent, description=text)


STAGE_TASKS: dict[str, Task[..., str]] = {
    name: stage_task(name) for name, stage in STAGES.items() if stage.sealed
}
