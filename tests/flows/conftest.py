"""A real Prefect server for the session, and a project folder with fast stages."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpenet.provenance.signing import SigningKey

TINY = ("validate", "split", "train", "evaluate", "build", "benchmark", "gate", "register")
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def project(tmp_path: Path, development_key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml, presets and labels; STAGES have the functions of tiny_stages."""
    from fpenet import stages
    from fpenet.provenance import digest

    folder = Path(__file__).parent
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(digest, "SOURCE_ROOT", folder)
    for name, stage in list(stages.STAGES.items()):
        function = name if name in TINY else "plain"
        row = dataclasses.replace(stage, run=f"tiny_stages:{function}", tools=())
        monkeypatch.setitem(stages.STAGES, name, row)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "labels.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    return tmp_path
