"""The page of a version in MLflow, where a person decides, in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.deploy.engines.engine_table import Engine
from fpenet.params import Precision
from tests.browser import CHROMIUM, SCREENSHOTS, chromium

pytestmark = pytest.mark.slow


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_page_of_a_version_shows_the_verdict_first_and_links_to_the_report(
    mlflow_server: str,
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    make_engine: Callable[[str, Precision, str], Engine],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    engines = [make_engine("cpu", "fp32", "ready"), make_engine("nano", "fp16", "pending")]
    release = register(stage_folders(engines=engines))
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path / "profile") as page:
        page.open(f"{mlflow_server}/#/models/{release['model']}/versions/1")
        page.see("May be promoted")
        text = page.text
        order = [text.index(words) for words in ("May be promoted", "KPI by region", "Origin")]
        assert order == sorted(order)
        assert page.value("document.querySelectorAll('table').length > 1")
        assert "prefect worker start --pool nano" in text
        if SCREENSHOTS:
            page.screenshot(Path(SCREENSHOTS) / "version.png")
        report = page.value(
            "[...document.querySelectorAll('a')].find(a => a.textContent == 'Report').href"
        )
        run = f"#/experiments/{release['experiment_id']}/runs/{release['run_id']}"
        assert report == f"{mlflow_server}/{run}/artifacts/report/report.html"
        page.open(report)
        page.see("report.html")
        if SCREENSHOTS:
            page.screenshot(Path(SCREENSHOTS) / "report.png")
