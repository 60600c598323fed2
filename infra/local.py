"""The local services, on loopback only: Prefect server, worker, MLflow, and promotion watcher.

Input: the folder of the project, and the ports in FPENET_{PREFECT,MLFLOW,WATCHER}_PORT. Does:
``python -m infra.local up | down | status``; state and logs are below ``.services/``. Output:
running services, with the deployments of prefect.yaml registered.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.files import locked
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


def up(root: Path, ports: Ports) -> list[str]:
    """Start the services that do not run, wait until they respond, and register the deployments.

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
            begin(("watcher",))
            register_deployments(root, ports)
            begin(("worker",))
            wait_healthy("watcher", root, ports)
        except BaseException:
            stop(root, started)
            raise
    return started


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


def down(root: Path) -> list[str]:
    """Stop all services of this project and all their child processes.

    Returns:
        the stopped services.
    """
    with locked(_lock_file(root)):
        return stop(root, [*SERVERS, "worker"])


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
