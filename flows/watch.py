"""``fpenet release``, which ``make release`` runs: one run of the deployment, with its progress.

Input: the run's parameters, as options. Does: starts the local services where none run, runs the
deployment, draws a bar a stage, stops the services again if it started them. Output: the tables of
the release, or with ``--json`` its release.json on stdout, and the exit status: 0 candidate set,
3 the gate refused, 2 bad input, 1 any other failure, 130 interrupted.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from flows.request import requested_params
from fpenet.cli.command import parse_overrides
from fpenet.core.errors import InputError
from infra.local import down, up
from infra.services import Ports, environment, ports_in_use, serving

if TYPE_CHECKING:  # Prefect reads its settings when it is imported: main sets them first
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from flows.stage_bars import StageBars

DEPLOYMENT = "fpenet/train-and-release"
DONE, FAILED, BAD_INPUT, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
POLL_SECONDS = 0.5
CANCEL_SECONDS = 45.0
"""More than the 30 that a worker gives a run between SIGTERM and SIGKILL."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all; returns the exit status."""
    root = Path.cwd()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        parameters = _parameters(arguments)
        json_output = sys.stdout if parameters.pop("json") else None
        requested_params(**parameters)  # bad input is told before any server starts
        ports = ports_in_use(root, os.environ)
        os.environ.update(environment(root, ports))
        with redirect_stdout(sys.stderr) if json_output else nullcontext():
            started = up(root, ports)
    except InputError as error:
        print(f"release: {error}", file=sys.stderr)
        return BAD_INPUT
    except RuntimeError as error:
        print(f"release: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("release: interrupted", file=sys.stderr)
        return INTERRUPTED
    status = FAILED
    try:
        with redirect_stdout(sys.stderr) if json_output else nullcontext():
            status = run_deployment(root, ports, parameters, json_output)
    except KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing is left behind, however impatient
        if started:
            with redirect_stdout(sys.stderr) if json_output else nullcontext():
                _stop_services(root)
    return status


def _parameters(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="fpenet release", description=__doc__)
    parser.add_argument("--labels", help="folder, label file or s3://bucket/prefix of a data set")
    parser.add_argument("--preset", help="a file of presets/, by name")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--targets", nargs="+", help="instead of build.targets")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true", help="print the release as JSON")
    options = parser.parse_args(arguments)
    given = vars(options) | {"overrides": parse_overrides(options.set) or None}
    return {name: value for name, value in given.items() if name != "set" and value is not None}


def run_deployment(
    root: Path, ports: Ports, parameters: dict[str, Any], json_output: TextIO | None = None
) -> int:
    """Start one run, follow it to its end, print the outcome; returns the exit status.

    The release goes to ``json_output`` too, as JSON.
    """
    from prefect.client.orchestration import get_client

    from flows.stage_bars import StageBars

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        print(f"run {run.name}: {ports.prefect_url}/runs/flow-run/{run.id}", flush=True)
        try:
            with StageBars(sys.stdout) as bars:
                run = _follow(client, run, bars, root, ports)
        except KeyboardInterrupt:
            _cancel(client, run)
            raise
    return _tell(run, ports, json_output)


def _follow(
    client: "SyncPrefectClient", run: "FlowRun", bars: "StageBars", root: Path, ports: Ports
) -> "FlowRun":
    """Show the run until it has ended, or until no worker is left to run it."""
    worker_seen = time.monotonic()
    while not (run.state and run.state.is_final()):
        time.sleep(POLL_SECONDS)
        run = client.read_flow_run(run.id)
        bars.show(client, run)
        if "worker" in serving(root, ports):
            worker_seen = time.monotonic()
        elif time.monotonic() > worker_seen + 5.0:
            break
    return run


def _cancel(client: "SyncPrefectClient", run: "FlowRun") -> None:
    """Cancel the run, and wait until its worker has recorded that.

    The process of the run, which SIGTERM ends, records it as crashed; the worker then records it as
    cancelled.
    """
    from prefect.states import Cancelling

    print("\ninterrupted: cancelling the run", file=sys.stderr)
    client.set_flow_run_state(run.id, Cancelling())
    end = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < end:
        state = client.read_flow_run(run.id).state
        if state and state.is_final() and not state.is_crashed():
            return
        time.sleep(POLL_SECONDS)


def _tell(run: "FlowRun", ports: Ports, json_output: TextIO | None) -> int:
    """Print how the run ended; returns the exit status."""
    from rich.console import Console
    from rich.table import Table

    from flows.summary import RunResult, tables_of, verdict_of
    from flows.train_and_release import BAD_INPUT_STATE

    state = run.state
    if state is None or not state.is_completed():
        bad_input = state is not None and state.name == BAD_INPUT_STATE
        lost = "no worker is left that runs it; .services/worker/log.txt may say why"
        said = (state.message if state and state.is_final() else lost) or ""
        name = "" if bad_input or state is None else f"{state.name}: "
        print(f"release: {name}{said}", file=sys.stderr)
        return BAD_INPUT if bad_input else FAILED
    result = state.result()
    release = RunResult.from_tree(result, f"the result of run {run.name}")
    if json_output:
        print(json.dumps(result, indent=1), file=json_output)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for table in tables_of(release):
        console.print(f"\n{table.title}", markup=False)
        drawn = Table(*table.header)
        for cells in table.rows:
            drawn.add_row(*cells)
        console.print(drawn)
    console.print(f"\n{verdict_of(release)}", markup=False)
    for name, where in (
        ("MLflow", ports.mlflow_url),
        ("Prefect", f"{ports.prefect_url}/runs/flow-run/{run.id}"),
        ("report", release.report),
    ):
        console.print(f"{name:<8} {where}", markup=False)
    return DONE if release.candidate else REFUSED


def _stop_services(root: Path) -> None:
    """Stop the services that this command started, unless another run needs them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    busy = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    try:
        with get_client(sync_client=True) as client:
            others = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=busy))
            )
    except Exception as error:  # a server that is gone has no run to spare
        print(f"release: the Prefect server does not answer: {error}", file=sys.stderr)
        others = []
    if others:
        print(f"the services stay up for {len(others)} other run(s); `make down` stops them")
        return
    down(root)
    print("the services that this run started are stopped; `make up` brings their pages back")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
