"""The main job from labelled faces to a registered version, by its own command and servers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.services import Ports, running

pytestmark = pytest.mark.slow
RELEASE = [sys.executable, "-m", "flows.watch", "--targets", "cpu", "--set", "train.batch_size=8"]


def release(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*RELEASE, *options]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_a_run_is_interrupted_resumed_and_refused_by_the_gate(rendered: Path, ports: Ports) -> None:
    running_release = subprocess.Popen(
        [*RELEASE, "train.epochs=400"],
        cwd=rendered,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 300
    while not list(rendered.glob("work/train/.*.partial/checkpoint*")):
        assert running_release.poll() is None, running_release.communicate()[1]
        assert time.monotonic() < end, "training did not start"
        time.sleep(0.5)
    os.killpg(running_release.pid, signal.SIGINT)  # Ctrl-C
    _, said = running_release.communicate()
    assert running_release.returncode == 130, said
    assert "Traceback" not in said
    assert running(rendered) == {}  # what it started is stopped

    done = release(rendered, "train.epochs=2")
    assert done.returncode == 3, done.stdout + done.stderr
    for line in (
        "KPI on synthetic, part kpi: ",
        " faces of 23 people, NME by inter-ocular distance",
        "Parity, px of the 80x80 crop",
        "Engines, latency at batch 1",
        "registered fpenet-deployable version 1",
        "gate: refused",
    ):
        assert line in done.stdout
    assert running(rendered) == {}
    (gate,) = rendered.glob("work/gate/*/gate.json")
    assert not json.loads(gate.read_text())["passed"]
    (report,) = (rendered / "work/reports").glob("*.md")
    assert "refused" in report.read_text()


def test_bad_input_is_one_line_and_starts_nothing(project: Path, ports: Ports) -> None:
    done = release(project, "--labels", "nowhere")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "release: data.labels: nowhere does not exist; give a folder or file"
    ]
    assert running(project) == {}
