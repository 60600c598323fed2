"""What a run of the tests promises: every test ends, and the checkout stays as it was."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_in_a_checkout(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run one test, whose body is given, in a checkout of its own with our conftest.py."""
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / ".gitignore").write_text("/work/\n")
    (folder / "test_one.py").write_text(
        f"from pathlib import Path\n\ndef test_one():\n    {body}\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ('Path("left.txt").write_text("x")', "   left.txt"),
        ('Path("work").mkdir()', "   work"),
        ('Path("test_one.py").unlink()', "   test_one.py"),
    ],
)
def test_a_run_that_changes_the_checkout_fails_and_names_the_path(
    tmp_path: Path, body: str, left: str
) -> None:
    done = run_in_a_checkout(tmp_path / "checkout", body)
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout
    assert left in done.stdout.partition("not as it was before the run")[2].splitlines()


def test_a_run_may_leave_its_caches(tmp_path: Path) -> None:
    done = run_in_a_checkout(tmp_path / "checkout", 'Path(".hypothesis").mkdir()')
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "checkout/.pytest_cache").is_dir()


def test_no_tracked_file_is_ignored() -> None:
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == ""


def test_a_test_that_waits_forever_is_ended() -> None:
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 300


@pytest.mark.slow
def test_a_slow_test_has_half_an_hour() -> None:
    assert 300 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1800
