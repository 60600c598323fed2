"""``make release`` by its own command and servers: what it prints and how it ends."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.local import down
from infra.services import Ports, ports_in_use, running
from tests.conftest import DEVELOPMENT_KEY
from tests.infra.conftest import ROOT, fill_project, use_free_ports

pytestmark = pytest.mark.slow
SMALL = [
    "train.net=nano",
    "train.batch_size=8",
    "evaluate.interval.resamples=1000",
    "evaluate.robustness.faces=0",
    "evaluate.temporal.faces=0",
    "calibrate.draws=0",
    "build.precisions=[fp32]",
    "benchmark.timed_runs=20",
]
"""Keys with which the whole chain runs, in as little time as it can."""


def limits(px: str) -> list[str]:
    """The keys that make ``px`` every threshold of the embedded set."""
    regions = ("all", "eyes", "mouth")
    return [f"gate.thresholds.synthetic.image_px/{region}={px}" for region in regions]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "flows.watch", "--targets", "cpu", *words]


def ended(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command that ran to its end, with what it printed."""
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, rendered_faces: Path) -> Iterator[Path]:
    """A project with faces whose services run; the tests share what its stages have finished."""
    folder = tmp_path_factory.mktemp("served")
    fill_project(folder)
    (folder / "Makefile").symlink_to(ROOT / "Makefile")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".keys").mkdir()
    for suffix in (".pem", ".pub"):
        shutil.copy2(DEVELOPMENT_KEY.with_suffix(suffix), folder / ".keys")
    shutil.copytree(rendered_faces, folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        use_free_ports(patch)
        try:
            subprocess.run([sys.executable, "-m", "infra.local", "up"], cwd=folder, check=True)
            yield folder
        finally:
            down(folder)


def candidate(project: Path) -> str | None:
    """The version that has the alias candidate, from MLflow's own API; None: no version has it."""
    model = "name=fpenet-deployable&alias=candidate"
    server = ports_in_use(project, {}).mlflow_url
    try:
        with urllib.request.urlopen(
            f"{server}/api/2.0/mlflow/registered-models/alias?{model}"
        ) as answer:
            return str(json.load(answer)["model_version"]["version"])
    except urllib.error.HTTPError:
        return None


def make(*variables: str) -> list[str]:
    """``make release`` in an environment that is installed already."""
    return ["make", "-o", "setup", "release", "TARGETS=cpu", *variables]


def test_make_release_ends_with_0_when_the_candidate_is_set(served: Path) -> None:
    done = ended(make("EPOCHS=2", f"SET={' '.join([*SMALL, *limits('1000')])}"), served)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "KPI on synthetic, part kpi: 115 faces of 23 people" in lines
    assert "Parity, px of the 80x80 crop" in lines
    assert "Engines, latency at batch 1" in lines
    assert [line.split()[1] for line in lines if line.startswith("│ cpu ")] == ["cpu"]
    (trained,) = [line for line in lines if line.startswith("trained ")]
    assert trained.startswith("trained nano, 857,648 parameters: ")
    assert " faces seen in 2 epochs, " in trained
    (registered,) = [line for line in lines if line.startswith("registered ")]
    *words, version = registered.split()
    assert words == ["registered", "fpenet-deployable", "version"]
    assert "gate: passed; it is now the candidate" in lines
    assert "gate: refused" not in lines
    assert candidate(served) == version
    (report,) = [line.split()[1] for line in lines if line.startswith("report ")]
    assert (served / report).read_text().startswith("<!doctype html>")
    assert running(served).keys() == {"prefect", "mlflow", "gate", "worker"}  # they ran before


def test_a_release_that_the_gate_refused_ends_with_3(served: Path) -> None:
    before = candidate(served)
    keys = [*SMALL, *limits("0.001")]
    done = ended(command("--epochs", "2", "--set", *keys), served)
    assert done.returncode == 3, done.stdout + done.stderr
    refused = done.stdout.partition("\ngate: refused\n")[2].splitlines()
    for line, region in zip(refused, ("all", "eyes", "mouth"), strict=False):
        assert line.startswith(f"  cpu/fp32: image_px/{region} is ")
        assert line.endswith("; must be below 0.001 (build/cpu/fp32.kpi.json)")
    assert refused[3] == "  required target cpu has no engine that passed the gate"
    assert candidate(served) == before
    by_make = ended(make("EPOCHS=2", f"SET={' '.join(keys)}"), served)
    assert by_make.returncode == 2  # as of every recipe that fails
    assert by_make.stderr.splitlines()[-1].endswith("release] Error 3")


def test_labels_that_a_stage_refuses_end_with_2_and_one_line(served: Path) -> None:
    before = candidate(served)
    (served / "empty").mkdir()
    done = ended(command("--labels", "empty"), served)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("release: data.labels: empty has neither a label file (*.json), ")
    assert "registered" not in done.stdout
    assert candidate(served) == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--labels", "nowhere"],
            "release: data.labels: nowhere does not exist; give a folder or file",
        ),
        (
            ["--set", "gate.thresholds.synthetic.image_px/all=0"],
            "release: params.yaml with preset laptop: gate.thresholds.synthetic.image_px/all is 0:"
            " Input should be greater than 0",
        ),
    ],
)
def test_bad_input_that_is_seen_at_once_ends_with_2_and_starts_nothing(
    words: list[str], line: str, project: Path, ports: Ports
) -> None:
    done = ended(command(*words), project)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [line]
    assert not (project / ".services").exists()


def test_a_release_that_is_interrupted_ends_with_130_and_leaves_nothing_running(
    rendered: Path, ports: Ports
) -> None:
    keys = ["train.net=nano", "train.batch_size=8", "train.max_minutes=60"]
    training = subprocess.Popen(
        command("--epochs", "4000", "--set", *keys),
        cwd=rendered,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(rendered.glob("work/train/.*.partial/checkpoint*")):
        assert training.poll() is None, training.communicate()[1]
        time.sleep(0.5)
    os.killpg(training.pid, signal.SIGINT)  # Ctrl-C
    _, told = training.communicate()
    assert training.returncode == 130, told
    assert told.split("\n") == ["", "interrupted: cancelling the run", ""]
    assert running(rendered) == {}
    database = f"file:{rendered}/.services/prefect/prefect.db?mode=ro"
    with closing(sqlite3.connect(database, uri=True)) as prefect:
        runs = prefect.execute("select state_type, state_name from flow_run").fetchall()
    assert runs == [("CANCELLED", "Cancelled")]
    assert list(rendered.glob("work/train/.*.partial/checkpoint*"))  # the next run goes on there
    assert not (rendered / "work/register").exists()
