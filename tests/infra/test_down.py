"""`make down`, and services that die, during a release: no run stays Running."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from infra.services import Ports, running
from tests.infra.releasing import command

pytestmark = pytest.mark.slow
LONG = ("train.net=nano", "train.batch_size=8", "train.max_minutes=60")


@contextmanager
def training(project: Path) -> Iterator[subprocess.Popen[str]]:
    """`fpenet release` of the project, in the middle of its training."""
    words = command("--epochs", "4000", "--targets", "cpu", "--set", *LONG)
    with subprocess.Popen(
        words, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as release:
        try:
            while not (
                list(project.glob("work/train/.*.partial/checkpoint*"))
                and states(project)["mlflow"] == {"RUNNING"}
            ):
                assert release.poll() is None, release.communicate()[1]
                time.sleep(0.5)
            yield release
        finally:
            if release.poll() is None:
                release.kill()


def local(project: Path, word: str) -> None:
    subprocess.run([sys.executable, "-m", "infra.local", word], cwd=project, check=True)


def states(project: Path) -> dict[str, set[str]]:
    """The states of all flow runs, of all task runs, and of MLflow's runs, from the databases."""
    queries = {
        "flow": ("prefect/prefect.db", "select state_name from flow_run"),
        "unfinished tasks": (
            "prefect/prefect.db",
            "select state_name from task_run where state_type in ('RUNNING', 'PENDING')",
        ),
        "mlflow": ("mlflow/mlflow.db", "select status from runs"),
    }
    rows: dict[str, set[str]] = {}
    for name, (file, query) in queries.items():
        database = f"file:{project}/.services/{file}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as connection:
            rows[name] = {row[0] for row in connection.execute(query)}
    return rows


def test_down_cancels_the_release_and_its_watcher_ends_with_one_line(
    rendered: Path, ports: Ports
) -> None:
    with training(rendered) as release:
        local(rendered, "down")
        _, error = release.communicate()
    assert release.returncode == 1
    assert len(error.splitlines()) == 1, error
    assert error.startswith("release: ")
    assert "stopped" in error
    assert running(rendered) == {}
    ended = {"flow": {"Cancelled"}, "unfinished tasks": set(), "mlflow": {"KILLED"}}
    assert states(rendered) == ended
    assert not (rendered / ".services/addresses.json").exists()


def test_services_that_were_killed_leave_a_run_that_the_next_up_ends(
    rendered: Path, ports: Ports
) -> None:
    with training(rendered) as release:
        while left := [process for of_one in running(rendered).values() for process in of_one]:
            for process in left:  # as when the machine loses its power
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.1)
        _, error = release.communicate()
    assert release.returncode == 1
    stopped = "the services stopped before the run had ended; see .services/worker/log.txt"
    assert error == f"release: {stopped}\n"
    assert states(rendered)["flow"] == {"Running"}
    local(rendered, "up")
    ended = {"flow": {"Crashed"}, "unfinished tasks": set(), "mlflow": {"KILLED"}}
    assert states(rendered) == ended
