"""A copy of the project in a temporary folder, for tests with DVC and git."""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpenet.provenance.signing import SigningKey

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class DvcProject:
    """Runs commands in ``folder``; each returns its exit status and its output.

    They run in this process, because their imports take seconds; its working directory is the
    folder.
    """

    folder: Path

    def dvc(self, *words: str) -> tuple[int, str]:
        from dvc.cli import main

        return self._run(main, words)

    def fpenet(self, *words: str) -> tuple[int, str]:
        from fpenet.cli.main import main

        return self._run(main, words)

    def git(self, *words: str) -> None:
        user = ("-c", "user.name=t", "-c", "user.email=t@localhost")
        subprocess.run(["git", *user, *words], cwd=self.folder, check=True, capture_output=True)

    def set_keys(self, file: str, keys: dict[str, Any]) -> None:
        """Change dotted keys of a YAML file; each new value must differ from the present one."""
        path = self.folder / file
        tree = yaml.safe_load(path.read_text())
        for key, value in keys.items():
            *sections, last = key.split(".")
            section = tree
            for name in sections:
                section = section[name]
            assert last in section, f"{file} has no key {key}"
            assert section[last] != value, f"{file}: {key} is {value!r} already"
            section[last] = value
        path.write_text(yaml.safe_dump(tree, sort_keys=False))

    def _run(self, main: Any, words: tuple[str, ...]) -> tuple[int, str]:
        output = io.StringIO()
        log = logging.StreamHandler(output)  # DVC's handler has the stderr of its first import
        logging.getLogger().addHandler(log)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                return main(list(words)), output.getvalue()
        finally:
            logging.getLogger().removeHandler(log)


@pytest.fixture
def dvc_project(
    tmp_path: Path, development_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> DvcProject:
    """A git repository with the pipeline and the development key, without data.

    It is the working directory of the test.
    """
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(tmp_path / ".keys", folder / ".keys")
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("presets", "components"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    bin_folder = str(Path(sys.executable).parent)  # `dvc repro` calls fpenet
    monkeypatch.setenv("PATH", bin_folder, prepend=os.pathsep)
    monkeypatch.setenv(
        "PYTHONPATH", str(ROOT / "components")
    )  # the tested sources, not these copies
    return DvcProject(folder)


@pytest.fixture
def faces_project(dvc_project: DvcProject, tiny_labels: Any) -> DvcProject:
    """The project with twenty faces in ``data/``, added to DVC and committed."""
    dvc_project.set_keys("params.yaml", {"validate.min_faces": 5})
    tiny_labels.write().rename(dvc_project.folder / "data")
    status, said = dvc_project.dvc("add", "data")
    assert status == 0, said
    dvc_project.git("add", ".")
    dvc_project.git("commit", "--quiet", "--message", "faces")
    return dvc_project


@pytest.fixture
def pushed(faces_project: DvcProject, bucket: Any) -> DvcProject:
    """The project after ``fpenet remote`` and ``dvc push``: the bucket contains the faces."""
    assert faces_project.fpenet("remote", *storage(bucket)) == (0, "s3://test-bucket/fpenet/dvc\n")
    assert faces_project.dvc("push") == (0, "22 files pushed\n")  # the folder's list too
    return faces_project


def storage(bucket: Any) -> list[str]:
    """The options of ``fpenet`` for the bucket."""
    pairs = {"bucket": bucket.name, "endpoint": bucket.server.endpoint}
    return [word for key, value in pairs.items() for word in ("--set", f"storage.{key}={value}")]
