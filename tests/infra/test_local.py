"""The services of one machine, the real ones: up, up again, a port taken, a server lost, down."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra import local as local_services
from infra import services
from infra.services import Ports, chosen_ports, healthy, ports_in_use, require_free, running
from tests.promoting import Promoting
from tests.waiting import wait_for


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


def is_answered(gate: Promoting, version: str, words: str) -> None:
    """Set the alias on a version; its page then begins with ``words`` and version 1 has it."""
    gate.request(version)
    wait_for(lambda: gate.page(version).description.startswith(words), f"the page has {words!r}")
    wait_for(lambda: gate.alias == "1", "version 1 has the alias")
    assert gate.pointer.version == "1"


def promotions_are_answered(gate: Promoting, project: Path) -> None:
    """Set the alias on a good and on a refused version of the services, and see what comes."""
    is_answered(gate, "1", "Made deployable (")
    is_answered(gate, "2", "Promotion refused: too far off (")
    assert "too far off" in gate.page("2").tags["fpenet.promotion"]
    log = (project / ".services/watcher/log.txt").read_text()
    assert f"event: the alias deployable of {gate.model} changed" in log
    secret = (project / ".services/watcher/secret").read_text()
    assert secret not in log


@pytest.mark.slow
def test_services_start_once_answer_promotions_come_back_and_leave_nothing(
    project: Path, ports: Ports, release_two: Callable[[], Promoting]
) -> None:
    said = local(project, "up")
    assert said[0] == "started: prefect, mlflow, watcher, worker"
    assert [line.split()[0] for line in said[1:]] == ["prefect", "mlflow", "watcher", "worker"]
    assert all("running, process" in line for line in said[1:])
    assert healthy("prefect", ports)
    assert healthy("mlflow", ports)
    assert healthy("watcher", ports)
    listed = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "ls"],
        cwd=project,
        env=os.environ | {"PREFECT_API_URL": f"{ports.prefect_url}/api", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "fpenet/train-and-release" in listed

    promotions_are_answered(release_two(), project)

    pids = {name: found[0].pid for name, found in running(project).items()}
    assert local(project, "up")[0] == "started: none, all services were running"
    assert {name: found[0].pid for name, found in running(project).items()} == pids
    assert ports_in_use(project, {}) == ports  # found by any shell, with no variable set

    psutil.Process(pids["mlflow"]).kill()
    assert local(project, "up")[0] == "started: mlflow"

    left = [process.pid for found in running(project).values() for process in found]
    assert len(left) >= 4
    assert local(project, "down")[0] == "stopped: watcher, worker, prefect, mlflow"
    assert not [pid for pid in left if is_alive(pid)]
    assert running(project) == {}
    for name in ("prefect", "mlflow", "watcher"):
        require_free(name, getattr(ports, name))
    assert local(project, "down") == ["stopped: none, no service was running"]


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
        " (Address already in use); stop the program that uses it, or set"
        " FPENET_MLFLOW_PORT to another port"
    ]
    assert running(project) == {}


def test_deployments_that_do_not_come_and_services_that_do_not_end_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/deploy.py").write_text("import time\n\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(local_services, "DEPLOY_SECONDS", 0.5)
    with pytest.raises(RuntimeError, match=r"deployments were not registered within 0\.5 s"):
        local_services.register_deployments(tmp_path, Ports(1, 2, 3))

    mark = {services.MARK: f"{services.services_folder(tmp_path)}:watcher"}
    sleep = ["sleep", "600"]
    with subprocess.Popen(sleep, env=os.environ | mark) as process:
        try:
            # No process of a test can outlive SIGKILL; the signals stay away instead.
            monkeypatch.setattr(services, "_signal", lambda *_: None)
            monkeypatch.setattr(services, "STOP_SECONDS", 0.2)
            monkeypatch.setattr(services, "KILL_SECONDS", 0.2)
            with pytest.raises(
                RuntimeError, match=f"watcher service does not stop.*are {process.pid}"
            ):
                services.stop(tmp_path, ["watcher"])
        finally:
            process.kill()


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_named(value: str) -> None:
    with pytest.raises(ValueError, match=f"FPENET_PREFECT_PORT is '{value}'; it must be a port"):
        chosen_ports({"FPENET_PREFECT_PORT": value})


def test_two_servers_cannot_share_a_port() -> None:
    with pytest.raises(
        ValueError, match="FPENET_PREFECT_PORT and FPENET_MLFLOW_PORT are both 5000"
    ):
        chosen_ports({"FPENET_PREFECT_PORT": "5000"})
    with pytest.raises(
        ValueError, match="FPENET_PREFECT_PORT and FPENET_WATCHER_PORT are both 4200"
    ):
        chosen_ports({"FPENET_WATCHER_PORT": "4200"})
