"""The processes behind the local services: where they listen, how each starts, is found and ends.

Each process carries the name of its service in its environment, and so does all that it starts.
That is how a running service is found again, by any shell, and how nothing is left behind: there
are no process id files to go stale.
"""

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from fpenet.cli.environment import thread_settings
from fpenet.core.errors import InputError

HOST = "127.0.0.1"
MARK = "FPENET_SERVICE"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
KILL_SECONDS = 30.0
SERVERS = ("prefect", "mlflow", "gate")
"""What answers over HTTP, in the order in which it starts; the worker does not."""
POOL = "fpenet"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen on 127.0.0.1."""

    prefect: int
    mlflow: int
    gate: int

    @property
    def prefect_url(self) -> str:
        return f"http://{HOST}:{self.prefect}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{HOST}:{self.mlflow}"

    @property
    def gate_url(self) -> str:
        return f"http://{HOST}:{self.gate}"


_USUAL = {"FPENET_PREFECT_PORT": "4200", "FPENET_MLFLOW_PORT": "5000", "FPENET_GATE_PORT": "5001"}


def chosen_ports(environ: Mapping[str, str]) -> Ports:
    """The ports that the environment asks for, or 4200, 5000 and 5001.

    Raises:
        InputError: a port that is not a number from 1 to 65535, or the same one twice.
    """
    found: dict[int, str] = {}
    for name, usual in _USUAL.items():
        text = environ.get(name) or usual
        if not (text.isdecimal() and 1 <= int(text) <= 65535):
            raise InputError(f"{name} is {text!r}; it must be a port from 1 to 65535")
        if int(text) in found:
            raise InputError(f"{found[int(text)]} and {name} are both {int(text)}")
        found[int(text)] = name
    return Ports(*found)


def environment(root: Path, ports: Ports) -> dict[str, str]:
    """What a process needs in its environment to use the services of the project at ``root``."""
    state = services_folder(root)
    return {
        "FPENET_PREFECT_PORT": str(ports.prefect),
        "FPENET_MLFLOW_PORT": str(ports.mlflow),
        "FPENET_GATE_PORT": str(ports.gate),
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{ports.prefect_url}/api",
        "PREFECT_API_KEY": "",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # three that are missed: the run has crashed
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "fpenet",
        "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_URI": ports.mlflow_url,
        "GX_ANALYTICS_ENABLED": "false",
        **thread_settings(os.environ),
    }


def secrets_of(name: str, root: Path) -> dict[str, str]:
    """What one service alone has in its environment: the secrets of MLflow's events.

    MLflow keeps the secret of a webhook encrypted, so that its key must outlive the server.
    """
    state = services_folder(root)
    if name == "gate":
        return {"FPENET_WEBHOOK_SECRET": _kept_secret(state / "gate" / "secret")}
    if name == "mlflow":
        return {
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _kept_secret(state / "mlflow" / "webhook_key"),
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",  # the gate is on loopback
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # a gate that comes up is told at once
        }
    return {}


def _kept_secret(path: Path) -> str:
    """32 random bytes in base64, made when they are first asked for, for their owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = base64.urlsafe_b64encode(secrets.token_bytes(32))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(fresh)
    return path.read_text(encoding="ascii")


def services_folder(root: Path) -> Path:
    """Where state and logs of the services lie."""
    return root.resolve() / ".services"


def command_of(name: str, root: Path, ports: Ports) -> list[str]:
    """The command line of one service."""
    if name == "prefect":
        words = ["prefect", "server", "start", "--host", HOST, "--port", str(ports.prefect)]
    elif name == "gate":
        words = ["flows.webhook", "--host", HOST, "--port", str(ports.gate)]
    elif name == "worker":
        words = ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        words += ["--name", "local"]
    else:
        state = services_folder(root) / "mlflow"
        words = ["mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1"]
        words += ["--backend-store-uri", f"sqlite:///{state / 'mlflow.db'}"]
        words += ["--artifacts-destination", str(state / "artifacts")]
    return [sys.executable, "-m", *words]


def running(root: Path) -> dict[str, list[psutil.Process]]:
    """The live processes of each service of this project, oldest first."""
    prefix = f"{services_folder(root)}:"
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            if mark.startswith(prefix) and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(mark.removeprefix(prefix), []).append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's
    return found


def serving(root: Path, ports: Ports) -> set[str]:
    """The services whose own process lives: a flow run may outlive its worker."""
    alive: set[str] = set()
    for name, processes in running(root).items():
        for process in processes:
            try:
                if process.cmdline()[1:] == command_of(name, root, ports)[1:]:
                    alive.add(name)
            except psutil.Error:
                continue
    return alive


def ports_in_use(root: Path, environ: Mapping[str, str]) -> Ports:
    """The ports of the services that run now, else those that the environment asks for."""
    for processes in running(root).values():
        try:
            return chosen_ports(processes[0].environ())
        except (psutil.Error, OSError):
            continue
    return chosen_ports(environ)


def healthy(name: str, ports: Ports) -> bool:
    """Whether the server answers."""
    url = {
        "prefect": f"{ports.prefect_url}/api/health",
        "mlflow": f"{ports.mlflow_url}/health",
        "gate": f"{ports.gate_url}/health",
    }
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url[name], timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} on {HOST}, for the {name} server, is not free ({error.strerror});"
                f" stop the program that has it, or choose another: FPENET_{name.upper()}_PORT=..."
            ) from None


def start(name: str, root: Path, ports: Ports) -> None:
    state = services_folder(root)
    (state / name).mkdir(parents=True, exist_ok=True)
    with _log(root, name).open("wb") as log:
        subprocess.Popen(
            command_of(name, root, ports),
            cwd=root,
            env=os.environ
            | environment(root, ports)
            | secrets_of(name, root)
            | {MARK: f"{state}:{name}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in this terminal is not for the services
        )


def wait_healthy(name: str, root: Path, ports: Ports) -> None:
    end = time.monotonic() + START_SECONDS
    while not healthy(name, ports):
        if name not in serving(root, ports) or time.monotonic() > end:
            log = _log(root, name)
            said = last_line(log.read_text(encoding="utf-8", errors="replace"))
            raise RuntimeError(f"the {name} server did not start; {log}: {said}")
        time.sleep(0.2)


def stop(root: Path, names: Sequence[str]) -> list[str]:
    """Stop the services, those that run flows before the server that these report to.

    Raises:
        RuntimeError: naming a service and its processes that live KILL_SECONDS after SIGKILL.
    """
    stopped: list[str] = []
    for name in sorted(names, key=lambda name: name not in ("worker", "gate")):
        end = time.monotonic() + STOP_SECONDS
        terminate_at = 0.0
        while processes := running(root).get(name, []):
            now = time.monotonic()
            if now > end + KILL_SECONDS:
                pids = ", ".join(str(process.pid) for process in processes)
                raise RuntimeError(f"the {name} service does not end; its processes are {pids}")
            if now >= terminate_at:  # one SIGTERM does not always end a Prefect worker
                _signal(processes, signal.SIGTERM if now < end else signal.SIGKILL)
                terminate_at = now + 3.0
            if name not in stopped:
                stopped.append(name)
            time.sleep(0.1)
    return stopped


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _log(root: Path, name: str) -> Path:
    return services_folder(root) / name / "log.txt"


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")
