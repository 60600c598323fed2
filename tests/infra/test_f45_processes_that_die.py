"""A Prefect server that comes back, and a worker and its run that died: the real processes."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.model.checkpoint import load_checkpoint
from infra.services import Ports, running

pytestmark = pytest.mark.slow
PARAMETERS = {
    "targets": ["cpu"],
    "overrides": {"train.batch_size": 8, "train.epochs": 4000, "train.max_minutes": 60.0},
}


def test_f45_a_run_outlives_its_server_and_dies_with_its_worker_and_is_taken_up(
    rendered: Path, ports: Ports
) -> None:
    one_at_a_time(rendered / "prefect.yaml")
    up(rendered)
    ask(rendered, ports)
    reach(lambda: epoch(rendered) >= 1)

    kill(rendered, "prefect")
    up(rendered)
    before = epoch(rendered)
    reach(lambda: epoch(rendered) >= before + 3)
    assert [run["state_type"] for run in runs(ports)] == ["RUNNING"]

    kill(rendered, "worker")  # and the run with it: no process is left to say so
    before = epoch(rendered)
    assert before > 0
    up(rendered)
    ask(rendered, ports)
    reach(lambda: [run["state_type"] for run in runs(ports)] == ["CRASHED", "RUNNING"])
    assert "No heartbeat came any more" in runs(ports)[0]["state"]["message"]
    reach(lambda: epoch(rendered) > before)
    assert len(list(rendered.glob("work/train/.*.partial"))) == 1


def one_at_a_time(prefect_yaml: Path) -> None:
    """Give the deployment of the main job one slot."""
    text = prefect_yaml.read_text()
    entry = "entrypoint: flows/train_and_release.py:train_and_release\n"
    assert entry in text
    prefect_yaml.write_text(text.replace(entry, f"{entry}    concurrency_limit: 1\n"))


def up(project: Path) -> None:
    subprocess.run([sys.executable, "-m", "infra.local", "up"], cwd=project, check=True)


def ask(project: Path, ports: Ports) -> None:
    """Ask for one run of the main job."""
    command = [sys.executable, "-m", "prefect", "deployment", "run", "fpenet/train-and-release"]
    subprocess.run(
        [*command, "--params", json.dumps(PARAMETERS)],
        cwd=project,
        env=os.environ | {"PREFECT_API_URL": f"{ports.prefect_url}/api"},
        check=True,
    )


def kill(project: Path, name: str) -> None:
    """SIGKILL all processes of a service; those of a worker are its runs too."""
    while found := running(project).get(name):
        for process in found:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.1)


def reach(state: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not state():
        assert time.monotonic() < end
        time.sleep(0.5)


def epoch(project: Path) -> int:
    """How many epochs the checkpoint of the training holds; 0 before the first."""
    for folder in project.glob("work/train/.*.partial"):
        if found := load_checkpoint(folder / "checkpoint.safetensors"):
            return int(found[1]["epoch"])
    return 0


def runs(ports: Ports) -> list[dict[str, Any]]:
    """The runs of the main job, oldest first."""
    asked = urllib.request.Request(
        f"{ports.prefect_url}/api/flow_runs/filter",
        json.dumps({"flows": {"name": {"any_": ["fpenet"]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return sorted(found, key=lambda run: str(run["created"]))
