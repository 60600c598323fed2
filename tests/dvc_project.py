"""A copy of the project for DVC and git: our pipeline, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class DvcProject:
    """Commands that run in ``folder``, as a person would type them there."""

    folder: Path

    def dvc(self, *words: str, env: dict[str, str] | None = None) -> Done:
        return self._run(sys.executable, "-m", "dvc", *words, env=env)

    def fpenet(self, *words: str, env: dict[str, str] | None = None) -> Done:
        return self._run(sys.executable, "-m", "components.cli", *words, env=env)

    def git(self, *words: str) -> None:
        done = self._run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words)
        assert done.returncode == 0, done.stderr

    def _run(self, *command: str, env: dict[str, str] | None = None) -> Done:
        bin_folder = str(Path(sys.executable).parent)
        path = os.pathsep.join((bin_folder, os.environ.get("PATH", "")))
        # the modules under test, and not the copies that only DVC looks at
        here = {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | here | (env or {}),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def dvc_project(tmp_path: Path) -> DvcProject:
    """A repository with our pipeline and no data."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("presets", "components"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return DvcProject(folder)


@pytest.fixture
def faces_project(dvc_project: DvcProject, tiny_labels: Any) -> DvcProject:
    """The project with twenty faces in ``data/``, recorded and committed."""
    text = (dvc_project.folder / "params.yaml").read_text()
    text = text.replace("  min_faces: 20 ", "  min_faces: 5 ")
    (dvc_project.folder / "params.yaml").write_text(text)
    tiny_labels.write().rename(dvc_project.folder / "data")
    done = dvc_project.dvc("add", "data")
    assert done.returncode == 0, done.stderr
    dvc_project.git("add", ".")
    dvc_project.git("commit", "--quiet", "--message", "faces")
    return dvc_project
