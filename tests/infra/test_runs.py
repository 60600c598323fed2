"""Runs by HTTP, at a real Prefect server and a real MLflow server."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Running
from prefect.testing.utilities import prefect_test_harness
from prefect.workers.process import ProcessWorker

from infra.runs import (
    FlowRunState,
    RunEnd,
    active_runs,
    cancel_run,
    create_run,
    end_mlflow_runs,
    end_runs,
    read_run,
    read_task_runs,
)


@pytest.fixture(scope="module")
def prefect_url() -> Iterator[str]:
    """The server's URL; it has a flow ``f`` with a deployment ``d`` in the pool ``p``."""
    with prefect_test_harness(server_startup_timeout=120):
        template = ProcessWorker.get_default_base_job_template()
        with get_client(sync_client=True) as client:
            pool = WorkPoolCreate(name="p", type="process", base_job_template=template)
            client.create_work_pool(pool)
            client.create_deployment(client.create_flow_from_name("f"), "d", work_pool_name="p")
        yield str(PREFECT_API_URL.value()).removesuffix("/api")


@flow(name="g")
def alone_flow() -> None:
    """A flow of no deployment, as the promotion watcher runs."""


@task(name="train")
def train_task() -> None:
    """A task of a run."""


def set_state(client: SyncPrefectClient, run: FlowRunState, state: State[None]) -> None:
    client.set_flow_run_state(UUID(run.id), state, force=True)


def test_what_runs_is_ended_and_what_has_ended_stays(prefect_url: str) -> None:
    waits, runs, done = (create_run(prefect_url, "f/d", {"n": n}) for n in range(3))
    assert (waits.type, waits.state, waits.is_final) == ("SCHEDULED", "Scheduled", False)
    with get_client(sync_client=True) as client:
        set_state(client, runs, Running())
        set_state(client, done, Running())
        alone = client.create_flow_run(alone_flow, state=Running())
    both = active_runs(prefect_url)
    assert {(run.id, run.pool, run.state) for run in both} == {
        (runs.id, "p", "RUNNING"),
        (done.id, "p", "RUNNING"),
        (str(alone.id), None, "RUNNING"),
    }
    in_pool = active_runs(prefect_url, ["p"])
    assert {run.id for run in in_pool} == {runs.id, done.id}
    with get_client(sync_client=True) as client:
        set_state(client, done, Completed())
    end_runs(prefect_url, in_pool, RunEnd.CRASHED, "its process died")
    ended = read_run(prefect_url, runs.id)
    assert (ended.type, ended.state, ended.message) == ("CRASHED", "Crashed", "its process died")
    assert read_run(prefect_url, done.id).type == "COMPLETED"
    assert read_run(prefect_url, waits.id).type == "SCHEDULED"
    end_runs(prefect_url, both, RunEnd.CANCELLED, "down")  # also what a signal set to Crashed
    assert read_run(prefect_url, runs.id).state == "Cancelled"
    assert read_run(prefect_url, str(alone.id)).state == "Cancelled"
    assert active_runs(prefect_url) == []
    end_runs(prefect_url, [], RunEnd.CANCELLED, "down")


def test_the_task_runs_of_an_ended_run_have_ended(prefect_url: str) -> None:
    run = create_run(prefect_url, "f/d", {})
    with get_client(sync_client=True) as client:
        set_state(client, run, Running())
        client.create_task_run(train_task, UUID(run.id), "0", name="train", state=Running())
    (started,) = read_task_runs(prefect_url, run.id)
    assert (started.name, started.type, started.is_final) == ("train", "RUNNING", False)
    assert (started.progress, started.seconds >= 0) == ("", True)
    end_runs(prefect_url, active_runs(prefect_url, ["p"]), RunEnd.CANCELLED, "down")
    (ended,) = read_task_runs(prefect_url, run.id)
    assert (ended.type, ended.state, ended.is_final) == ("CANCELLED", "Cancelled", True)


def test_a_run_is_cancelled_by_its_worker(prefect_url: str) -> None:
    run = create_run(prefect_url, "f/d", {})
    with get_client(sync_client=True) as client:
        set_state(client, run, Running())
    cancel_run(prefect_url, run.id)
    assert read_run(prefect_url, run.id).type == StateType.CANCELLING.value
    end_runs(prefect_url, active_runs(prefect_url), RunEnd.CANCELLED, "down")


def test_a_deployment_that_is_not_there_and_a_server_that_is_not_are_told_apart(
    prefect_url: str,
) -> None:
    with pytest.raises(LookupError, match="no deployment f/nothing"):
        create_run(prefect_url, "f/nothing", {})
    with pytest.raises(OSError, match="refused"):
        create_run("http://127.0.0.1:9", "f/d", {})


def test_the_runs_of_mlflow_are_killed_once(
    mlflow_server: str, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    client = MlflowClient()
    experiment = client.create_experiment("of a service that died")
    left, done = (client.create_run(experiment).info.run_id for _ in range(2))
    client.set_terminated(done, "FINISHED")
    assert end_mlflow_runs(mlflow_server) >= 1
    run = client.get_run(left).info
    assert (run.status, run.end_time >= run.start_time) == ("KILLED", True)
    assert client.get_run(done).info.status == "FINISHED"
    assert end_mlflow_runs(mlflow_server) == 0
