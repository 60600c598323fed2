"""People are told through a real Prefect server: what, of which version, and where to look."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, runtime
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.automations import register_automations
from flows.notify import (
    ReleaseEvent,
    emit_events_of,
    emit_release_event,
    run_page,
    version_page,
)
from flows.tasks import link_with_mlflow
from fpenet.release.release_manifest import ReleaseManifest
from tests.manifests import MANIFEST
from tests.waiting import join

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def inbox(prefect_server: None) -> Iterator["Queue[dict[str, str]]"]:
    """What a webhook on loopback is sent through the block custom-webhook/release-team."""
    came: Queue[dict[str, str]] = Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    CustomWebhookNotificationBlock(
        name="release-team",
        url=f"http://127.0.0.1:{server.server_port}",
        headers={},
        cookies={},
        json_data={"subject": "{{subject}}", "body": "{{body}}"},
    ).save("release-team", overwrite=True)
    yield came
    server.shutdown()
    join(thread)
    server.server_close()


def automations() -> list[str]:
    with get_client(sync_client=True) as client:
        found = [one.name for one in client.read_automations()]
    return sorted(name for name in found if name.startswith("fpenet: "))


def test_a_release_that_waits_was_refused_or_promoted_is_told_to_people(
    inbox: "Queue[dict[str, str]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@mlflow:5000/")
    register_automations("custom-webhook/release-team")
    with get_client(sync_client=True) as client:
        first = client.read_automations()
        register_automations("custom-webhook/release-team")  # an equal automation is not updated
        assert client.read_automations() == first
    assert automations() == [
        "fpenet: lost heartbeat",
        "fpenet: pending",
        "fpenet: promoted",
        "fpenet: refused",
    ]

    @flow
    def finish() -> None:
        emit_events_of(
            replace(MANIFEST, candidate=False, refused=("5 px", "n/a"), pending=("h200", "nano"))
        )
        emit_events_of(MANIFEST)
        version = MANIFEST.model, MANIFEST.version, MANIFEST.name
        emit_release_event(ReleaseEvent.PROMOTED, *version, text="promoted, sequence 7")

    finish()
    received = {}
    for _ in range(3):
        message = inbox.get(timeout=60)
        text, mlflow, prefect = message["body"].split("\n")
        received[message["subject"]] = text
        assert mlflow == "http://mlflow:5000/#/models/fpenet-deployable/versions/3"
        assert "/runs/flow-run/" in prefect
    assert received == {
        "fpenet: deployable_v3.3 waits for a target": "no worker built the engines of h200, nano",
        "fpenet: deployable_v3.3 was refused": "not a candidate: 5 px; n/a",
        "fpenet: deployable_v3.3 is deployable": "promoted, sequence 7",
    }
    assert inbox.empty()
    register_automations(None)
    assert automations() == ["fpenet: lost heartbeat"]


def test_prefect_shows_the_way_to_mlflow_and_mlflow_the_way_back(
    mlflow_server: str,
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    release = register(stage_folders())

    @flow
    def finish() -> UUID:
        manifest = ReleaseManifest.from_tree(release, "release.json")
        link_with_mlflow(manifest, is_new=True)
        link_with_mlflow(manifest, is_new=True)  # one link above the description, however often
        return UUID(runtime.flow_run.id)

    @flow
    def repeat() -> None:
        link_with_mlflow(ReleaseManifest.from_tree(release, "release.json"), is_new=False)

    run_id = finish()
    repeat()  # it registered nothing: MLflow keeps the link to the run that did
    client, page = MlflowClient(), f"/runs/flow-run/{run_id}"
    tags = client.get_run(release["run_id"]).data.tags
    url = tags["fpenet.flow_run"]
    assert url.endswith(page)
    assert tags["mlflow.note.content"].startswith(f"[Flow run]({url})\n\n# May be promoted\n")
    for model, version in (("model", "version"), ("trainable_model", "trainable_version")):
        found = client.get_model_version(release[model], release[version])
        assert found.tags["fpenet.flow_run"] == url
    with get_client(sync_client=True) as prefect:
        artifacts = prefect.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        )
    links = {each.key: str(each.data) for each in artifacts}
    assert f"{mlflow_server}/#/models/{release['model']}/versions/1" in links["mlflow"]
    assert f"{mlflow_server}/#/experiments/" in links["mlflow-run"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert finish()  # a MLflow that is away costs a warning


def test_a_block_that_is_not_made_yet_is_named_and_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    register_automations("slack-webhook/nobody")
    assert (
        "promote.notify is slack-webhook/nobody, but Prefect has no such" in capsys.readouterr().err
    )
    assert automations() == ["fpenet: lost heartbeat"]


def test_a_page_in_mlflow_is_there_only_where_mlflow_is_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example/base/")
    assert run_page("1", "ab") == "https://mlflow.example/base/#/experiments/1/runs/ab"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert version_page("faces", "1") is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert run_page("1", "ab") is None
