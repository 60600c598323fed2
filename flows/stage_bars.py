"""Progress of a flow run: one bar per stage, with rate and remaining time.

Input: the task runs and the progress artifacts of the run. Output: live bars on a terminal, plain
lines in a log file.
"""

import re
import time
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from flows.request import PENDING_BUILD
from infra.runs import TaskRunState, read_task_runs

SECONDS_BETWEEN_LINES = 15.0
_RECORD = re.compile(r"^(?P<done>\d+)/(?P<total>\d+) (?P<unit>\S+)(?P<metrics>.*)$")


@dataclass(frozen=True, slots=True)
class StageProgress:
    """Progress of one stage: ``done`` of ``total`` ``unit``, e.g. steps; ``metrics`` is text."""

    done: int
    total: int
    unit: str
    metrics: str


def parse_progress(text: str) -> StageProgress | None:
    """Parse the message of a progress record; None where it is another text.

    >>> parse_progress("30/600 steps loss=0.5")
    StageProgress(done=30, total=600, unit='steps', metrics='loss=0.5')
    """
    record = _RECORD.match(text)
    if record is None:
        return None
    counts = int(record["done"]), int(record["total"])
    return StageProgress(*counts, record["unit"], record["metrics"].strip())


def describe_progress(progress: StageProgress, seconds: float, first: int = 0) -> str:
    """The progress with its rate and the remaining time.

    Args:
        seconds: time since ``done`` was ``first``.

    >>> describe_progress(StageProgress(30, 90, "faces", ""), 10.0)
    '30/90 faces, 3 faces/s, 0:20 left'
    """
    words = [f"{progress.done}/{progress.total} {progress.unit}"]
    if progress.done > first and seconds > 0:
        rate = (progress.done - first) / seconds
        rest = round((progress.total - progress.done) / rate)
        words += [f"{rate:.3g} {progress.unit}/s", f"{rest // 60}:{rest % 60:02d} left"]
    return ", ".join([*words, progress.metrics] if progress.metrics else words)


class StageBars:
    """Shows the stages of a flow run; a context manager, which restores the terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[message]}", markup=False),
            console=self._console,
            disable=not self._live,
        )
        self._rows: dict[str, TaskID] = {}
        self._first: dict[str, tuple[int, float]] = {}  # a resumed stage does not start at 0
        self._last: dict[str, str] = {}
        self._next_line: dict[str, float] = {}

    def __enter__(self) -> "StageBars":
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def show(self, prefect_url: str, run_id: str) -> None:
        """Read the stages of the run and their progress, and show them.

        Raises:
            OSError: the server does not respond.
        """
        task_runs = read_task_runs(prefect_url, run_id)
        if not task_runs:
            self._show_row("run", "waiting for a worker", 0.0)
        else:
            self._show_row("run", "started", 1.0)
        for task_run in task_runs:
            self._show_stage(task_run, parse_progress(task_run.progress))

    def _show_stage(self, task_run: TaskRunState, progress: StageProgress | None) -> None:
        seconds = task_run.seconds
        if task_run.state == PENDING_BUILD:
            self._show_row(task_run.name, f"pending: {task_run.message}", 0.0)
        elif task_run.is_final:
            words = "done" if task_run.type == "COMPLETED" else task_run.state.lower()
            self._show_row(task_run.name, f"{words} in {seconds:.1f} s", 1.0)
        elif progress is None:
            self._show_row(task_run.name, f"{seconds:.0f} s", None, brief=True)
        else:
            done, since = self._first.setdefault(task_run.name, (progress.done, seconds))
            message = describe_progress(progress, seconds - since, done)
            fraction = progress.done / progress.total if progress.total else 0.0
            self._show_row(task_run.name, message, fraction, brief=True)

    def _show_row(
        self, name: str, message: str, fraction: float | None, brief: bool = False
    ) -> None:
        """Update one bar; in a log file, print a line if the message is new.

        Args:
            fraction: finished share of the stage; None: unknown.
            brief: in a log file, print at most one line in SECONDS_BETWEEN_LINES.
        """
        if name not in self._rows:
            self._rows[name] = self._bars.add_task(name, total=None, message="")
        self._bars.update(
            self._rows[name],
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            message=message,
        )
        if self._live or self._last.get(name) == message:
            return
        now = time.monotonic()
        if brief and now < self._next_line.setdefault(name, now + SECONDS_BETWEEN_LINES / 3):
            return
        self._last[name] = message
        self._next_line[name] = now + SECONDS_BETWEEN_LINES
        self._console.print(f"{name:<10} {message}", markup=False, soft_wrap=True)
