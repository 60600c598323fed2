"""A checkout that cannot be written ends a command with one line."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.conftest import Mount

ROOT = Path(__file__).parents[2]


def test_a_release_in_a_checkout_that_cannot_be_written_is_one_line(disk_of: Mount) -> None:
    checkout = disk_of("size=64m")
    for name in ("params.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, checkout)
    for name in ("presets", "flows", "infra"):
        shutil.copytree(ROOT / name, checkout / name)
    subprocess.run(["mount", "-o", "remount,ro", str(checkout)], check=True)
    for words in (["release"], ["validate"]):
        done = subprocess.run(
            [sys.executable, "-m", "fpenet", *words],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2), done
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        if words == ["release"]:
            assert "Read-only file system" in lines[0]
            assert lines[0].endswith("; a release writes into the checkout")
