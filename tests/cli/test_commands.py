"""The commands, their help and their JSON: derived from STAGES, in the order of the story."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from fpenet.cli.main import command_line, main, one_value_each
from fpenet.cli.release import DEPLOYABLE
from fpenet.release import evidence
from fpenet.stages import STAGES

ROOT = Path(__file__).parents[2]


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, those of groups too."""
    group: Any = typer.main.get_command(command_line())
    for name, command in group.commands.items():
        parts = getattr(command, "commands", None)
        if parts is None:
            yield name, command
        else:
            yield from ((f"{name} {part}", each) for part, each in parts.items())


def test_every_command_has_json_and_one_sentence_of_what_it_makes() -> None:
    every = dict(commands())
    assert set(STAGES) < set(every)
    for name, command in every.items():
        assert "--json" in {flag for each in command.params for flag in each.opts}, name
        sentence = command.help.split("\n\n")[0]
        assert re.fullmatch(r"[A-Z][^\n]+\.", " ".join(sentence.split())), name


def test_a_stage_command_takes_its_help_and_its_panel_from_its_row() -> None:
    every = dict(commands())
    for stage in STAGES.values():
        assert every[stage.name].help == stage.makes
        assert every[stage.name].rich_help_panel == stage.chapter


def test_the_help_page_shows_the_chapters_in_the_order_of_the_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    titles = [line.split()[1] for line in page.splitlines() if line.startswith("╭")]
    assert titles == ["Options", "Data", "Train", "Judge", "Deploy", "Release"]
    assert main([]) == 2
    assert capsys.readouterr().out == page


def test_several_values_after_one_option_are_one_value_each() -> None:
    words = ["get", "--trusted", "a", "b", "--target", "t4"]
    spread = ["get", "--trusted", "a", "--trusted", "b", "--target", "t4"]
    assert one_value_each(words) == spread
    assert one_value_each(["key", "a", "b"]) == ["key", "a", "b"]


def test_json_is_the_only_thing_on_stdout(
    tmp_path: Path, tiny_labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--params", str(ROOT / "params.yaml"), "--root", str(tmp_path / "out"), "--json"]
    shared += ["--set", f"data.labels={tiny_labels.write()}", "--set", "validate.min_faces=5"]
    assert main(["validate", *shared]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 20
    assert main(["plan", *shared]) == 0
    rows = json.loads(capsys.readouterr().out)
    root = str(tmp_path / "out")
    assert rows[0] == {"root": root, "stage": "validate", "run": False, "reason": ""}
    assert rows[1] == {"root": root, "stage": "split", "run": True, "reason": "no result yet"}
    assert main(["key", str(tmp_path / "maria.pem"), "--json"]) == 0
    key = json.loads(capsys.readouterr().out)
    assert key["path"] == f"{tmp_path}/maria.pem"
    assert main(["fetch", *shared]) == 0
    assert json.loads(capsys.readouterr().out) == {"labels": str(tiny_labels.folder)}


def test_what_stops_a_run_is_reported_beside_the_json(
    tmp_path: Path, tiny_labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("images/s000_0.png", "images/s001_1.png"):
        (tiny_labels.folder / name).write_bytes(b"no picture")
    shared = ["--params", str(ROOT / "params.yaml"), "--root", str(tmp_path / "out"), "--json"]
    shared += ["--set", f"data.labels={tiny_labels.write()}", "--set", "validate.min_faces=5"]
    assert main(["validate", *shared]) == 2
    output = capsys.readouterr()
    assert len(json.loads(output.out)["blocking"]) == 1
    assert output.err.startswith("fpenet validate: 2 of 20 faces are broken")
    assert output.err.count("\n") == 1


def test_the_default_alias_of_get_is_that_of_a_promotion() -> None:
    assert evidence.DEPLOYABLE == DEPLOYABLE
