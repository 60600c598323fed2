"""The wiring of the whole flow, with a real Prefect server and tiny stages."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow

from flows.build_engine import FLOW, build_engine, has_worker
from flows.request import requested_params
from flows.train_and_release import train_and_release
from fpenet.cli.plan import reasons_to_release
from fpenet.cli.services import downloaded_weights
from fpenet.device_engines import engines_of_devices, only_engine
from fpenet.params import Params
from fpenet.provenance.digest import digest_dataset, files_of
from fpenet.provenance.signing import make_key
from tests import failing
from tests.s3_server import Bucket
from tests.waiting import join

pytestmark = pytest.mark.usefixtures("prefect_server", "project")
HALF = {"build.precisions": ["fp16"], "build.longest_seconds": 60}
SOME: dict[str, Any] = {"labels": "faces", "epochs": 3, "targets": ["cpu", "h200"]}


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = train_and_release(**(SOME | parameters), return_state=True)
    return state


def id_of(state: State[Any]) -> UUID:
    found = state.state_details.flow_run_id
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _bounded_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never answers must not hold a test for half an hour."""
    monkeypatch.setattr("flows.build_engine.LONGEST_JUDGEMENT_SECONDS", 60.0)


def test_a_run_says_all_there_is_to_say(project: Path) -> None:
    state = run()
    release = state.result()
    assert release["candidate"]
    assert release["pending"] == ["h200"]
    assert release["kpi"]["metrics"]["image_px/eyes"] == 3.0
    assert [check["name"] for check in release["parity"]] == ["onnx"]
    assert [(row["target"], row["status"], row["p50_ms"]) for row in release["engines"]] == [
        ("cpu", "ready", 3.0),
        ("h200", "pending", None),
    ]
    assert (release["model"], release["version"], release["alias"]) == ("tiny", "7", "candidate")
    assert release["report"] == f"{release['folders']['report']}/report.html"
    summary = (project / release["summary"]).read_text()
    assert "| cpu | fp32 | onnxruntime | 1.23 MB | 3.00 ms | ready |" in summary
    assert "partial release, pending targets: h200" in summary
    assert f"Report: `{release['report']}`" in summary


def test_each_stage_is_one_task_and_progress_is_an_artifact() -> None:
    state = run()
    flow_run = id_of(state)
    stages = (
        "benchmark build bundle calibrate crop evaluate export gate register report split train"
    )
    wanted = [*stages.split(), "validate", "weights"]  # the champion, out of the registry
    wanted = sorted([*wanted, "engine h200/fp16", "engine h200/int8"])
    with get_client(sync_client=True) as client:
        for _ in range(1200):  # Prefect records task runs from their events, later
            # A deployment of h200 that another test left adds a task run of the engine's own run.
            names = sorted(
                each.name
                for each in client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
                )
                if each.name in wanted
            )
            if names == wanted:
                break
            time.sleep(0.1)
        artifacts = {
            each.key: each
            for each in client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
            )
        }
    assert names == wanted
    assert artifacts["progress-train"].data == 100.0
    assert artifacts["progress-train"].description == "3/3 epochs loss=0.3333"
    assert "# Release" in str(artifacts["release"].data)


def test_a_repeated_run_finds_its_folders_and_a_changed_key_reruns_what_depends_on_it() -> None:
    first = run().result()["folders"]
    before = {name: Path(folder).stat().st_mtime_ns for name, folder in first.items()}
    again = run().result()["folders"]
    assert again == first
    after = {name: Path(folder).stat().st_mtime_ns for name, folder in again.items()}
    assert {name for name in before if before[name] != after[name]} == {"register"}
    assert set(planned().values()) == {""}
    plan = planned(epochs=4)
    assert (plan["crop"], plan["train"]) == ("", "train.epochs was 3, is 4")
    assert plan["export"] == "after train"
    changed = run(epochs=4).result()["folders"]
    same = {name for name in first if first[name] == changed[name]}
    # what the tiny stages after train write does not depend on it, so neither do their followers
    assert {"validate", "split", "crop"} <= same
    assert same.isdisjoint({"train", "evaluate", "export"})


