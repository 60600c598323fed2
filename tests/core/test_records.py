"""Records are written as deterministic JSON and read back with their types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from fpenet.core.engine_id import EngineId
from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord, Identifier


class Colour(Identifier):
    DARK_RED = "dark_red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    colour: Colour
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Whole(FileRecord):
    format_version: ClassVar[int] = 3

    parts: tuple[Part, ...]
    file: Path
    scale: float
    kind: Literal["a", "b"]
    metrics: Mapping[str, float | None]
    whole: bool = False
    anything: Any = None


WHOLE = Whole(
    (Part("one", Colour.DARK_RED, (1, 2)), Part("two", Colour.BLUE)),
    Path("a/b.txt"),
    0.5,
    "a",
    {"z": 1.0, "a": None},
    True,
    [1, {"x": "y"}],
)


def changed(**values: Any) -> bytes:
    return json.dumps(json.loads(WHOLE.text()) | values).encode()


def test_a_record_comes_back_with_its_types(tmp_path: Path) -> None:
    WHOLE.write(tmp_path / "whole.json")
    found = Whole.read(tmp_path / "whole.json")
    assert found == WHOLE
    assert found.parts[0].colour is Colour.DARK_RED
    assert found.parts[0].size == (1, 2)
    assert isinstance(found.file, Path)


def test_the_text_of_a_record_is_sorted_json_with_its_format() -> None:
    tree = json.loads(WHOLE.text())
    assert list(tree) == sorted(tree)
    assert list(tree["metrics"]) == ["a", "z"]
    assert tree["format"] == 3
    assert tree["parts"][0] == {"name": "one", "colour": "dark_red", "size": [1, 2]}
    assert WHOLE.text().endswith("}\n")


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    record = Whole((), Path("a"), float("nan"), "a", {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.write(tmp_path / "whole.json")
    assert not (tmp_path / "whole.json").exists()


@pytest.mark.parametrize(
    ("version", "words"),
    [(2, "format is 2"), (None, "format is missing (written before formats were numbered)")],
)
def test_a_file_of_another_format_is_refused_with_both_versions(
    version: int | None, words: str
) -> None:
    tree = json.loads(WHOLE.text())
    del tree["format"]
    data = json.dumps(tree if version is None else tree | {"format": version})
    with pytest.raises(InputError) as caught:
        Whole.parse(data, "whole.json")
    assert str(caught.value).startswith(f"whole.json: {words}, this version of fpenet reads")
    assert "format 3 of Whole" in str(caught.value)


def test_a_list_of_an_older_version_is_refused_by_its_format() -> None:
    with pytest.raises(InputError, match=r"engines\.json: format is missing"):
        Whole.parse("[]", "engines.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": "big"}, "f.json, scale is 'big'; must be a number"),
        ({"scale": True}, "f.json, scale is True; must be a number"),
        ({"whole": 1}, "f.json, whole is 1; must be true or false"),
        ({"kind": "c"}, "f.json, kind is 'c'; must be one of ['a', 'b']"),
        ({"metrics": {"a": "x"}}, "f.json, metrics, a is 'x'; must be a number"),
        ({"extra": 1}, "f.json: unknown key extra of Whole; its keys are"),
        (
            {"parts": [{"name": "x", "colour": "green", "size": None}]},
            "f.json, parts[0], colour is 'green'; must be one of ['dark_red', 'blue']",
        ),
        (
            {"parts": [{"name": "x", "colour": "blue", "size": [1]}]},
            "f.json, parts[0], size has 1 values; must have 2",
        ),
        (
            {"parts": [{"name": "x", "size": None}]},
            "f.json, parts[0]: missing key colour of Part; its keys are colour, name, size",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Whole.parse(changed(**values), "f.json")
    assert str(caught.value).startswith(message)


def test_a_missing_file_and_a_file_that_is_not_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        Whole.read(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"format": 3')
    with pytest.raises(InputError, match=r"half\.json: not JSON"):
        Whole.read(tmp_path / "half.json")


def test_an_engine_has_one_spelling() -> None:
    assert str(EngineId.parse("orin-nx/int8")) == "orin-nx/int8"
    for text in ("t4", "t4/", "/fp16", "t4/fp16/x", ""):
        with pytest.raises(InputError, match="target/precision"):
            EngineId.parse(text)
