"""What the terminal shows of the stages of a run."""

import io

import pytest

from flows import stage_bars
from flows.request import PENDING_BUILD
from flows.stage_bars import StageBars
from infra.runs import TaskRunState


def lines_of(monkeypatch: pytest.MonkeyPatch, *task_runs: TaskRunState) -> list[str]:
    """The lines in a log file for these task runs."""
    monkeypatch.setattr(stage_bars, "read_task_runs", lambda _url, _run: list(task_runs))
    stream = io.StringIO()
    with StageBars(stream) as bars:
        bars.show("http://127.0.0.1:9", "run")
    return stream.getvalue().splitlines()


def test_an_engine_that_nobody_built_is_pending_and_not_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    todo = "no worker of pool nano is online; on the Jetson Nano: `prefect worker start`"
    lines = lines_of(
        monkeypatch,
        TaskRunState("engine nano/fp16", "CANCELLED", PENDING_BUILD, todo, 4.2, ""),
        TaskRunState("build", "COMPLETED", "Completed", "", 6.5, ""),
        TaskRunState("train", "FAILED", "Failed", "the loss is not finite", 1.0, ""),
    )
    assert lines == [
        "run        started",
        f"engine nano/fp16 pending: {todo}",
        "build      done in 6.5 s",
        "train      failed in 1.0 s",
    ]