def test_a_refused_gate_is_a_result() -> None:
    state = run(overrides={"gate.min_faces": 100})
    assert state.is_completed()
    assert not state.result()["candidate"]
    assert "insufficient evidence: 60 faces" in state.result()["refused"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"overrides": {"train.epoch": 3}}, "train.epoch is 3: no such key; did you mean epochs?"),
        ({"labels": "nowhere"}, "data.labels: nowhere: no such folder or file"),
        ({"preset": "huge"}, "choose one of ['full', 'laptop', 'standard']"),
        ({"overrides": {"validate.min_faces": 1001}}, "20 usable faces; validate.min_faces"),
        ({"overrides": {"train.epochs": 5}}, "train.epochs is set twice"),
        ({"targets": ["tpu"]}, "build.targets.0 is 'tpu'"),
    ],
)
def test_bad_input_is_one_line(parameters: dict[str, Any], said: str, project: Path) -> None:
    state = run(**parameters)
    assert state.is_failed()
    assert state.name == "BadInput"
    assert said in (state.message or "")
    assert "\n" not in (state.message or "")
    assert not list(project.glob("work/*/[!.]*"))


def test_another_error_is_tried_again_and_then_fails() -> None:
    state = run(overrides={"train.learning_rate": 7.0})
    assert state.is_failed()
    assert state.name == "Failed"
    assert "the loss is not finite" in (state.message or "")
    with get_client(sync_client=True) as client:
        flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[id_of(state)]))
        counts = {
            each.name: each.run_count for each in client.read_task_runs(flow_run_filter=flow_run)
        }
    assert counts["train"] == 2
    assert counts["crop"] == 1


@pytest.mark.parametrize("fault", failing.FAULTS)
def test_a_bug_or_a_failing_machine_is_not_bad_input_and_is_tried_again(
    fault: str, project: Path
) -> None:
    number, _fail, beginning = failing.FAULTS[fault]
    state = run(overrides={"split.seed": number})
    assert (state.name, state.is_failed()) == ("Failed", True)
    assert beginning.partition(": ")[2] in (state.message or "")
    with get_client(sync_client=True) as client:
        flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[id_of(state)]))
        counts = {
            each.name: each.run_count for each in client.read_task_runs(flow_run_filter=flow_run)
        }
    assert counts["split"] == 2
    assert not list(project.glob("work/split/[!.]*"))


def test_the_embedded_labels_are_rendered_where_they_are_absent(project: Path) -> None:
    assert not (project / "data").exists()
    assert run(labels=None).is_completed()
    assert (project / "data" / "done.json").exists()


def test_labels_on_s3_are_fetched_first_and_what_is_not_there_is_bad_input(
    project: Path, bucket: Bucket
) -> None:
    bucket.put_folder(project / "faces", "march/faces")
    server = {"storage.endpoint": bucket.server.endpoint}
    url = f"s3://{bucket.name}/march/faces"
    state = run(labels=url, overrides=server)
    release = state.result()
    assert release["candidate"]
    fetched = project / "work/labels" / digest_dataset(project / "faces")[:16] / "faces"
    assert (fetched / "labels.json").read_text() == "[]"
    flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[id_of(state)]))
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=flow_run)
    assert "fetch" in {each.name for each in tasks}
    again = run(labels=url, overrides=server).result()["folders"]
    assert {name for name in again if again[name] != release["folders"][name]} == set()
    state = run(labels=f"s3://{bucket.name}/april", overrides=server)
    assert (state.name, state.message) == (
        "BadInput",
        f"data.labels: s3://{bucket.name}/april: no objects; name the prefix of a set",
    )
    written = [path for path in files_of(project) if path.suffix != ".lock"]
    assert not [path for path in written if bucket.server.secret.encode() in path.read_bytes()]


def test_a_pool_is_served_while_a_worker_of_it_is_online() -> None:
    assert not has_worker("no-such-pool")
    with get_client(sync_client=True) as client:
        _create_pool(client, "quiet")
        assert not has_worker("quiet")
        client.send_worker_heartbeat("quiet", "someone", 30)
        assert has_worker("quiet")


def test_a_worker_without_its_device_leaves_the_engine_pending_and_is_asked_again(
    project: Path,
) -> None:
    with worker_of("h200"):
        assert run(overrides=HALF).result()["pending"] == ["h200"]
        assert not list(project.glob("work/engines/h200/build/[!.]*"))
        (project / "h200.device").touch()
        assert run(overrides=HALF).result()["pending"] == []


