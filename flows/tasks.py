"""One line a stage: the rows of STAGES as Prefect tasks.

A finished folder below ``work/`` is the only cache, so Prefect's own is off. What a stage reports
of its progress becomes a progress artifact of the task run, which the UI and ``watch`` show.
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
from fpenet.cli.environment import has_mlflow
from fpenet.core.errors import BAD_INPUT
from fpenet.core.progress import LOGGER
from fpenet.data.sources.s3_labels import local_labels
from fpenet.execution import cached_folder, run_stage
from fpenet.params import Params
from fpenet.provenance.encryption import ModelKey, key_in, model_key_context
from fpenet.release.registry.live_metrics import live_metrics
from fpenet.release.registry.local_models import local_weights
from fpenet.release.registry.versions import link_release
from fpenet.release.release_manifest import ReleaseManifest
from fpenet.stages import STAGES

WORK = Path("work")
MODEL_KEY_BLOCK = "fpenet-model-key"
"""Prefect Secret block with the model key."""
SECONDS_BETWEEN_UPDATES = 1.0
SERVICE_DELAYS = (2.0, 10.0, 60.0)
"""Seconds before another try of the stage that needs MLflow, whose client retries by itself too."""


def worth_another_try(_task: Any, _task_run: Any, state: State[Any]) -> bool:
    """Bad input stays bad; anything else may have been the disk, the network or the memory.

    The exception is the state's ``data``. ``state.result()`` starts a thread, and where memory is
    short Python can wait for ever for that thread to start, in a run that still sends heartbeats.
    """
    return not isinstance(state.data, BAD_INPUT)


def stage_task(name: str) -> Task[..., str]:
    """The stage ``name`` as a task: finished folders and params in, its own folder out."""

    def run(folders: Mapping[str, str], params: Params) -> str:
        inputs = {stage: Path(folders[stage]) for stage in STAGES[name].inputs}
        out_dir = cached_folder(WORK, name, inputs, params)
        key = model_key() if name == "register" and params.register_.encrypt else None
        with progress_artifact(name), shown(name, out_dir, params), model_key_context(key):
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
        retry_condition_fn=worth_another_try,
    )(run)


def shown(name: str, out_dir: Path, params: Params) -> AbstractContextManager[None]:
    """MLflow's live view of the stage train, whose folder is named by its key."""
    if name != "train" or not has_mlflow(os.environ):
        return nullcontext()
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
    retry_condition_fn=worth_another_try,
)
def fetch_labels(params: Params) -> Params:
    """Bring labels that lie on S3 here; the params with the folder in their place."""
    with progress_artifact("fetch"):
        return local_labels(params, WORK / "labels")


@task(
    name="weights",
    task_run_name="weights",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=1,
    retry_delay_seconds=2,
    retry_condition_fn=worth_another_try,
)
def fetch_weights(params: Params) -> Params:
    """Bring weights out of the model registry here; the params with the folders in their place."""
    with model_key_context(model_key()):
        return local_weights(params, WORK / "weights", has_registry=has_mlflow(os.environ))


def model_key() -> ModelKey | None:
    """The key that the worker's environment or the block holds; None where neither does.

    Raises:
        InputError: it is too short.
    """
    key = key_in(os.environ)
    if key is not None:
        return key
    try:
        secret = Secret.load(MODEL_KEY_BLOCK)
    except ValueError:  # there is no such block
        return None
    assert isinstance(secret, Secret)
    return ModelKey(str(secret.get()))


def link_with_mlflow(release: ReleaseManifest) -> None:
    """Links from this flow run to MLflow, and back; a MLflow that is away costs a warning."""
    page = version_page(release.model, release.version)
    if page is None:
        return  # there is no server to look at
    create_link_artifact(page, key="mlflow", link_text=f"{release.name} in MLflow")
    run = run_page(release.experiment_id, release.run_id)
    assert run is not None
    create_link_artifact(run, key="mlflow-run", link_text="the run in MLflow")
    try:
        link_release(release, str(flow_run_page()))
    except ConnectionError as error:
        get_run_logger().warning("MLflow has no link to this run: %s", error)


@contextmanager
def progress_artifact(name: str) -> Iterator[None]:
    """Turn the progress records of a stage into one artifact of the current task run."""
    handler = _ArtifactHandler(f"progress-{name}")
    level, propagate = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False  # an artifact, not a line of the log a second
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate


class _ArtifactHandler(logging.Handler):
    """Writes one artifact: at the first record, then at most once a second, and at the last."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self._artifact: UUID | None = None
        self._next = 0.0
        self._context = contextvars.copy_context()  # a stage may report from a thread of its own

    def emit(self, record: logging.LogRecord) -> None:
        done, total = vars(record)["done"], vars(record)["total"]
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + SECONDS_BETWEEN_UPDATES
        percent = min(100.0, 100.0 * done / total) if total else 0.0
        try:
            self._context.copy().run(self._write, percent, record.getMessage())
        except Exception:  # a server that is away must not end a training
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
