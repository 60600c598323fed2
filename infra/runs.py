"""Runs at the local servers: created, read and ended by HTTP.

Input: the URLs of Prefect and MLflow. Does: starts and follows a flow run; sets the runs whose
process has ended to Cancelled or Crashed, and MLflow's to KILLED, so that none stays Running.
Output: states. The packages of the servers are not imported, because their import takes seconds.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

TIMEOUT_SECONDS = 10.0
_UNFINISHED = ("RUNNING", "PENDING", "CANCELLING")
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_BUSY = (429, 503)
"""Statuses of a server whose database is locked; the request is sent again."""
_TRIES = 5
_PAGE = 200  # the largest page of both servers' APIs that we need


@dataclass(frozen=True, slots=True)
class FlowRunState:
    """A flow run and its state: Prefect's type, e.g. ``COMPLETED``, name and message."""

    id: str
    name: str
    type: str
    state: str
    message: str

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.type in _FINAL


@dataclass(frozen=True, slots=True)
class TaskRunState:
    """A task run that has started.

    Attributes:
        type: Prefect's type of its state; ``state``: its name; ``message``: its message.
        seconds: how long it has run.
        progress: the text of its progress artifact; empty if it has none.
    """

    name: str
    type: str
    state: str
    message: str
    seconds: float
    progress: str

    @property
    def is_final(self) -> bool:
        """Whether the task has ended."""
        return self.type in _FINAL


class RunEnd(Enum):
    """The final state of a run, as Prefect's type and name."""

    CANCELLED = "Cancelled"
    CRASHED = "Crashed"


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A flow run that is not finished.

    Attributes:
        pool: the work pool whose worker runs it; None for a run of the promotion watcher.
        state: Prefect's type of its state, e.g. ``RUNNING``.
    """

    id: str
    name: str
    pool: str | None
    state: str


def create_run(prefect_url: str, deployment: str, parameters: Mapping[str, Any]) -> FlowRunState:
    """Create a run of a deployment, ``FLOW/DEPLOYMENT``.

    Raises:
        LookupError: there is no such deployment.
        OSError: the server does not respond, or refuses the parameters.
    """
    api = f"{prefect_url}/api/deployments"
    try:
        deployment_id = request_json(f"{api}/name/{deployment}")["id"]
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            raise LookupError(f"no deployment {deployment}") from None
        raise
    body = {"parameters": parameters}
    return _state_of(request_json(f"{api}/{deployment_id}/create_flow_run", body))


def read_run(prefect_url: str, run_id: str) -> FlowRunState:
    """The state of a flow run.

    Raises:
        OSError: the server does not respond.
    """
    return _state_of(request_json(f"{prefect_url}/api/flow_runs/{run_id}"))


def cancel_run(prefect_url: str, run_id: str) -> None:
    """Request that the worker of a flow run cancels it.

    Raises:
        OSError: the server does not respond.
    """
    state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    request_json(f"{prefect_url}/api/flow_runs/{run_id}/set_state", state)


def read_task_runs(prefect_url: str, run_id: str) -> list[TaskRunState]:
    """The started task runs of a flow run, in the order of their start.

    Raises:
        OSError: the server does not respond.
    """
    query = {"flow_runs": {"id": {"any_": [run_id]}}, "limit": _PAGE}
    artifacts = request_json(
        f"{prefect_url}/api/artifacts/filter",
        {"artifacts": {"flow_run_id": {"any_": [run_id]}}, "limit": _PAGE},
    )
    texts = {row["task_run_id"]: row["description"] or "" for row in artifacts}
    rows = request_json(f"{prefect_url}/api/task_runs/filter", query)
    return [
        TaskRunState(
            row["name"],
            row["state_type"] or "",
            row["state_name"] or "",
            (row["state"] or {}).get("message") or "",
            row["estimated_run_time"],
            texts.get(row["id"], ""),
        )
        for row in sorted((row for row in rows if row["start_time"]), key=_start_of)
    ]


def _start_of(row: Mapping[str, Any]) -> str:
    start: str = row["start_time"]
    return start


def _state_of(row: Mapping[str, Any]) -> FlowRunState:
    state = row["state"] or {}
    return FlowRunState(
        row["id"],
        row["name"],
        state.get("type", ""),
        state.get("name", ""),
        state.get("message") or "",
    )


def active_runs(prefect_url: str, pools: Collection[str | None] | None = None) -> list[ActiveRun]:
    """The flow runs that run, are about to run, or are being cancelled.

    Args:
        pools: only the runs of these work pools.

    Raises:
        OSError: the server does not respond.
    """
    state = {"state": {"type": {"any_": _UNFINISHED}}}
    rows = request_json(f"{prefect_url}/api/flow_runs/filter", {"flow_runs": state, "limit": _PAGE})
    runs = [
        ActiveRun(row["id"], row["name"], row["work_pool_name"], row["state_type"]) for row in rows
    ]
    return [run for run in runs if pools is None or run.pool in pools]


def end_runs(prefect_url: str, runs: Sequence[ActiveRun], end: RunEnd, message: str) -> None:
    """Set the final state of flow runs and of their task runs, unless they completed or failed.

    A run that its own process set to Crashed, because a signal ended it, is set too.

    Raises:
        OSError: the server does not respond.
    """
    state = {"type": end.name, "name": end.value, "message": message}
    ids = [run.id for run in runs]
    if not ids:
        return
    flow_runs = {"id": {"any_": ids}}
    unfinished = {"state": {"type": {"any_": _UNFINISHED}}}
    query = {"flow_runs": flow_runs, "task_runs": unfinished, "limit": _PAGE}
    for row in request_json(f"{prefect_url}/api/task_runs/filter", query):
        url = f"{prefect_url}/api/task_runs/{row['id']}/set_state"
        request_json(url, {"state": state, "force": True})
    for row in request_json(f"{prefect_url}/api/flow_runs/filter", {"flow_runs": flow_runs}):
        if row["state_type"] not in ("COMPLETED", "FAILED", "CANCELLED"):
            url = f"{prefect_url}/api/flow_runs/{row['id']}/set_state"
            request_json(url, {"state": state, "force": True})


def end_mlflow_runs(mlflow_url: str) -> int:
    """Set MLflow's runs that are RUNNING to KILLED; returns their number.

    A training that continues sets its run to RUNNING again.

    Raises:
        OSError: the server does not respond.
    """
    api = f"{mlflow_url}/api/2.0/mlflow"
    experiments = request_json(f"{api}/experiments/search", {"max_results": _PAGE})
    ids = [row["experiment_id"] for row in experiments.get("experiments", ())]
    query = {"filter": "attributes.status = 'RUNNING'", "max_results": _PAGE}
    rows = request_json(f"{api}/runs/search", query | {"experiment_ids": ids}) if ids else {}
    for row in rows.get("runs", ()):
        ended = {"status": "KILLED", "end_time": int(time.time() * 1000)}
        request_json(f"{api}/runs/update", {"run_id": row["info"]["run_id"], **ended})
    return len(rows.get("runs", ()))


def request_json(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """The JSON answer of a local server to a GET, or to a POST of ``body``; without any proxy.

    Raises:
        OSError: the server does not respond, or responds with an error status.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for left in reversed(range(_TRIES)):
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            if error.code not in _BUSY or not left:
                raise
            time.sleep(1.0)
        else:
            return json.loads(content) if content else None
    raise AssertionError("unreachable")
