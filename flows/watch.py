"""``fpenet release``, which ``make release`` runs: run the deployment and show its progress.

Input: the parameters of the run, as options. Does: starts the local services if they do not run,
runs the deployment, shows one bar per stage, and stops the services that it started. Prefect is not
imported, because that takes seconds. Output: the tables of the release, or with ``--json`` its
release.json on stdout; and the exit status: 0 the candidate is set, 3 the gate refused, 2 bad
input, 1 any other failure, 130 interrupted.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from flows.request import BAD_INPUT_STATE, SUMMARIES, requested_params
from fpenet.cli.command import parse_overrides
from fpenet.core.errors import InputError
from infra.local import down, register_deployments, up
from infra.runs import FlowRunState, active_runs, cancel_run, create_run, read_run
from infra.services import Ports, environment, ports_in_use, running, serving

if TYPE_CHECKING:
    from flows.stage_bars import StageBars

DEPLOYMENT = "fpenet/train-and-release"
DONE, FAILED, BAD_INPUT, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
POLL_SECONDS = 0.5
WORKER_SECONDS, SERVER_SECONDS = 5.0, 60.0
"""Longest time without a worker, and without a Prefect server, that may have been restarted."""
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
            started = up(root, ports, keep_deployments=True)
    except InputError as error:
        print(f"release: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"release: {error}; a release writes into the checkout", file=sys.stderr)
        return BAD_INPUT if isinstance(error, PermissionError) else FAILED
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
                _stop_services(root, ports)
    return status


def _parameters(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="fpenet release", description=__doc__)
    parser.add_argument("--labels", help="folder, label file or s3://bucket/prefix of a data set")
    parser.add_argument("--preset", help="name of a file in presets/")
    parser.add_argument("--epochs", type=int, help="replaces train.epochs")
    parser.add_argument("--targets", action="extend", nargs="+", help="replaces build.targets")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="new values for keys",
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
    from flows.stage_bars import StageBars

    url = ports.prefect_url
    try:
        try:
            run = create_run(url, DEPLOYMENT, parameters)
        except LookupError:  # somebody deleted it
            register_deployments(root, ports)
            run = create_run(url, DEPLOYMENT, parameters)
    except (LookupError, OSError, RuntimeError) as error:
        print(f"release: the run was not created: {error}", file=sys.stderr)
        return FAILED
    print(f"run {run.name}: {url}/runs/flow-run/{run.id}", flush=True)
    try:
        with StageBars(sys.stdout) as bars:
            run = _follow(run, bars, root, ports)
    except KeyboardInterrupt:
        _cancel(url, run)
        raise
    return _print_outcome(run, root, ports, json_output)


def _follow(run: FlowRunState, bars: "StageBars", root: Path, ports: Ports) -> FlowRunState:
    """Show the progress of the run until it has ended, or until its services have stopped."""
    seen = {"worker": time.monotonic(), "prefect": time.monotonic()}
    while not run.is_final:
        time.sleep(POLL_SECONDS)
        with suppress(OSError):  # a server that has stopped, or answers late
            run = read_run(ports.prefect_url, run.id)
            bars.show(ports.prefect_url, run.id)
        now = time.monotonic()
        seen |= dict.fromkeys(serving(root, ports) & seen.keys(), now)
        if now > seen["worker"] + WORKER_SECONDS or now > seen["prefect"] + SERVER_SECONDS:
            break
    return run


def _cancel(prefect_url: str, run: FlowRunState) -> None:
    """Cancel the run, and wait until its worker has set the state Cancelled.

    Before that, the process of the run, which SIGTERM ends, sets the state Crashed.
    """
    print("\ninterrupted: cancelling the run", file=sys.stderr)
    with suppress(OSError):  # without a server no worker can be asked
        cancel_run(prefect_url, run.id)
        end = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < end:
            state = read_run(prefect_url, run.id)
            if state.is_final and state.type != "CRASHED":
                return
            time.sleep(POLL_SECONDS)


def _print_outcome(run: FlowRunState, root: Path, ports: Ports, json_output: TextIO | None) -> int:
    """Print the outcome of the run; returns the exit status."""
    from rich.console import Console
    from rich.table import Table

    from flows.summary import RunResult, tables_of, verdict_of

    if run.type != "COMPLETED":
        bad_input = run.state == BAD_INPUT_STATE
        stopped = "the services stopped before the run had ended; see .services/worker/log.txt"
        name = "" if bad_input else f"{run.state}: "
        line = f"{name}{run.message}" if run.is_final else stopped
        print(f"release: {line}", file=sys.stderr)
        return BAD_INPUT if bad_input else FAILED
    release = RunResult.read(root / SUMMARIES / f"{run.name}.json")
    if json_output:
        print(json.dumps(release.tree(), indent=1), file=json_output)
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


def _stop_services(root: Path, ports: Ports) -> None:
    """Stop the services that this command started, unless another flow run uses them."""
    if not running(root):
        return  # `make down` was faster
    try:
        busy_runs = active_runs(ports.prefect_url)
    except OSError:  # without a server there is no other run
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
