"""The services of one machine, the real ones: up, up again, a port taken, a server lost, down."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.services import Ports, chosen_ports, healthy, ports_in_use, require_free, running


def local(project: Path, command: str) -> list[str]:
    """The lines that one command printed; the services are no children of this process."""
    done = subprocess.run(
        [sys.executable, "-m", "infra.local", command],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not yet reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_services_start_once_come_back_and_leave_nothing(project: Path, ports: Ports) -> None:
    said = local(project, "up")
    assert said[0] == "started: prefect, mlflow, worker"
    assert [line.split()[0] for line in said[1:]] == ["prefect", "mlflow", "worker"]
    assert all("running, process" in line for line in said[1:])
    assert healthy("prefect", ports)
    assert healthy("mlflow", ports)
    listed = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "ls"],
        cwd=project,
        env=os.environ | {"PREFECT_API_URL": f"{ports.prefect_url}/api", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "fpenet/train-and-release" in listed

    pids = {name: found[0].pid for name, found in running(project).items()}
    assert local(project, "up")[0] == "started: nothing, all services ran already"
    assert {name: found[0].pid for name, found in running(project).items()} == pids
    assert ports_in_use(project, {}) == ports  # found by any shell, with no variable set

    psutil.Process(pids["mlflow"]).kill()
    assert local(project, "up")[0] == "started: mlflow"

    left = [process.pid for found in running(project).values() for process in found]
    assert len(left) >= 3
    assert local(project, "down")[0] == "stopped: worker, prefect, mlflow"
    assert not [pid for pid in left if is_alive(pid)]
    assert running(project) == {}
    for name in ("prefect", "mlflow"):
        require_free(name, getattr(ports, name))
    assert local(project, "down") == ["stopped: nothing, no service ran"]


def test_a_port_taken_is_one_line_and_starts_nothing(project: Path, ports: Ports) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.mlflow))
        other.listen()
        done = subprocess.run(
            [sys.executable, "-m", "infra.local", "up"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"up: port {ports.mlflow} on 127.0.0.1, for the mlflow server, is not free"
        " (Address already in use); stop the program that has it, or choose another:"
        " FPENET_MLFLOW_PORT=..."
    ]
    assert running(project) == {}


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_named(value: str) -> None:
    with pytest.raises(ValueError, match=f"FPENET_PREFECT_PORT is '{value}'; it must be a port"):
        chosen_ports({"FPENET_PREFECT_PORT": value})


def test_two_servers_cannot_share_a_port() -> None:
    with pytest.raises(ValueError, match="are both 5000"):
        chosen_ports({"FPENET_PREFECT_PORT": "5000"})
