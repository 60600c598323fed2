"""Fixtures for injected faults: small file systems, inputs of a stage, local services."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.provenance.manifest import Manifest, seal
from tests.conftest import PARAMS
from tests.deploy.conftest import in_a_project
from tests.infra.conftest import ports, project, rendered_faces
from tests.kpi.conftest import evaluate_params, store_of

__all__ = [
    "disk_of",
    "evaluate_params",
    "in_a_project",
    "ports",
    "project",
    "rendered_faces",
    "sealed",
    "store_of",
]

Mount = Callable[..., Path]
SETTINGS = {
    "calibrate.faces": 5,
    "calibrate.draws": 2,
    "calibrate.recovery.budget_px": 5.0,
}
"""The params of ``tests.small_release`` that the command line needs too."""
PAGE = 4096
"""Block size of a tmpfs, bytes."""


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Mount]:
    """Mount a real file system: ``disk_of("size=64m")``, ``disk_of("nr_inodes=9", at=folder)``.

    Skips the test where mounting is not permitted.
    """
    mounted: list[Path] = []

    def mount(options: str, at: Path | None = None) -> Path:
        folder = at or tmp_path / f"disk{len(mounted)}"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("not run: there is no mount command for a small file system")
        if done.returncode:
            pytest.skip(f"not run: no small file system may be mounted: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, room: int) -> Path:
    """Write a file that leaves ``room`` bytes free on a disk; returns the file."""
    filler, space = disk / "filler", os.statvfs(disk)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - room))
    return filler


def space_of(*files: Path) -> int:
    """The space of the files on a tmpfs, in bytes."""
    return sum(-(-file.stat().st_size // PAGE) * PAGE for file in files)


def left_in(disk: Path) -> list[str]:
    """The names of the files and folders on a disk, without the locks of stages."""
    return sorted(path.name for path in disk.iterdir() if path.suffix != ".lock")


def stage_words(stage: str, root: Path, out_dir: Path) -> list[str]:
    """The command line of a stage of the small release."""
    settings = [word for pair in SETTINGS.items() for word in ("--set", "{}={}".format(*pair))]
    paths = ["--params", str(PARAMS), "--root", str(root), "--out", str(out_dir)]
    return [stage, *paths, *settings]


@pytest.fixture
def sealed(stages: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parent of the finished folders of crop, train and export; logs go to tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = tmp_path / "root"
    for name in ("crop", "train", "export"):
        shutil.copytree(getattr(stages, name), root / name)
        seal(root / name, Manifest(name, "", {}, {}, "", {}, {}, {}))
    return root
