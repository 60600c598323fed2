"""Each row of "How to add" in CONTRIBUTING.md is all that a new name needs.

One instance of each is added to a copy of the project as text; one child process uses them all.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.how_to_add.additions import ADDITIONS

ROOT = Path(__file__).parents[2]
TRIALS = Path(__file__).with_name("trials.py")
TRIED_ELSEWHERE = {"threshold": "kpi_metric", "benchmark": "tests/benchmarks/test_result_file.py"}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Row -> the traceback of its trial; empty where it passed."""
    project = tmp_path_factory.mktemp("project")
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("components", "infra", "presets"):
        shutil.copytree(ROOT / folder, project / folder, ignore=left_out)
    shutil.copy(ROOT / "params.yaml", project)
    for addition in ADDITIONS.values():
        addition.write(project)
    path = os.pathsep.join([str(project / "components"), str(project)])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, TRIALS, "failures.json", *ADDITIONS],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    failed: dict[str, str] = json.loads((project / "failures.json").read_text())
    return failed


@pytest.mark.parametrize("name", ADDITIONS)
def test_the_row_is_all_that_it_needs(failures: dict[str, str], name: str) -> None:
    assert failures[name] == ""


def test_every_row_of_the_table_is_tried() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## How to add")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| an? ([\w -]+?) \|", table, flags=re.MULTILINE)
    names = {row.lower().replace(" ", "_") for row in rows}
    assert names == set(ADDITIONS) | set(TRIED_ELSEWHERE)
