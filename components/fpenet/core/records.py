"""Typed records as JSON files: frozen dataclasses that are written and read again.

A file holds one JSON object: ``format`` and one key for each field of the dataclass, sorted. A
field may be a string, ``Registered`` name, number, boolean, ``None``, ``Path``, enum, ``Literal``,
nested dataclass, tuple, sequence, mapping with string keys, or ``Any`` (any JSON value). The same
record always gives the same bytes.
"""

import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from fpenet.core.errors import InputError
from fpenet.params.registered import Registered

FORMAT = "format"
_T = TypeVar("_T", bound="FileRecord")
_P = TypeVar("_P")


class Identifier(str, Enum):
    """An enum whose values are identifiers in files; ``words`` is the text for people.

    >>> class State(Identifier):
    ...     NOT_READY = "not_ready"
    >>> f"{State.NOT_READY}", State.NOT_READY.words
    ('not_ready', 'not ready')
    """

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(str(self.value), spec)

    @property
    def words(self) -> str:
        """The value as people read it."""
        return str(self.value).replace("_", " ")


class FileRecord:
    """Base of a frozen dataclass that is a whole file; ``format_version`` is that of its file.

    Increase ``format_version`` when a field is added, removed or gets another meaning.
    """

    __slots__ = ()
    format_version: ClassVar[int] = 1

    @classmethod
    def read(cls: type[_T], path: Path) -> _T:
        """The record in a file.

        Raises:
            InputError: naming the file: missing, not JSON, of another format version, or a key is
                unknown, missing or has a value of another type.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        return cls.parse(data, path)

    @classmethod
    def parse(cls: type[_T], data: bytes | str, source: Path | str) -> _T:
        """The record in the bytes of a file; ``source`` is the name for error messages.

        Raises:
            InputError: as ``read``.
        """
        try:
            tree = json.loads(data)
        except ValueError as error:
            raise InputError(f"{source}: not JSON: {error}") from None
        return cls.from_tree(tree, source)

    @classmethod
    def from_tree(cls: type[_T], tree: Any, source: Path | str) -> _T:
        """The record of a JSON value that ``tree`` made; ``source`` as for ``parse``.

        Raises:
            InputError: as ``read``.
        """
        values = dict(tree) if isinstance(tree, dict) else {}
        version = values.pop(FORMAT, None)
        if version != cls.format_version:
            actual = repr(version)
            if version is None:
                actual = "missing (written before formats were numbered)"
            raise InputError(
                f"{source}: {FORMAT} is {actual}, this version of fpenet reads"
                f" {FORMAT} {cls.format_version} of {cls.__name__};"
                " make the file again with this version, or read it with the one that wrote it"
            )
        record = decode(values, cls, str(source))
        assert isinstance(record, cls)
        return record

    def tree(self) -> dict[str, Any]:
        """The JSON object of the file."""
        return {FORMAT: self.format_version, **encode(self)}

    def text(self) -> str:
        """The content of the file.

        Raises:
            ValueError: a number is not finite.
        """
        return json.dumps(self.tree(), indent=1, sort_keys=True, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the file; the folder must exist."""
        path.write_text(self.text(), encoding="utf-8")


def fields_of(record: Any) -> dict[str, Any]:
    """Field name -> value of a dataclass, for another one that has the same fields and more."""
    return {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}


def encode(value: Any) -> Any:
    """The JSON value of a record or of a part of one.

    Raises:
        TypeError: the value has a type that no record may have.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(item) for name, item in fields_of(value).items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a record holds a {type(value).__name__}, which is no JSON value")


def decode(value: Any, kind: Any, where: str) -> Any:
    """The value of type ``kind`` that ``encode`` made the JSON ``value`` from.

    Args:
        where: the file and the key, for error messages.

    Raises:
        InputError: ``value`` is not one of ``kind``; the message starts with ``where``.
        TypeError: ``kind`` is not a type that a record may have.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        for each in arguments[1:]:
            if isinstance(each, Registered) and value not in each.names:
                raise InputError(f"{where} is {value!r}; must be one of {list(each.names)}")
        return decode(value, arguments[0], where)
    if origin in (Union, types.UnionType):
        return _decode_union(value, arguments, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise InputError(f"{where} is {value!r}; must be one of {list(arguments)}")
        return value
    if origin is tuple:
        items = _expect(value, list, "a list", where)
        kinds = [arguments[0]] * len(items) if arguments[1:] == (...,) else list(arguments)
        if len(kinds) != len(items):
            raise InputError(f"{where} has {len(items)} values; must have {len(kinds)}")
        return tuple(
            decode(item, each, f"{where}[{index}]")
            for index, (item, each) in enumerate(zip(items, kinds, strict=True))
        )
    if origin in (list, Sequence):
        items = _expect(value, list, "a list", where)
        return [decode(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(items)]
    if origin in (dict, Mapping):
        tree = _expect(value, dict, "an object", where)
        return {
            decode(key, arguments[0], where): decode(item, arguments[1], f"{where}, {key}")
            for key, item in tree.items()
        }
    return _decode_class(value, kind, where)


def decode_part(tree: Mapping[str, Any], kind: type[_P], where: str) -> _P:
    """The value of the dataclass ``kind`` from its keys of ``tree``, which may have further ones.

    Raises:
        InputError: as ``decode``.
    """
    names = get_type_hints(kind)
    part = decode({key: value for key, value in tree.items() if key in names}, kind, where)
    assert isinstance(part, kind)
    return part


def _decode_class(value: Any, kind: Any, where: str) -> Any:
    """The value of a class: a dataclass, an enum, a path or a plain JSON type."""
    if kind is type(None):
        return _expect(value, type(None), "null", where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(value, kind, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        values = [member.value for member in kind]
        if value not in values:
            raise InputError(f"{where} is {value!r}; must be one of {values}")
        return kind(value)
    if kind is Path:
        return Path(_expect(value, str, "a path", where))
    if kind is float:
        return float(_expect(value, int | float, "a number", where))
    names = {str: "a string", bool: "true or false", int: "a whole number"}
    if kind not in names:
        raise TypeError(f"{kind} is not a type that a record may have")
    return _expect(value, kind, names[kind], where)


def _decode_dataclass(value: Any, kind: type, where: str) -> Any:
    tree = _expect(value, dict, "an object", where)
    hints = _hints(kind)
    for problem, keys in (("missing", hints.keys() - tree), ("unknown", tree.keys() - hints)):
        if keys:
            raise InputError(
                f"{where}: {problem} key {', '.join(sorted(keys))} of {kind.__name__}; its keys are"
                f" {', '.join(sorted(hints))}"
            )
    return kind(**{key: decode(tree[key], hints[key], f"{where}, {key}") for key in tree})


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Field name -> type."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def _decode_union(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return decode(value, kind, where)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _expect(value: Any, kind: Any, words: str, where: str) -> Any:
    """``value``, which must be of the JSON type ``kind``; true and false are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        text = repr(value)
        raise InputError(f"{where} is {text[:60]}; must be {words}")
    return value
