"""Paths, pipes and places as people have them: each mistake is one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fpenet.cli.main import main
from fpenet.params import load_params

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["describe", "faces"], "fpenet describe: the program that read the output has ended\n"),
        (["--help"], ""),  # rich, which prints the help, ends the program
    ],
)
def test_a_reader_that_has_ended_gives_one_line(
    words: list[str], line: str, tiny_labels: Any, tmp_path: Path
) -> None:
    tiny_labels.write()
    options = ["--params", str(PARAMS)] if words[0] == "describe" else []
    reading, writing = os.pipe()
    os.close(reading)  # as `| head -1` does when it has its line
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fpenet", *words, *options],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == line
    assert done.returncode == 1


def test_a_tilde_in_arguments_and_options_is_the_home_folder(
    tiny_labels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_labels.write()
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["describe", "~/faces", "--out=~/described", "--params", str(PARAMS)]) == 0
    assert (tmp_path / "described/describe.json").is_file()
    assert list(elsewhere.iterdir()) == []


def test_a_tilde_in_params_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    overrides = {
        "data.labels": "~/faces",
        "trust.public_keys": ["~/keys", "keys/~"],
        "gate.champion": "~/bundle/cpu",
    }
    params = load_params(PARAMS, overrides=overrides)
    assert params.data.labels == f"{tmp_path}/faces"
    assert params.trust.public_keys == (tmp_path / "keys", Path("keys/~"))
    assert params.gate.champion == f"{tmp_path}/bundle/cpu"


def test_a_params_file_elsewhere_says_where_its_relative_paths_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, work = tmp_path / "place", tmp_path / "work"
    place.mkdir()
    work.mkdir()
    shutil.copy(PARAMS, place)
    monkeypatch.chdir(work)
    words = ["validate", "--params", str(place / "params.yaml")]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"fpenet validate: {place}/params.yaml: preset is 'laptop', a file of {place}/presets,"
        " which does not exist; copy presets/ of the project there too\n"
    )
    shutil.copytree(ROOT / "presets", place / "presets")
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"fpenet validate: data.labels: data does not exist in the working folder {work}; run"
        " `make setup` for the embedded set, or set it to the folder or label file of a data set\n"
    )
    (place / "data").mkdir()  # the params file's folder is not searched
    assert main(words) == 2
    assert "data does not exist in the working folder" in capsys.readouterr().err
