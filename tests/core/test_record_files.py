"""Every record that the sources write comes back from its file, and another version is refused."""

import ast
import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord, Identifier
from fpenet.params.registered import Registered

ROOT = Path(__file__).parents[2]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers())


def classes_with_base(*bases: str) -> list[type]:
    """The classes of the sources that derive from one of these, by name, or from such a class."""
    found: list[type] = []
    known = set(bases)
    files = [*(ROOT / "components/fpenet").rglob("*.py"), *(ROOT / "flows").glob("*.py")]
    trees = {path: ast.parse(path.read_bytes()) for path in files}
    before = 0
    while len(known) > before:
        before = len(known)
        for path, tree in sorted(trees.items()):
            for node in ast.walk(tree):
                if not isinstance(node, ast.ClassDef) or node.name in known:
                    continue
                if known & {ast.unparse(base) for base in node.bases}:
                    known.add(node.name)
                    place = path.relative_to(ROOT).with_suffix("").parts
                    module = ".".join(part for part in place if part != "components")
                    found.append(getattr(import_module(module), node.name))
    return sorted(found, key=lambda each: each.__name__)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type that a record may have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return JSON
    if origin is Annotated:
        names = [each.names for each in arguments[1:] if isinstance(each, Registered)]
        return st.sampled_from(names[0]) if names else values_of(arguments[0])
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values_of, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin in (list, Sequence):
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin in (dict, Mapping):
        return st.dictionaries(*map(values_of, arguments), max_size=2)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        fields = {each.name: values_of(hints[each.name]) for each in dataclasses.fields(kind)}
        return st.builds(kind, **fields)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    plain = {
        type(None): st.none(),
        str: st.text(max_size=9),
        bool: st.booleans(),
        int: st.integers(),
        float: NUMBERS,
        Path: st.sampled_from([Path("a/b.txt"), Path("c")]),
    }
    return plain[kind]


RECORDS = classes_with_base("FileRecord")
ENUMS = classes_with_base("Identifier", "StrEnum")


def test_the_files_of_a_release_are_among_the_records() -> None:
    names = {kind.__name__ for kind in RECORDS}
    assert {"EngineTable", "GateDecision", "ReleaseManifest", "LedgerEntry", "RunResult"} <= names


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_record_comes_back_from_its_file(kind: type[FileRecord], data: st.DataObject) -> None:
    record = data.draw(values_of(kind))
    again = kind.parse(record.text(), "file.json")
    assert again == record
    assert again.text() == record.text()
    tree = json.loads(record.text())
    for version in (kind.format_version + 1, None):
        with pytest.raises(InputError) as caught:
            kind.from_tree(tree | {"format": version}, "file.json")
        assert str(caught.value).startswith(
            f"file.json: format is {version or 'missing (written before formats were numbered)'},"
            f" this version of fpenet reads format {kind.format_version} of {kind.__name__};"
        )


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_every_value_of_a_status_is_an_identifier(kind: type[Identifier]) -> None:
    values = [member.value for member in kind]
    assert values
    assert all(value.isidentifier() and value == value.lower() for value in values), values
