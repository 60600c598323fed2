"""Where tests of bundles run."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom to trust is looked for in ``.keys`` of the working directory."""
    monkeypatch.chdir(Path(__file__).parents[2])
