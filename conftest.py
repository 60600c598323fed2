"""What holds for every run of the tests: each test ends, and the checkout stays as it was.

``make test`` runs the tests in several processes. A file of tests stays in one process, and so does
a folder whose tests share a server or a release that takes seconds to make. Only the first process,
which starts and ends the others, compares the checkout.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
SLOW_SECONDS = 1800.0
ONE_PROCESS = ("tests/flows", "tests/release")
"""Folders whose tests share a Prefect server, or a finished release and an S3 server."""
CACHES = {
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
}
"""What a run may leave behind."""
BEFORE = pytest.StashKey[frozenset[str]]()
CHANGED = pytest.StashKey[list[str]]()

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read where MLflow is imported


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a slow test half an hour, and each test the group that runs in one process."""
    for item in items:
        file = item.path.relative_to(ROOT).as_posix()
        group = next((folder for folder in ONE_PROCESS if file.startswith(f"{folder}/")), file)
        item.add_marker(pytest.mark.xdist_group(group))
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


def pytest_sessionstart(session: pytest.Session) -> None:
    if _is_started_by_another(session.config):
        return
    session.config.stash[BEFORE] = frozenset(checkout(ROOT))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that changed the checkout."""
    if _is_started_by_another(session.config):
        return
    before = session.config.stash[BEFORE]
    changed = sorted(before ^ frozenset(checkout(ROOT)))
    session.config.stash[CHANGED] = changed
    if changed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if changed := config.stash.get(CHANGED, []):
        terminalreporter.section("the checkout is not as it was before the run", red=True)
        for line in changed:
            terminalreporter.line(line)


def _is_started_by_another(config: pytest.Config) -> bool:
    """Whether this is one of the processes that pytest-xdist starts."""
    return hasattr(config, "workerinput")


def checkout(root: Path) -> Iterator[str]:
    """``git status`` of ``root``, line by line, and each path that git does not track.

    Folders that hold an environment (``pyvenv.cfg``) and CACHES are left out, as is all that lies
    in them. Empty outside a git checkout.
    """
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    status = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if status.returncode:
        return
    yield from status.stdout.splitlines()
    for folder, folders, files in os.walk(root):
        left_out = CACHES | {".git"}
        folders[:] = [
            name
            for name in folders
            if name not in left_out and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        place = Path(folder).relative_to(root)
        yield from (f"   {place / name}" for name in [*folders, *files])
