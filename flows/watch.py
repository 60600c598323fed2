"""``fpenet release``, which ``make release`` runs: run the deployment and show its progress.

Input: the parameters of the run, as options. Does: starts the local services if they do not run,
runs the deployment, shows one bar per stage, and stops the services that it started. Output: the
tables of the release, or with ``--json`` its release.json on stdout; and the exit status: 0 the
candidate is set, 3 the gate refused, 2 bad input, 1 any other failure, 130 interrupted.
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

if TYPE_CHECKING:  # importing Prefect reads its settings, which main sets first
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from flows.stage_bars import StageBars

DEPLOYMENT = "fpenet/train-and-release"
DONE, FAILED, BAD_INPUT, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
POLL_SECONDS = 0.5
CANCEL_SECONDS = 45.0
"""Longer than the 30 s that a worker waits between SIGTERM and SIGKILL."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a release; returns the exit status."""
    root = Path.cwd()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        parameters = _parameters(arguments)
        json_output = sys.stdout if parameters.pop("json") else None
        requested_params(**parameters)  # report bad input before any server starts
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
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not skip the cleanup
        if started:
            with redirect_stdout(sys.stderr) if json_output else nullcontext():
                _stop_services(root)
    return status


def _parameters(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="fpenet release", description=__doc__)
    parser.add_argument("--labels", help="folder, label file or s3://bucket/prefix of a data set")
    parser.add_argument("--preset", help="name of a file in presets/")
    parser.add_argument("--epochs", type=int, help="replaces train.epochs")
    parser.add_argument("--targets", nargs="+", help="replaces build.targets")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="new values for keys"
    )
    parser.add_argument("--json", action="store_true", help="print release.json")
    options = parser.parse_args(arguments)
    values = vars(options) | {"overrides": parse_overrides(options.set) or None}
    return {name: value for name, value in values.items() if name != "set" and value is not None}


def run_deployment(
    root: Path, ports: Ports, parameters: dict[str, Any], json_output: TextIO | None = None
) -> int:
    """Start one run, show its progress, and print its outcome; returns the exit status.

    Args:
        json_output: the release is also written to it, as JSON.
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
    return _print_outcome(run, ports, json_output)


def _follow(
    client: "SyncPrefectClient", run: "FlowRun", bars: "StageBars", root: Path, ports: Ports
) -> "FlowRun":
    """Show the progress of the run until it has ended, or until no worker runs any more."""
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
    """Cancel the run, and wait until its worker has set the state Cancelled.

    Before that, the process of the run, which SIGTERM ends, sets the state Crashed.
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


def _print_outcome(run: "FlowRun", ports: Ports, json_output: TextIO | None) -> int:
    """Print the outcome of the run; returns the exit status."""
    from rich.console import Console
    from rich.table import Table

    from flows.summary import RunResult, tables_of, verdict_of
    from flows.train_and_release import BAD_INPUT_STATE

    state = run.state
    if state is None or not state.is_completed():
        bad_input = state is not None and state.name == BAD_INPUT_STATE
        no_worker = "the worker has stopped; see .services/worker/log.txt"
        message = (state.message if state and state.is_final() else no_worker) or ""
        name = "" if bad_input or state is None else f"{state.name}: "
        print(f"release: {name}{message}", file=sys.stderr)
        return BAD_INPUT if bad_input else FAILED
    result = state.result()
    release = RunResult.from_tree(result, f"the result of run {run.name}")
    if json_output:
        print(json.dumps(result, indent=1), file=json_output)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for table in tables_of(release):
        console.print(f"\n{table.title}", markup=False)
        terminal_table = Table(*table.header)
        for cells in table.rows:
            terminal_table.add_row(*cells)
        console.print(terminal_table)
    console.print(f"\n{verdict_of(release)}", markup=False)
    for name, address in (
        ("MLflow", ports.mlflow_url),
        ("Prefect", f"{ports.prefect_url}/runs/flow-run/{run.id}"),
        ("report", release.report),
    ):
        console.print(f"{name:<8} {address}", markup=False)
    return DONE if release.candidate else REFUSED


def _stop_services(root: Path) -> None:
    """Stop the services that this command started, unless another flow run uses them."""
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
            busy_runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=busy))
            )
    except Exception as error:  # without a server there is no other flow run
        print(f"release: the Prefect server does not respond: {error}", file=sys.stderr)
        busy_runs = []
    if busy_runs:
        print(f"{len(busy_runs)} other run(s) use the services; `make down` stops the services")
        return
    down(root)
    print("the services that this run started are stopped; `make up` starts them again")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
