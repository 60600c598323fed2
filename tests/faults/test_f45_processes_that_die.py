"""A Prefect server that restarts, and workers and runs that are killed: real processes.

Where memory is used up, Linux kills the run itself (SIGKILL), and its worker lives.
"""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from fpenet.model.checkpoint import load_checkpoint
from fpenet.stages import STAGES
from infra.services import Ports
from tests.faults.live_services import PATIENCE_SECONDS, LiveServices
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
RELEASE, PROMOTION = "fpenet/train-and-release", "fpenet-promotion/answer"
NO_HEARTBEAT = "Lost heartbeat: "
SMALL = {
    "train.net": "nano",
    "train.batch_size": 4,
    "train.epochs": 1,
    "evaluate.interval.resamples": 1000,
    "evaluate.robustness.faces": 0,
    "evaluate.temporal.faces": 0,
    "calibrate.faces": 16,
    "calibrate.draws": 0,
    "build.precisions": ["fp32"],
    "benchmark.warmup_runs": 1,
    "benchmark.timed_runs": 4,
    "benchmark.batch_sizes": [1],
}


@pytest.fixture
def services(
    project: Path, ports: Ports, rendered_faces: Path, monkeypatch: pytest.MonkeyPatch
) -> LiveServices:
    """The services of a project with 140 rendered faces; not started."""
    shutil.copytree(rendered_faces, project / "data")
    services = LiveServices(project, ports, project / "hooks")
    services.install_hook(monkeypatch)
    return services


def release(services: LiveServices, **train: Any) -> str:
    """Create a run of the main job on the CPU; returns its id."""
    overrides = SMALL | {f"train.{name}": value for name, value in train.items()}
    return services.create_run(RELEASE, {"targets": ["cpu"], "overrides": overrides})


def test_f45_a_worker_killed_in_each_stage_loses_nothing_that_was_finished(
    services: LiveServices, project: Path
) -> None:
    services.up()
    killed: list[str] = []
    finished: dict[str, int] = {}
    stages = [name for name, stage in STAGES.items() if stage.sealed]
    for stage in stages:
        partial = f"work/{stage}/.*.partial"
        services.pause_at("open", f"{partial}/*", stage)
        killed.append(release(services))
        services.paused()
        assert len(list(project.glob(partial))) == 1
        services.kill("worker")  # and the run with it: no process is left to report its end
        assert manifests(project).items() >= finished.items()
        finished = manifests(project)
        assert not any(path.startswith(f"work/{stage}/") for path in finished)
        services.start_worker()

    services.resume()
    last = release(services)
    assert services.wait_state(last, "Completed", "Failed", "Crashed")["name"] == "Completed"
    assert manifests(project).items() >= finished.items()  # what was finished was not made again
    assert {name.split("/")[1] for name in manifests(project)} == set(stages)
    assert not list(project.glob("work/*/.*.partial"))
    for run in killed:
        assert NO_HEARTBEAT in services.wait_state(run, "Crashed")["message"]


def test_f45_a_dead_run_is_crashed_and_its_slot_is_free_though_the_server_restarted(
    services: LiveServices,
) -> None:
    services.up()
    services.pause_at("open", "*.keys/development.pem", "first")
    dead = services.create_run(PROMOTION, {})
    services.paused()
    assert services.slots(PROMOTION) == (1, 1)  # the concurrency_limit of prefect.yaml
    second = services.create_run(PROMOTION, {})
    services.wait_state(second, "AwaitingConcurrencySlot")

    services.kill("prefect")
    services.up()
    assert services.state(dead)["type"] == "RUNNING"
    services.kill("worker")  # and the run with it
    services.resume()
    services.start_worker()
    assert NO_HEARTBEAT in services.wait_state(dead, "Crashed", "Completed")["message"]
    assert services.wait_state(second, "Crashed", "Completed")["name"] == "Completed"
    assert services.slots(PROMOTION) == (1, 0)


def test_f45_a_training_continues_without_its_server_and_after_a_lack_of_memory(
    services: LiveServices, project: Path
) -> None:
    services.up()
    run = release(services, epochs=4000, max_minutes=60.0)
    wait_for(lambda: epoch(project) >= 1, "the first epoch", PATIENCE_SECONDS)

    services.kill("prefect")
    services.up()
    reached = epoch(project)
    wait_for(lambda: epoch(project) >= reached + 3, "three more epochs", PATIENCE_SECONDS)
    assert services.state(run)["type"] == "RUNNING"

    worker = services.worker()
    services.pause_at("open", "work/train/.*.partial/checkpoint*", "first")
    services.paused().send_signal(signal.SIGKILL)  # as the kernel does where memory is used up
    assert services.wait_state(run, "Failed", "Crashed")["name"] == "Crashed"
    services.resume()

    assert services.worker() == worker  # only its run ended
    reached = epoch(project)
    run = release(services, epochs=4000, max_minutes=60.0)
    wait_for(lambda: epoch(project) > reached, "a further epoch", PATIENCE_SECONDS)
    assert services.state(run)["type"] == "RUNNING"
    assert len(list(project.glob("work/train/.*.partial"))) == 1


def manifests(project: Path) -> dict[str, int]:
    """The manifests of the finished stages, each with its inode: a file made again has another."""
    paths = project.glob("work/*/[!.]*/manifest.json")
    return {path.relative_to(project).as_posix(): path.stat().st_ino for path in paths}


def epoch(project: Path) -> int:
    """The number of epochs in the checkpoint of the training; 0 before the first."""
    for folder in project.glob("work/train/.*.partial"):
        if state := load_checkpoint(folder / "checkpoint.safetensors"):
            return int(state[1]["epoch"])
    return 0
