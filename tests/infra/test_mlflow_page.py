"""What a person does and sees in MLflow's own pages, in a real browser."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.services import Ports
from tests.browser import CHROMIUM, SCREENSHOTS, Page, chromium
from tests.promoting import Promoting

pytestmark = pytest.mark.slow


def set_deployable(page: Page) -> None:
    """Click until the version that is shown has the alias."""
    page.see("Aliases")
    if page.value("!!document.querySelector('button[aria-label=Close]')"):
        page.click("button[aria-label=Close]")  # an assistant that is in the way
    page.click("button[title$=aliases]")
    page.click("[role=dialog] input")
    page.write("deployable")
    page.click("[role=dialog] button", "Save aliases")
    page.wait("!document.querySelector('[role=dialog]')")


def aliases_shown(page: Page) -> list[str]:
    """The aliases that the page of a version shows."""
    shown = page.text.split("Aliases")[1].split("Stage")[0]
    return sorted(word for word in shown.split() if word in ("candidate", "deployable"))


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(Path(SCREENSHOTS) / f"{name}.png")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_alias_stays_on_a_good_version_and_leaves_a_refused_one_with_the_reason(
    project: Path, ports: Ports, release_two: Callable[[], Promoting], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "infra.local", "up"], cwd=project, check=True)
    gate = release_two()
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path / "profile") as page:
        versions = f"{ports.mlflow_url}/#/models/{gate.model}/versions"
        page.open(f"{versions}/1")
        set_deployable(page)
        page.see("Made deployable (")  # the page looks again by itself
        assert aliases_shown(page) == ["candidate", "deployable"]
        picture(page, "good")
        assert (gate.alias, gate.pointer.version) == ("1", "1")

        page.open(f"{versions}/2")
        set_deployable(page)
        page.see("Promotion refused: too far off (")
        page.open(f"{versions}/2")  # MLflow's page reads the aliases but once
        page.see("Promotion refused: too far off (")
        assert aliases_shown(page) == []
        picture(page, "refused")
        assert (gate.alias, gate.pointer.version) == ("1", "1")

        page.open(f"{ports.mlflow_url}/#/models/{gate.model}")
        page.see("Promotion refused: too far")
        picture(page, "versions")
