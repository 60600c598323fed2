"""Sweeps of several machines on one study: a real PostgreSQL server, and real processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import NullPool

from fpenet.cli.main import main

PASSWORD = "of the study"
SWEEP = "import logging, sys; from fpenet.cli.main import main; logging.basicConfig(level='INFO')"
Sweep = Callable[..., list[str]]


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL server, where Debian or the PATH has one."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda path: int(path.parts[-3]), default=None)
    found = newest or shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that asks for a password; ``storage`` is what params.yaml says of it."""

    storage: str

    def trials(self) -> list[FrozenTrial]:
        """Of its only study."""
        # No pool, whose connections nobody would close.
        storage = optuna.storages.RDBStorage(self.storage, {"poolclass": NullPool})
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).trials


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An empty one on loopback, with the password in PGPASSWORD."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    # Root may not run a server, and its user may not enter the folders that pytest makes for root.
    with tempfile.TemporaryDirectory() as root:
        data, secret = Path(root) / "data", Path(root) / "password"
        secret.write_text(PASSWORD)
        user = "postgres" if os.geteuid() == 0 else None
        if user is not None:
            for path in (Path(root), secret):
                shutil.chown(path, user, user)

        def run(name: str, *words: object) -> None:
            log = Path(root) / "output.txt"
            with log.open("wb") as output:  # a pipe would wait for the server, which holds it
                done = subprocess.run(
                    [folder / name, "-D", data, *map(str, words)],
                    cwd=root,
                    stdout=output,
                    stderr=output,
                    user=user,
                    group=user,
                    extra_groups=None if user is None else [],
                    start_new_session=True,
                    check=False,
                )
            assert done.returncode == 0, log.read_text()

        run("initdb", "-U", "sweeper", "-A", "scram-sha-256", "--pwfile", secret, "-N")
        run("pg_ctl", "-w", "-l", data / "log.txt", "-o", options, "start")
        try:
            monkeypatch.setenv("PGPASSWORD", PASSWORD)
            yield Server(f"postgresql+psycopg://sweeper@127.0.0.1:{port}/postgres")
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")


@pytest.fixture
def sweep(train_command: Callable[..., list[str]]) -> Sweep:
    """The words after ``fpenet`` of a sweep on the dots: ``sweep(root, storage, trials)``."""

    def words(root: Path, storage: str, trials: int) -> list[str]:
        options = train_command(root, epochs=5)[1:]
        settings = {
            "sweep.storage": storage,
            "sweep.trials": trials,
            "sweep.space": "{train.learning_rate: {low: 0.001, high: 0.01}}",
            "sweep.pruning.first_trials": 99,
            "sweep.aside_fraction": 0.3,
        }
        pairs = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return ["sweep", *options, *pairs]

    return words


def begin(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own, which logs into ``log``."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", f"{SWEEP}; raise SystemExit(main(sys.argv[1:]))", *words],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def folders(root: Path) -> list[str]:
    return [path.name for path in (root / "sweep").glob("*-*") if path.is_dir()]


def wait_for(true: Callable[[], bool], *running: subprocess.Popen[bytes]) -> None:
    """Wait while all of ``running`` run; what hangs is ended by the limit of the whole test."""
    while not true():
        assert [process.poll() for process in running] == [None] * len(running)
        time.sleep(0.05)


@pytest.mark.slow
def test_two_machines_share_a_study_and_a_killed_one_goes_on_with_its_trial(
    tmp_path: Path, server: Server, sweep: Sweep
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    words = [sweep(root, server.storage, trials=3) for root in (one, two)]
    logs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    # Both make the tables of an empty database.
    first, second = (begin(said, log) for said, log in zip(words, logs, strict=True))
    try:
        wait_for(lambda: bool(folders(one) and folders(two)), first, second)
        wait_for(lambda: any((one / "sweep").glob("*-*/checkpoint.0*")), first)
        os.killpg(first.pid, signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        (killed,) = folders(one)
        assert second.wait() == 0, logs[1].read_text()
    finally:
        for process in (first, second):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    before = server.trials()
    running = [trial for trial in before if trial.state == TrialState.RUNNING]
    # The other machine left it alone, and did the rest.
    assert [trial.user_attrs["folder"] for trial in running] == [killed]
    done = [trial for trial in before if trial.state == TrialState.COMPLETE]
    assert len(done) >= 3
    assert len({trial.params["train.learning_rate"] for trial in before}) == len(before)
    assert not folders(two)

    again = begin(sweep(one, server.storage, trials=len(done) + 1), logs[0])
    assert again.wait() == 0, logs[0].read_text()
    assert "resumed after epoch" in logs[0].read_text()
    after = server.trials()
    assert after[running[0].number].state == TrialState.FAIL
    (taken,) = after[len(before) :]
    assert taken.state == TrialState.COMPLETE
    assert taken.user_attrs["folder"] == killed
    assert taken.params == running[0].params
    assert sorted(taken.intermediate_values) == [1, 2, 3, 4, 5]
    assert not folders(one)
    # One best of both machines, which each of them prints.
    best = min((trial.value or 0.0, trial.number) for trial in after if trial in [*done, taken])
    table = logs[0].read_text().splitlines()
    head = next(number for number, line in enumerate(table) if line.split()[:2] == ["trial", "px"])
    assert table[head + 1].split()[:2] == [str(best[1]), f"{best[0]:.3f}"]


@pytest.mark.slow
def test_a_server_that_refuses_the_password_is_one_line(
    tmp_path: Path,
    server: Server,
    sweep: Sweep,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of another")
    assert main(sweep(tmp_path, server.storage, trials=1)) == 1
    message = capsys.readouterr().err
    assert message.startswith("fpenet sweep: sweep.storage: ")
    assert "password authentication failed" in message
    assert "of another" not in message
    assert message.count("\n") == 1
    assert not (tmp_path / "sweep/studies.db").exists()


def test_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = f"postgresql+psycopg://sweeper@127.0.0.1:{free_port()}/postgres"
    assert main(sweep(tmp_path, nobody, trials=1)) == 1
    message = capsys.readouterr().err
    assert message.startswith("fpenet sweep: sweep.storage: ")
    assert "refused" in message
    assert message.count("\n") == 1
