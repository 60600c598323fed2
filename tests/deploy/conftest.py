"""The working directory of the tests of bundles."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_a_project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in a folder with ``.keys``, which contains the trusted keys."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".keys").symlink_to(ROOT / ".keys")
    monkeypatch.chdir(folder)
