"""Exit statuses: bad input is 2; a bug or a fault of the machine is 1, its traceback in a log."""

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fpenet import stages
from fpenet.cli.main import main
from fpenet.core.errors import InputError
from fpenet.provenance import digest
from tests import failing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of ``fpenet split``, whose stage function is that of tests/failing.py."""
    row = stages.STAGES["split"]
    row = dataclasses.replace(row, run="tests.failing:split", inputs=(), tools=())
    monkeypatch.setitem(stages.STAGES, "split", row)
    monkeypatch.setattr(digest, "SOURCE_ROOT", ROOT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return ["split", "--params", str(ROOT / "params.yaml"), "--root", str(tmp_path / "dvc")]


@pytest.mark.parametrize("fault", failing.FAULTS)
def test_a_bug_or_a_failing_machine_is_not_bad_input(
    fault: str, split: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number, _fail, beginning = failing.FAULTS[fault]
    assert main([*split, "--set", f"split.seed={number}"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"fpenet split: {beginning}")
    assert output.err.count("\n") == 1
    ending = re.search(r"; the traceback is in (\S+)\n$", output.err)
    assert ending is not None
    log = Path(ending.group(1))
    assert log.parent == tmp_path
    text = log.read_text()
    assert text.startswith("Traceback (most recent call last):\n")
    assert "tests/failing.py" in text
    assert beginning in text.splitlines()[-1]
    assert not (tmp_path / "dvc/split").exists()


def test_an_error_whose_log_has_no_place_is_still_one_line(
    split: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert main([*split, "--set", "split.seed=104"]) == 1
    assert capsys.readouterr().err == (
        "fpenet split: KeyError: 'subject'; the traceback could not be written:"
        " No such file or directory\n"
    )


def test_without_a_fault_the_same_command_ends_with_0(
    split: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(split) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "dvc/split/done.json").is_file()


def test_bad_input_of_a_stage_has_no_log(
    split: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert issubclass(InputError, ValueError)
    assert main([*split, "--set", "split.seed=-1"]) == 2
    assert "split.seed is -1" in capsys.readouterr().err
    assert list(tmp_path.glob("*.log")) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bogus"], "fpenet bogus: No such command 'bogus'"),
        (["validate", "--bogus"], "fpenet validate: No such option: --bogus"),
        (["infer", "face.png"], "fpenet infer: Missing option '--model'"),
        (["labels", "diff"], "fpenet labels: Missing argument"),
        (["train", "again"], "fpenet train: Got unexpected extra argument"),
        (
            ["infer", "x", "--model", "m", "--detect-every", "often"],
            "fpenet infer: Invalid value for '--detect-every'",
        ),
        (
            ["infer", "x", "--model", "m", "--write", "json", "xml"],
            "fpenet infer: --write xml: must be overlay, json, csv",
        ),
        (
            ["get", "--target", "t4", "--out", "x", "--alias", "a", "--version", "1"],
            "fpenet get: --alias a and --version 1: use only one of them",
        ),
    ],
)
def test_a_usage_error_is_one_line_and_bad_input(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(line)
    assert output.err.count("\n") == 1


def test_release_outside_of_a_checkout_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["release", "--preset", "laptop"]) == 2
    place = "run it in the folder of flows/ and params.yaml"
    line = f"fpenet release: needs a checkout of fpenet: {place}\n"
    assert capsys.readouterr() == ("", line)


def test_release_becomes_the_watcher_of_the_checkout_with_the_same_options(tmp_path: Path) -> None:
    """In a folder that has a flows/watch.py, which writes its arguments down."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "flows/watch.py").write_text("import sys; print(sys.argv[1:]); sys.exit(3)")
    words = ["--labels", "faces", "--preset", "laptop", "--epochs", "3"]
    words += ["--targets", "cpu", "t4", "--set", "train.net=base", "split.seed=1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "fpenet", "release", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "components")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == f"{words}\n"
