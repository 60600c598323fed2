"""The optional parts of a record: what may be None or empty in it, and the record without them."""

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

Place = tuple[str | int, ...]
"""Names of fields, keys and indices, from the root of a record to one of its parts."""
REQUIRED = ("folders", "manifests", "normalisers")
"""Fields that are never empty: one entry for each stage, and the headline normaliser."""


@dataclasses.dataclass(frozen=True, slots=True)
class MissingPart:
    """A part of a record and what it is where nothing was measured."""

    place: Place
    empty: Any

    def __str__(self) -> str:
        words = ".".join(map(str, self.place))
        return f"{words}={'null values' if self.empty else self.empty}"


def optional_parts(record: Any) -> list[MissingPart]:
    """Every part that may be None, an empty mapping or an empty tuple, and is not."""
    return [part for part in _walk(record, type(record), ()) if not set(REQUIRED) & set(part.place)]


def _walk(value: Any, hint: Any, place: Place) -> Iterator[MissingPart]:
    options = _options(hint)
    if value is None or value in ({}, ()):
        return
    if type(None) in options:
        yield MissingPart(place, None)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), hints[field.name], (*place, field.name))
        return
    inner = _entry_type(options)
    if inner is None:
        return
    entries: list[tuple[str | int, Any]]
    if isinstance(value, Mapping):
        yield MissingPart(place, {})
        if type(None) in _options(inner):
            yield MissingPart(place, dict.fromkeys(value))
        entries = list(value.items())
    else:
        yield MissingPart(place, ())
        if type(None) in _options(inner):
            yield MissingPart(place, (None,) * len(value))
        entries = list(enumerate(value))
    if any(isinstance(entry, Mapping | tuple) or _is_record(entry) for _, entry in entries):
        for key, entry in dict([entries[0], entries[-1]]).items():
            yield from _walk(entry, inner, (*place, key))


def _entry_type(options: tuple[Any, ...]) -> Any:
    """The type of the entries of a mapping or of a sequence of any length; None of another type."""
    for option in options:
        origin, arguments = get_origin(option), get_args(option)
        if origin is Mapping:
            return arguments[1]
        if origin is Sequence or (origin is tuple and Ellipsis in arguments):
            return arguments[0]
    return None


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, Path)


def _options(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def without(record: Any, missing: Sequence[MissingPart]) -> Any:
    """The record without some of its parts; a part below a missing one is missing with it."""
    for part in sorted(missing, key=lambda one: -len(one.place)):
        record = _replaced(record, part.place, part.empty)
    return record


def _replaced(value: Any, place: Place, empty: Any) -> Any:
    if not place:
        return empty
    first, *rest = place
    if isinstance(value, Mapping):
        return {**value, first: _replaced(value[str(first)], tuple(rest), empty)}
    if isinstance(value, tuple | list):
        number = int(first)
        return (*value[:number], _replaced(value[number], tuple(rest), empty), *value[number + 1 :])
    changed = _replaced(getattr(value, str(first)), tuple(rest), empty)
    return dataclasses.replace(value, **{str(first): changed})
