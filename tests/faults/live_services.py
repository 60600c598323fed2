"""The local services of a project: started, killed, paused at a file event."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.services import Ports, command_of, running
from tests.waiting import wait_for

PATIENCE_SECONDS = 600.0
PAUSE_HOOK = '''
import os
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

BREAKPOINT, REACHED = Path({breakpoint!r}), Path({reached!r})


def pause(event, arguments):
    """Pause at the file event that the breakpoint names, until the breakpoint is another one."""
    if event not in ("open", "os.mkdir") or not fnmatch(str(arguments[0]), {paths!r}):
        return
    try:
        text = BREAKPOINT.read_text()
    except FileNotFoundError:
        return
    expected_event, pattern, _name = text.split()
    if event == expected_event and fnmatch(str(arguments[0]), pattern):
        REACHED.with_suffix(".new").write_text(f"{{os.getpid()}} {{text}}")
        REACHED.with_suffix(".new").rename(REACHED)
        while BREAKPOINT.exists() and BREAKPOINT.read_text() == text:
            time.sleep(0.05)


sys.addaudithook(pause)
'''
"""``sitecustomize.py`` of every process of the services."""
START_WORKER = """
import os
from pathlib import Path
from infra.services import ports_in_use, start

start("worker", Path.cwd(), ports_in_use(Path.cwd(), os.environ))
"""
PATHS = "*[.]p[ae][rm]*"
"""Paths that a breakpoint may name: of unfinished stages (.partial) and of keys (.pem)."""


@dataclass(frozen=True)
class LiveServices:
    """The services of ``project``; the breakpoint of their processes is a file in ``hooks``."""

    project: Path
    ports: Ports
    hooks: Path

    def install_hook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the hook on the path of every process that starts from now on."""
        self.hooks.mkdir()
        files = {name: (self.hooks / name).as_posix() for name in ("breakpoint", "reached")}
        (self.hooks / "sitecustomize.py").write_text(PAUSE_HOOK.format(**files, paths=PATHS))
        monkeypatch.setenv("PYTHONPATH", self.hooks.as_posix(), prepend=os.pathsep)

    def up(self) -> None:
        """As ``make up``."""
        subprocess.run([sys.executable, "-m", "infra.local", "up"], cwd=self.project, check=True)

    def start_worker(self) -> None:
        """Start the worker alone, as ``make up`` does; the deployments are registered already."""
        subprocess.run([sys.executable, "-c", START_WORKER], cwd=self.project, check=True)

    def pause_at(self, event: str, pattern: str, name: str) -> None:
        """Pause the process that next has this event at such a path; resume every other one.

        Args:
            event: ``open`` or ``os.mkdir``, as Python audits them.
            name: of the breakpoint; one process may reach the same event and pattern again.
        """
        (self.hooks / "new").write_text(f"{event} {pattern} {name}")
        (self.hooks / "new").rename(self.hooks / "breakpoint")

    def resume(self) -> None:
        """Remove the breakpoint."""
        (self.hooks / "breakpoint").unlink()

    def paused(self) -> psutil.Process:
        """The process at the breakpoint, as soon as one has reached it."""
        return psutil.Process(wait_for(self._paused_pid, "a paused process", PATIENCE_SECONDS))

    def _paused_pid(self) -> int | None:
        reached = self.hooks / "reached"
        pid, _, text = reached.read_text().partition(" ") if reached.exists() else ("", "", "")
        return int(pid) if text and text == (self.hooks / "breakpoint").read_text() else None

    def kill(self, name: str) -> None:
        """SIGKILL all processes of a service; those of a worker are also its runs."""
        while processes := running(self.project).get(name):
            for process in processes:
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.1)

    def worker(self) -> int:
        """The process id of the worker itself, without its runs.

        Raises:
            StopIteration: it does not run.
        """
        words = command_of("worker", self.project, self.ports)[1:]
        processes = running(self.project).get("worker", [])
        return next(process.pid for process in processes if process.cmdline()[1:] == words)

    def create_run(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        """Create a run of a deployment; returns its id."""
        deployment_id = self._request(f"deployments/name/{deployment}")["id"]
        path = f"deployments/{deployment_id}/create_flow_run"
        return str(self._request(path, {"parameters": parameters})["id"])

    def state(self, run: str) -> dict[str, Any]:
        """The state of a run: type, name, message."""
        state: dict[str, Any] = self._request(f"flow_runs/{run}")["state"]
        return state

    def wait_state(self, run: str, *names: str) -> dict[str, Any]:
        """The state of a run, as soon as its name is one of ``names``."""

        def reached() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state["name"] in names else None

        return wait_for(reached, " or ".join(names), PATIENCE_SECONDS)

    def slots(self, deployment: str) -> tuple[int, int]:
        """The limit of runs of a deployment at a time, and the number of slots in use."""
        limit = self._request(f"deployments/name/{deployment}")["global_concurrency_limit"]
        return limit["limit"], limit["active_slots"]

    def _request(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of Prefect's API; repeated while SQLite is locked, as Prefect's clients do."""
        request = urllib.request.Request(
            f"{self.ports.prefect_url}/api/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )

        def answer() -> str:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return str(response.read(), "utf-8")
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                return ""

        return json.loads(wait_for(answer, f"an answer to {path}"))
