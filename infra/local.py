"""The services of one machine, on loopback only: Prefect, a worker, MLflow, and the gate.

input: the project's folder, and the ports in FPENET_{PREFECT,MLFLOW,GATE}_PORT.
does: ``python -m infra.local up | down | status``; state and logs lie below ``.services/``.
output: servers that answer, with the deployments of prefect.yaml registered.
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
    """Start what does not run yet, wait until all of it answers, and register the deployments.

    Returns:
        the services that this call started; empty when all ran already.

    Raises:
        InputError: a port is taken by another program.
        RuntimeError: a service did not start; what this call started is stopped again.
    """
    with locked(_lock_file(root)):
        already = serving(root, ports)
        stop(root, [name for name in (*SERVERS, "worker") if name not in already])  # remnants
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
            begin(("gate",))
            register_deployments(root, ports)
            begin(("worker",))
            wait_healthy("gate", root, ports)
        except BaseException:
            stop(root, started)
            raise
    return started


def register_deployments(root: Path, ports: Ports) -> None:
    """Run ``flows.deploy`` of the project, in a process of its own.

    Raises:
        RuntimeError: it failed, or did not end within DEPLOY_SECONDS.
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
    """Stop all services of this project with everything that they started.

    Returns:
        the services that were stopped.
    """
    with locked(_lock_file(root)):
        return stop(root, [*SERVERS, "worker"])


def describe(root: Path, ports: Ports) -> str:
    """One line a service: where it is and whether it answers."""
    found = running(root)
    lines: list[str] = []
    for name in (*SERVERS, "worker"):
        where = f"pool {POOL}" if name == "worker" else getattr(ports, f"{name}_url")
        if name not in found:
            state = "stopped"
        elif name in SERVERS and not healthy(name, ports):
            state = "does not answer"
        else:
            state = f"running, process {found[name][0].pid}"
        lines.append(f"{name:<8} {where:<24} {state}")
    return "\n".join(lines)


def _lock_file(root: Path) -> Path:
    """Held while the services of ``root`` start or stop."""
    state = services_folder(root)
    state.mkdir(exist_ok=True)
    return state / "lock"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 a service did not start, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    command = parser.parse_args(arguments).command
    root = Path.cwd()
    try:
        ports = ports_in_use(root, os.environ)
        if command == "up":
            started = up(root, ports)
            print(f"started: {', '.join(started) or 'nothing, all services ran already'}")
        elif command == "down":
            print(f"stopped: {', '.join(down(root)) or 'nothing, no service ran'}")
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
