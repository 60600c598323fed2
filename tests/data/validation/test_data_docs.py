import io
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fpenet.data.checks.faces import labelled_faces
from fpenet.data.readers import read_labels
from fpenet.data.validation import docs_process
from fpenet.data.validation.data_docs import evaluate_suites
from fpenet.data.validation.docs_process import serve, suite_process
from fpenet.data.validation.expectations import Expectation, keypoint_table
from fpenet.params import Params
from tests.conftest import TinyLabels

FEW = Expectation("ExpectTableRowCountToBeBetween", {"min_value": 21}, "enough")
WIDE = Expectation(
    "ExpectColumnValuesToBeBetween", {"column": "mean_x", "min_value": 0.9}, "x", blocking=False
)


@pytest.fixture
def table(tiny_labels: TinyLabels, params_with: Callable[..., Params]) -> pd.DataFrame:
    return keypoint_table(
        labelled_faces(read_labels(tiny_labels.write(), params_with().data).samples)
    )


def test_an_expectation_that_is_not_met_says_what_it_found(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    found = evaluate_suites({"keypoints": (table, [FEW, WIDE])}, tmp_path / "docs")["keypoints"]
    assert found.evaluated == 2
    assert found.failed == ["enough (min_value 21): the value is 5"]
    assert found.warned[0].startswith("x (column mean_x, min_value 0.9): 5 of 5 rows differ, e.g.")


def test_a_process_of_its_own_finds_the_same_and_writes_the_same_pages(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    suites = {"keypoints": (table, [FEW, WIDE])}
    here = evaluate_suites(suites, tmp_path / "here")
    with suite_process(separate=True) as process:
        there = process.evaluate(suites, tmp_path / "there")
    assert there == here
    pages = sorted(
        path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.html")
    )
    assert len(pages) >= 3
    for page in pages:
        assert (tmp_path / "there" / page).read_bytes() == (tmp_path / "here" / page).read_bytes()


def test_what_the_process_refuses_is_its_result(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.to_parquet(tmp_path / "0.parquet")
    job = {"docs_dir": str(tmp_path / "docs"), "suites": {"none": []}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path}\n"))
    serve()
    (error,) = json.loads((tmp_path / "result.json").read_text()).values()
    assert error.startswith("suite none: 5 rows and 0 expectations; nothing would be validated")


def test_a_process_that_dies_is_no_pass(table: pd.DataFrame, tmp_path: Path) -> None:
    with suite_process(separate=True) as process:
        assert process.process is not None
        process.process.kill()
        with pytest.raises(RuntimeError, match="ended with status -9 and without a result"):
            process.evaluate({"keypoints": (table, [WIDE])}, tmp_path / "docs")


def test_a_process_that_stands_still_is_given_up(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_process, "LONGEST_SECONDS", 0.5)
    with suite_process(separate=True) as process:
        assert process.process is not None
        process.process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError, match=r"suites did not end within 0\.5 s"):
            process.evaluate({"keypoints": (table, [WIDE])}, tmp_path / "docs")
    assert process.process.returncode == -signal.SIGKILL


def test_the_pages_need_no_network_and_lead_to_one_another(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    evaluate_suites({"keypoints": (table, [FEW, WIDE])}, docs)
    pages = list(docs.rglob("*.html"))
    text = "".join(page.read_text("utf-8") for page in pages)
    assert not re.search(r"<script|<link|<img|https?://|url\(", text)
    assert "enough (min_value 21): the value is 5" in (docs / "index.html").read_text("utf-8")
    for page in pages:
        for target in re.findall(r'href="([^"#]+)"', page.read_text("utf-8")):
            assert (page.parent / target).is_file(), target
