"""``make release`` by its own command and servers: what it prints and how it ends."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.services import Ports, running
from tests.infra.releasing import (
    SMALL,
    candidate,
    command,
    ended,
    engine_rows,
    engine_runs,
    fill_device,
    fill_served,
    limits,
    services_up,
    worker_of,
)

pytestmark = pytest.mark.slow
CPU = ("--epochs", "2", "--targets", "cpu", "--set", *SMALL, "build.precisions=[fp32]")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, rendered_faces: Path) -> Iterator[Path]:
    """A project whose services run; the tests share what its stages have finished."""
    folder = tmp_path_factory.mktemp("served")
    fill_served(folder, rendered_faces)
    with services_up(folder):
        yield folder


def make(*pairs: str) -> list[str]:
    """``make release`` in an environment that is installed already.

    A make that another started, e.g. ``make test-slow``, prints its folder unless it is forbidden.
    """
    words = ["make", "--no-print-directory", "-o", "setup", "release", "EPOCHS=2", "TARGETS=cpu"]
    return [*words, f"SET={' '.join([*SMALL, 'build.precisions=[fp32]', *pairs])}"]


def test_make_release_ends_with_0_when_the_candidate_is_set(served: Path) -> None:
    done = ended(make(*limits("1000")), served)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "KPI on synthetic, part kpi: 115 faces of 23 subjects" in lines
    assert "Parity, px of the 80x80 crop" in lines
    assert "Engines, latency at batch 1" in lines
    assert engine_rows(done.stdout) == {"cpu/fp32": "ready"}
    (trained,) = [line for line in lines if line.startswith("trained ")]
    assert trained.startswith("trained nano, 857,648 parameters: ")
    assert " faces seen in 2 epochs, " in trained
    (registered,) = [line for line in lines if line.startswith("registered ")]
    *words, version = registered.split()
    assert words == ["registered", "fpenet-deployable", "version"]
    assert "gate: passed; it is now the candidate" in lines
    assert "gate: refused" not in lines
    assert candidate(served) == version
    word, report = lines[-1].split()
    assert word == "report"
    assert ": may be promoted</title>" in (served / report).read_text()
    assert running(served).keys() == {"prefect", "mlflow", "watcher", "worker"}  # they ran before


def test_a_release_that_the_gate_refused_ends_with_3(served: Path) -> None:
    before = candidate(served)
    done = ended(command(*CPU, *limits("0.001")), served)
    assert done.returncode == 3, done.stdout + done.stderr
    refused = done.stdout.partition("\ngate: refused\n")[2].splitlines()
    for line, region in zip(refused, ("all", "eyes", "mouth"), strict=False):
        assert line.startswith(f"  cpu/fp32: image_px/{region} is ")
        assert line.endswith("; must be below 0.001 (build/cpu/fp32.kpi.json)")
    assert refused[3] == "  required target cpu has no engine that passed the gate"
    assert candidate(served) == before
    by_make = ended(make(*limits("0.001")), served)
    assert by_make.returncode == 2  # as of every recipe that fails
    assert by_make.stderr.splitlines()[-1].endswith("release] Error 3")


def test_labels_that_a_stage_refuses_end_with_2_and_one_line(served: Path) -> None:
    before = candidate(served)
    (served / "empty").mkdir()
    done = ended(command("--labels", "empty"), served)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("release: data.labels: empty has no labels of a known format ")
    assert "registered" not in done.stdout
    assert candidate(served) == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--labels", "nowhere"],
            "release: data.labels: nowhere: no such folder or file",
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
        command("--epochs", "4000", "--targets", "cpu", "--set", *keys),
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


def test_a_worker_that_comes_late_builds_the_engine_and_the_next_release_has_it(
    served: Path, tmp_path: Path
) -> None:
    keys = [*SMALL, "build.precisions=[fp32,fp16]", *limits("1000")]
    words = command("--epochs", "2", "--targets", "cpu", "nano", "--set", *keys)
    first = ended(words, served)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "partial release, pending targets: nano" in first.stdout.splitlines()
    assert engine_rows(first.stdout) == {"cpu/fp32": "ready", "nano/fp16": "pending"}
    (waiting,) = engine_runs(served)
    assert waiting["state_type"] == "SCHEDULED"

    fill_device(tmp_path / "device", served)
    with worker_of("nano", tmp_path / "device", served):
        while (run := engine_runs(served)[0])["state_type"] in ("SCHEDULED", "PENDING", "RUNNING"):
            time.sleep(0.5)
    assert (run["id"], run["name"]) == (waiting["id"], "engine-nano-fp16")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]

    second = ended(words, served)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "partial release" not in second.stdout
    engines = {"cpu/fp32": "ready", "nano/fp16": "built, not judged"}  # no GPU was there to run it
    assert engine_rows(second.stdout) == engines
    assert [each["id"] for each in engine_runs(served)] == [waiting["id"]]
    (built,) = served.glob("work/engines/nano/build/*/nano/fp16.engine")
    (shipped,) = served.glob("work/bundle/*/nano/1/fp16.engine")
    assert shipped.read_bytes() == built.read_bytes()
