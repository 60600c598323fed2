"""The promotion watcher with a real Prefect server; MLflow is a database, which sends no events."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
)
from prefect.client.schemas.objects import State

from flows.promotion import promotion
from flows.webhook import PATH, PromotionWatcher, server_of
from fpenet.release.promotion.webhook_event import event_signature
from tests.promoting import Promoting
from tests.waiting import join, wait_for

pytestmark = pytest.mark.usefixtures("prefect_server", "project")
SECRET = "shared by MLflow and the watcher"
Register = Callable[..., dict[str, Any]]
Folders = Callable[..., dict[str, Path]]
MakePromoting = Callable[..., Promoting]


@contextmanager
def watching(made: Promoting) -> Iterator[str]:
    """Run the promotion watcher of ``python -m flows.webhook``; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    watcher = PromotionWatcher(made.params, f"{url}{PATH}", SECRET, made.keys)
    server = server_of(watcher, "127.0.0.1", port)
    serving = threading.Thread(target=server.run)
    watcher.start()
    serving.start()
    wait_for(lambda: server.started, "the server runs")
    try:
        assert requests.get(f"{url}/health", timeout=60).status_code == 200
        yield url
        watcher.stop()
        assert requests.get(f"{url}/health", timeout=60).status_code == 503
    finally:
        watcher.stop()
        server.should_exit = True
        join(serving)


def test_a_run_says_what_it_answered(
    register: Register, stage_folders: Folders, promoting: MakePromoting
) -> None:
    made = promoting()
    register(stage_folders())
    assert promotion(dict(made.keys)) == {"outcome": "no_request"}
    made.request("1")
    state: State[dict[str, Any]] = promotion(dict(made.keys), return_state=True)
    answer = state.result()
    assert json.loads(json.dumps(answer))["outcome"] == "promoted"
    assert (answer["name"], answer["deployable"], made.alias) == ("deployable_v3.1", "1", "1")
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    of_the_run = ArtifactFilterFlowRunId(any_=[run_id])
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_the_run))
    pages = {artifact.key: str(artifact.data) for artifact in artifacts}
    assert "# deployable_v3.1: promoted" in pages["promotion"]


def test_a_request_whose_event_was_lost_is_found(
    register: Register,
    stage_folders: Folders,
    promoting: MakePromoting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    made = promoting({"promote.reconcile_seconds": 1})
    register(stage_folders("good"))
    register(stage_folders("bad", verdict={"passed": False, "reasons": ["too far off"]}))
    with watching(made):
        made.request("1")
        wait_for(lambda: made.pointer.version == "1", "version 1 is deployable")
        (webhook,) = [
            one for one in MlflowClient().list_webhooks() if one.name == f"fpenet-{made.model}"
        ]
        assert [str(event) for event in webhook.events] == [
            "model_version_alias.created",
            "model_version_alias.deleted",
        ]
        MlflowClient().delete_webhook(webhook.webhook_id)
        made.request("2")
        wait_for(lambda: made.alias == "1", "version 1 has the alias")
        wait_for(lambda: len(MlflowClient().list_webhooks()) > 0, "a webhook")  # it is made again
    assert made.pointer.sequence == 2


def test_an_event_is_answered_at_once_and_an_error_does_not_stop_the_watcher(
    register: Register,
    stage_folders: Folders,
    promoting: MakePromoting,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    made = promoting({"promote.reconcile_seconds": 60})
    register(stage_folders())
    (tmp_path / ".keys/development.pub").rename(tmp_path / "away.pub")

    def post(url: str, delivery: str, alias: str = "deployable") -> int:
        data = {"name": made.model, "alias": alias, "version": "1"}
        body = json.dumps({"entity": "model_version_alias", "data": data}).encode()
        sent = str(int(time.time()))
        headers = {
            "X-MLflow-Signature": event_signature(SECRET.encode(), delivery, sent, body),
            "X-MLflow-Timestamp": sent,
            "X-MLflow-Delivery-Id": delivery,
        }
        return requests.post(f"{url}{PATH}", data=body, headers=headers, timeout=60).status_code

    with watching(made) as url:
        wait_for(lambda: "no decision yet: " in caplog.text, "a warning")
        assert "development.pub" in caplog.text
        (tmp_path / "away.pub").rename(tmp_path / ".keys/development.pub")
        made.request("1")
        assert post(url, "one", alias="candidate") == 202
        assert "the alias candidate" not in caplog.text
        assert post(url, "two") == 202
        wait_for(lambda: made.pointer.version == "1", "version 1 is deployable")
        assert post(url, "two") == 401  # a replay
        assert requests.post(f"{url}{PATH}", data=b"x" * 70_000, timeout=60).status_code == 413
        assert requests.get(f"{url}{PATH}", timeout=60).status_code == 405
    assert "an event was refused: delivery two was already received" in caplog.text
