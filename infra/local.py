"""The local services, on loopback only: Prefect server, worker, MLflow, and promotion watcher.

Input: the folder of the project, and the ports in FPENET_{PREFECT,MLFLOW,WATCHER}_PORT. Does:
``python -m infra.local up | down | status``; state and logs are below ``.services/``. Output:
running services, with the deployments of prefect.yaml registered.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from fpenet.cli.services import ADDRESSES
from fpenet.core.errors import InputError
from fpenet.core.files import locked, write_whole
from fpenet.core.service_addresses import ServiceAddresses
from fpenet.provenance.digest import digest_file, digest_json
from infra.runs import ActiveRun, RunEnd, active_runs, end_mlflow_runs, end_runs
from infra.services import (
    POOL,
    SERVERS,
    Ports,
    environment,
    healthy,
    last_line,
    ports_in_use,
    require_free,
    running,
    services_folder,
    serving,
    start,
    stop,
    wait_healthy,
)

DEPLOY_SECONDS = 300.0
POOLS: dict[str, str | None] = {"watcher": None, "worker": POOL}
"""Service that runs flows -> the work pool of its runs; the watcher's have none."""
CONTINUES = " Start the run again; it reuses the finished stages in work/."


def up(root: Path, ports: Ports, keep_deployments: bool = False) -> list[str]:
    """Start the services that do not run, wait until they respond, and register the deployments.

    Runs whose service died without ending them are set to Crashed.

    Args:
        keep_deployments: do not register the deployments again where all services were running and
            the project's files have not changed since the deployments were registered.

    Returns:
        the services that this call started; empty if all were running.

    Raises:
        InputError: another program uses a port.
        RuntimeError: a service did not start; the services that this call started are stopped.
    """
    with locked(_lock_file(root)):
        already = serving(root, ports)
        remnants = [name for name in (*SERVERS, "worker") if name not in already]
        stop(root, remnants)  # processes that a stopped service has started
        for name in SERVERS:
            if name not in already:
                require_free(name, getattr(ports, name))
        started: list[str] = []

        def begin(names: Sequence[str]) -> None:
            for name in names:
                if name not in already:
                    start(name, root, ports)
                    started.append(name)

        try:
            begin(("prefect", "mlflow"))
            for name in ("prefect", "mlflow"):
                wait_healthy(name, root, ports)
            _end_dead_runs(ports, already)
            begin(("watcher",))
            if started or not keep_deployments or not _are_registered(root):
                register_deployments(root, ports)
            begin(("worker",))
            wait_healthy("watcher", root, ports)
        except BaseException:
            stop(root, started)
            raise
        _write_addresses(root, ports)
    return started


def _write_addresses(root: Path, ports: Ports) -> None:
    """Write the addresses of the services, by which the commands of this checkout find them."""
    addresses = ServiceAddresses(ports.prefect_url, ports.mlflow_url, ports.watcher_url)
    write_whole(root / ADDRESSES, addresses.text().encode(), f".{ADDRESSES.name}.partial")


def _end_dead_runs(ports: Ports, already: Collection[str]) -> None:
    """End the runs of the services that did not run: the process of such a run has ended too."""
    pools = [pool for name, pool in POOLS.items() if name not in already]
    message = "The process of this run ended while its service did not run." + CONTINUES
    try:
        if pools:
            runs = active_runs(ports.prefect_url, pools)
            end_runs(ports.prefect_url, runs, RunEnd.CRASHED, message)
        if "mlflow" not in already:
            end_mlflow_runs(ports.mlflow_url)
    except OSError as error:
        raise RuntimeError(f"the runs of stopped services were not ended: {error}") from None


def register_deployments(root: Path, ports: Ports) -> None:
    """Run ``flows.deploy`` of the project in a child process.

    Raises:
        RuntimeError: it failed, or took longer than DEPLOY_SECONDS.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flows.deploy"],
            cwd=root,
            env=os.environ | environment(root, ports),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEPLOY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"the deployments were not registered within {DEPLOY_SECONDS:g} s"
        ) from None
    if done.returncode:
        raise RuntimeError(f"the deployments were not registered: {last_line(done.stdout)}")
    _registered_file(root).write_text(_deployed_files(root), encoding="ascii")


def _are_registered(root: Path) -> bool:
    """Whether the deployments were registered from the files that the project has now."""
    file = _registered_file(root)
    return file.is_file() and file.read_text(encoding="ascii") == _deployed_files(root)


def _registered_file(root: Path) -> Path:
    return services_folder(root) / "prefect" / "registered"


def _deployed_files(root: Path) -> str:
    """Digest of the files from which ``flows.deploy`` registers deployments and automations."""
    flows = sorted((root / "flows").glob("*.py"))
    files = [root / "prefect.yaml", root / "params.yaml", *flows]
    return digest_json({path.name: digest_file(path) for path in files if path.is_file()})


def down(root: Path) -> list[str]:
    """Stop all services of this project and all their child processes; cancel their runs.

    Returns:
        the stopped services.
    """
    with locked(_lock_file(root)):
        (root / ADDRESSES).unlink(missing_ok=True)
        stopped = _stop_runs(root)
        return stopped + stop(root, SERVERS)


def _stop_runs(root: Path) -> list[str]:
    """Stop the services that run flows, and cancel their runs.

    Runs are cancelled before their processes are stopped, so that whoever follows them sees it, and
    again afterwards: a process that a signal ends sets its run to Crashed.
    """
    services = running(root).keys()
    ports = ports_in_use(root, os.environ) if "prefect" in services else None
    runs: dict[str, ActiveRun] = {}
    stopped: list[str] = []
    try:
        if ports is not None:
            _cancel_runs(ports, runs)
        stopped = stop(root, list(POOLS))
        if ports is not None:
            _cancel_runs(ports, runs)
        if ports is not None and "mlflow" in services:
            end_mlflow_runs(ports.mlflow_url)
    except OSError as error:
        print(f"down: the next `make up` ends the runs, because {error}", file=sys.stderr)
        stopped += stop(root, list(POOLS))
    return stopped


def _cancel_runs(ports: Ports, runs: dict[str, ActiveRun]) -> None:
    """Add the runs that are active now to ``runs``, and cancel all of these."""
    active = active_runs(ports.prefect_url, list(POOLS.values()))
    runs.update({run.id: run for run in active})
    message = "`make down` stopped the services." + CONTINUES
    end_runs(ports.prefect_url, list(runs.values()), RunEnd.CANCELLED, message)


def describe(root: Path, ports: Ports) -> str:
    """One line per service: its address and its state."""
    processes = running(root)
    lines: list[str] = []
    for name in (*SERVERS, "worker"):
        address = f"pool {POOL}" if name == "worker" else getattr(ports, f"{name}_url")
        if name not in processes:
            state = "stopped"
        elif name in SERVERS and not healthy(name, ports):
            state = "does not respond"
        else:
            state = f"running, process {processes[name][0].pid}"
        lines.append(f"{name:<8} {address:<24} {state}")
    return "\n".join(lines)


def _lock_file(root: Path) -> Path:
    """The lock that ``up`` and ``down`` hold while services start or stop."""
    state = services_folder(root)
    state.mkdir(exist_ok=True)
    return state / "lock"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a service did not start, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    command = parser.parse_args(arguments).command
    root = Path.cwd()
    try:
        ports = ports_in_use(root, os.environ)
        if command == "up":
            started = up(root, ports)
            print(f"started: {', '.join(started) or 'none, all services were running'}")
        elif command == "down":
            print(f"stopped: {', '.join(down(root)) or 'none, no service was running'}")
            return 0
        print(describe(root, ports))
    except InputError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