def test_an_engine_without_a_worker_is_pending_and_built_when_one_comes(project: Path) -> None:
    (project / "h200.device").touch()
    earlier = _engine_runs()
    with pool_of("h200"):
        assert run(overrides=HALF).result()["pending"] == ["h200"]
        assert run(overrides=HALF).result()["pending"] == ["h200"]
        (asked,) = _engine_runs().keys() - earlier.keys()  # once, by both
        assert _engine_runs()[asked] in ("Scheduled", "Late")
        with working("h200"):
            for _ in range(600):
                if _engine_runs()[asked] == "Completed":
                    break
                time.sleep(0.1)
        release = run(overrides=HALF).result()  # the worker has gone; its engine is there
        assert release["pending"] == []
        assert _engine_runs().keys() - earlier.keys() == {asked}
        engine = next(row for row in release["engines"] if row["target"] == "h200")
        assert engine["status"] == "ready"
        assert set(planned(overrides=HALF).values()) == {""}  # of the merged build
        shutil.rmtree(release["folders"]["build"])
        assert planned(overrides=HALF)["build"] == "new engines of h200/fp16"


def test_an_engine_that_a_stranger_signed_is_not_taken(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path / "stranger.pem")
    monkeypatch.setenv("FPENET_SIGNING_KEY", str(tmp_path / "stranger.pem"))
    (project / "h200.device").touch()
    with worker_of("h200"):
        release = run(overrides=HALF).result()
    assert release["pending"] == ["h200"]
    assert list(project.glob("work/engines/h200/build/*/manifest.json.sig"))


def test_two_pools_build_side_by_side(project: Path) -> None:
    for target, other in (("h200", "nano"), ("nano", "h200")):
        (project / f"{target}.device").touch()
        (project / f"{target}.meets").write_text(other)
    with worker_of("h200"), worker_of("nano"):
        release = run(targets=["cpu", "nano", "h200", "thor"], overrides=HALF).result()
    assert release["pending"] == ["thor"]
    rows = [(row["target"], row["status"]) for row in release["engines"]]
    ready = [(target, "ready") for target in ("cpu", "nano", "h200")]
    assert rows == [*ready, ("thor", "pending")]
    joined = Path(release["folders"]["build"])
    assert (joined / "h200" / "fp16.onnx").read_text() == "h200"


def test_each_precision_is_an_engine_of_its_own(params_with: Callable[..., Params]) -> None:
    only = params_with({"build.targets": ["cpu", "nano", "orin-nx"]})
    assert engines_of_devices(only) == [("nano", "fp16"), ("orin-nx", "fp16"), ("orin-nx", "int8")]
    one = only_engine(only, "orin-nx", "int8").build
    assert (one.targets, one.precisions) == (("orin-nx",), ("int8",))


def planned(**parameters: Any) -> dict[str, str]:
    """Stage -> why a release with these parameters would run it."""
    params = requested_params(**(SOME | parameters))
    return reasons_to_release(Path("work"), downloaded_weights(params, Path("work/weights")))


def _engine_runs() -> dict[UUID, str | None]:
    """All runs of the engine flow, and the state of each."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])))
    return {run.id: run.state_name for run in runs}


def _create_pool(client: SyncPrefectClient, name: str) -> None:
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    try:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=template)
        )
    except ObjectAlreadyExists:
        return


@contextmanager
def pool_of(pool: str) -> Iterator[None]:
    """The work pool and the deployment of the engines of the target ``pool``, without a worker."""
    with get_client(sync_client=True) as client:
        _create_pool(client, pool)
        flow_id = client.create_flow_from_name(build_engine.name)
        client.create_deployment(flow_id, pool, work_pool_name=pool)
        try:
            yield
        finally:
            client.delete_work_pool(pool)


@contextmanager
def working(pool: str) -> Iterator[None]:
    """A worker of the pool, of one thread of this process."""
    stopped = threading.Event()
    with get_client(sync_client=True) as client:
        client.send_worker_heartbeat(pool, "device", 30)
    thread = threading.Thread(target=_work, args=(pool, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        join(thread)


@contextmanager
def worker_of(pool: str) -> Iterator[None]:
    """A pool with a worker."""
    with pool_of(pool), working(pool):
        yield


def _work(pool: str, stopped: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not stopped.wait(0.5):  # each question writes to the server's database
            for scheduled in client.get_scheduled_flow_runs_for_work_pool(pool):
                asked: FlowRun = scheduled.flow_run
                run_flow(
                    build_engine, flow_run=asked, parameters=asked.parameters, return_type="state"
                )


def test_another_embedded_set_than_that_of_params_yaml_is_rendered_apart(project: Path) -> None:
    scheme = project / "own.yaml"
    scheme.write_text("name: own")
    places = set()
    for text in ("name: own", "name: other"):
        scheme.write_text(text)
        run(labels=None, overrides={"synth.scheme": str(scheme)}).result()
        places |= set((project / "work/synth").glob("[!.]*"))
        assert not (project / "data").exists()
    assert len(places) == 2
    run(labels=None).result()
    assert (project / "data/done.json").exists()
