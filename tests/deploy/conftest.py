"""Where tests of bundles run."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_a_project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom to trust is looked for in ``.keys`` of the working directory."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".keys").symlink_to(ROOT / ".keys")
    monkeypatch.chdir(folder)
