"""The processes of the local services: their ports, commands, health checks, start and stop.

The environment variable FPENET_SERVICE of each process, and of its child processes, is the name of
its service. It identifies the processes of a running service, so that no files with process ids are
needed and no child process is missed.
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
SERVERS = ("prefect", "mlflow", "watcher")
"""The services with an HTTP server, in the order of their start; the worker has none."""
POOL = "fpenet"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the servers on 127.0.0.1."""

    prefect: int
    mlflow: int
    watcher: int

    @property
    def prefect_url(self) -> str:
        return f"http://{HOST}:{self.prefect}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{HOST}:{self.mlflow}"

    @property
    def watcher_url(self) -> str:
        return f"http://{HOST}:{self.watcher}"


_DEFAULTS = {
    "FPENET_PREFECT_PORT": "4200",
    "FPENET_MLFLOW_PORT": "5000",
    "FPENET_WATCHER_PORT": "5001",
}


def chosen_ports(environ: Mapping[str, str]) -> Ports:
    """The ports of the environment; default: 4200, 5000 and 5001.

    Raises:
        InputError: a port is not a number from 1 to 65535, or two ports are equal.
    """
    variables: dict[int, str] = {}
    for name, default in _DEFAULTS.items():
        text = environ.get(name) or default
        if not (text.isdecimal() and 1 <= int(text) <= 65535):
            raise InputError(f"{name} is {text!r}; it must be a port from 1 to 65535")
        if int(text) in variables:
            raise InputError(f"{variables[int(text)]} and {name} are both {int(text)}")
        variables[int(text)] = name
    return Ports(*variables)


def environment(root: Path, ports: Ports) -> dict[str, str]:
    """The environment variables of a process that uses the services of the project at ``root``."""
    state = services_folder(root)
    return {
        "FPENET_PREFECT_PORT": str(ports.prefect),
        "FPENET_MLFLOW_PORT": str(ports.mlflow),
        "FPENET_WATCHER_PORT": str(ports.watcher),
        **_without_proxy(os.environ),
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{ports.prefect_url}/api",
        "PREFECT_API_KEY": "",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # a run is Crashed after three missed ones
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


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY in both spellings: the hosts of the user, then loopback."""
    listed = f"{environ.get('NO_PROXY', '')},{environ.get('no_proxy', '')},{HOST},localhost"
    value = ",".join(dict.fromkeys(filter(None, map(str.strip, listed.split(",")))))
    return {"NO_PROXY": value, "no_proxy": value}


def secrets_of(name: str, root: Path) -> dict[str, str]:
    """The environment variables of one service only: settings and secrets of MLflow's webhook.

    MLflow stores the secret of a webhook encrypted; the encryption key is therefore kept in a file.
    """
    state = services_folder(root)
    if name == "watcher":
        return {"FPENET_WEBHOOK_SECRET": _stored_secret(state / "watcher" / "secret")}
    if name == "mlflow":
        key = _stored_secret(state / "mlflow" / "webhook_key")
        return {
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key,
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",  # the watcher is on loopback
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # seconds; events reach a new webhook at once
        }
    return {}


def _stored_secret(path: Path) -> str:
    """32 random bytes in base64; written at the first call, readable by the owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
    return path.read_text(encoding="ascii")


def services_folder(root: Path) -> Path:
    """The folder of the state and logs of the services."""
    return root.resolve() / ".services"


def command_of(name: str, root: Path, ports: Ports) -> list[str]:
    """The command line of one service."""
    if name == "prefect":
        words = ["prefect", "server", "start", "--host", HOST, "--port", str(ports.prefect)]
    elif name == "watcher":
        words = ["flows.webhook", "--host", HOST, "--port", str(ports.watcher)]
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
    processes: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            if mark.startswith(prefix) and process.status() != psutil.STATUS_ZOMBIE:
                processes.setdefault(mark.removeprefix(prefix), []).append(process)
        except (psutil.Error, OSError):
            continue  # the process has ended, or belongs to another user
    return processes


def serving(root: Path, ports: Ports) -> set[str]:
    """The services whose main process runs; a flow run can run longer than its worker."""
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
    """The ports of the running services; if none runs, the ports of the environment."""
    for processes in running(root).values():
        try:
            return chosen_ports(processes[0].environ())
        except (psutil.Error, OSError):
            continue
    return chosen_ports(environ)


def healthy(name: str, ports: Ports) -> bool:
    """Whether the server responds with status 200."""
    url = {
        "prefect": f"{ports.prefect_url}/api/health",
        "mlflow": f"{ports.mlflow_url}/health",
        "watcher": f"{ports.watcher_url}/health",
    }
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url[name], timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require_free(name: str, port: int) -> None:
    """Raise InputError if the port is not free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} on {HOST}, for the {name} server, is not free ({error.strerror});"
                f" stop the program that uses it, or set FPENET_{name.upper()}_PORT to another port"
            ) from None


def start(name: str, root: Path, ports: Ports) -> None:
    """Start the process of a service; its output goes to its log file."""
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
            start_new_session=True,  # so that Ctrl-C in this terminal does not stop the services
        )


def wait_healthy(name: str, root: Path, ports: Ports) -> None:
    """Wait until a server is healthy; RuntimeError if it ends or needs over START_SECONDS."""
    end = time.monotonic() + START_SECONDS
    while not healthy(name, ports):
        if name not in serving(root, ports) or time.monotonic() > end:
            log = _log(root, name)
            line = last_line(log.read_text(encoding="utf-8", errors="replace"))
            raise RuntimeError(f"the {name} server did not start; {log}: {line}")
        time.sleep(0.2)


def stop(root: Path, names: Sequence[str]) -> list[str]:
    """Stop the services: first those that run flows, then the servers that they use.

    Raises:
        RuntimeError: processes still run KILL_SECONDS after SIGKILL; the message names them.
    """
    stopped: list[str] = []
    for name in sorted(names, key=lambda name: name not in ("worker", "watcher")):
        end = time.monotonic() + STOP_SECONDS
        terminate_at = 0.0
        while processes := running(root).get(name, []):
            now = time.monotonic()
            if now > end + KILL_SECONDS:
                pids = ", ".join(str(process.pid) for process in processes)
                raise RuntimeError(f"the {name} service does not stop; its processes are {pids}")
            if now >= terminate_at:  # one SIGTERM does not always stop a Prefect worker
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
    """The last line that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")
