"""`fpenet plan` shows the folders of releases beside those of DVC."""

import json
from pathlib import Path
from typing import Any

import pytest

from fpenet.cli.main import main
from fpenet.execution import cached_folder, run_stage
from fpenet.params import load_params

ROOT = Path(__file__).parents[2]
FIRST = "no result yet"


@pytest.fixture
def project(tmp_path: Path, tiny_labels: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The working folder is a project of 20 faces; returns the options for its params."""
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return ["--set", f"data.labels={tiny_labels.write()}", "--set", "validate.min_faces=5"]


def release_first_stages(labels: str) -> None:
    """Run validate and split as a release does."""
    params = load_params(
        Path("params.yaml"), None, {"data.labels": labels, "validate.min_faces": 5}
    )
    folders: dict[str, Path] = {}
    for stage in ("validate", "split"):
        folder = cached_folder(Path("work"), stage, folders, params)
        run_stage(stage, folder, folders, params)
        folders[stage] = folder


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[tuple[str, str], str]:
    """(folder, stage) -> the reason to run it."""
    assert main(["plan", "--json", *words]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["run"] == bool(row["reason"]) for row in rows)
    return {(row["root"], row["stage"]): row["reason"] for row in rows}


def test_stages_of_a_release_are_done_and_a_changed_key_is_named(
    project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(capsys, *project)["dvc", "validate"] == FIRST
    release_first_stages(project[1].partition("=")[2])
    released = plan(capsys, *project)
    assert {root for root, _ in released} == {"work"}  # no stage ran into dvc/
    assert [released["work", stage] for stage in ("validate", "split")] == ["", ""]
    assert released["work", "crop"] == FIRST
    assert released["work", "train"] == "after crop"

    changed = plan(capsys, *project, "--set", "split.val_fraction=0.3")
    assert changed["work", "validate"] == ""
    assert changed["work", "split"] == "split.val_fraction was 0.1, is 0.3"


def test_both_folders_are_shown_and_one_that_is_asked_for_alone(
    project: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    release_first_stages(project[1].partition("=")[2])
    assert main(["plan", *project]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["work/  (make release)", "validate   done", "split      done"]
    assert lines[-1] == "dvc/  (dvc repro, fpenet STAGE): no stage ran yet"

    assert main(["validate", *project]) == 0
    capsys.readouterr()
    both = plan(capsys, *project)
    assert [both["dvc", stage] for stage in ("validate", "split")] == ["", FIRST]
    assert [both["work", stage] for stage in ("validate", "split")] == ["", ""]
    assert main(["plan", *project]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["dvc/  (dvc repro, fpenet STAGE)", "validate   done"]

    apart = plan(capsys, "--root", "elsewhere", *project)
    assert {root for root, _ in apart} == {"elsewhere"}
