"""A real worker process that starts after its engine was asked for, on the real servers."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from infra.services import Ports

pytestmark = pytest.mark.slow


def engine_runs(ports: Ports) -> list[dict[str, Any]]:
    """All runs of the engine flow, from the server's own API."""
    asked = urllib.request.Request(
        f"{ports.prefect_url}/api/flow_runs/filter",
        json.dumps({"flows": {"name": {"any_": ["fpenet-engine"]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def test_a_worker_that_comes_later_takes_the_engine_that_waits(project: Path, ports: Ports) -> None:
    environment = os.environ | {
        "PREFECT_API_URL": f"{ports.prefect_url}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    prefect = [sys.executable, "-m", "prefect"]
    subprocess.run([sys.executable, "-m", "infra.local", "up"], cwd=project, check=True)
    folders = {name: "none" for name in ("crop", "evaluate", "export", "calibrate")}
    parameters = {"target": "nano", "precision": "fp16", "folders": folders, "params": {}}
    parameters |= {"out_dir": "work/engines/nano"}
    ask = ["deployment", "run", "fpenet-engine/nano", "--params", json.dumps(parameters)]
    subprocess.run([*prefect, *ask], cwd=project, env=environment, check=True)
    time.sleep(5.0)  # the project's own worker serves another pool
    assert [run["state_type"] for run in engine_runs(ports)] == ["SCHEDULED"]
    worker = subprocess.Popen(
        [*prefect, "worker", "start", "--pool", "nano", "--type", "process"],
        cwd=project,
        env=environment,
    )
    try:
        for _ in range(240):
            (run,) = engine_runs(ports)
            if run["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING"):
                break
            time.sleep(0.5)
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    # It ran the flow's code, which found that the folders it was asked to read are none.
    assert (run["state_type"], run["name"]) == ("FAILED", "engine-nano-fp16")
    assert "params" in run["state"]["message"] or "Field required" in run["state"]["message"]
