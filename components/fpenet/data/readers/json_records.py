"""Read label JSON record by record, so that records after a broken one are read too.

Rejected: encodings except UTF-8 (a byte order mark is allowed), nesting that is too deep for the
parser, integers of thousands of digits. A repeated key in an object makes its record invalid.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError

_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Record:
    """One element of the file's list.

    Attributes:
        row: its number, from 1.
        problem: why ``value`` is invalid, or None.
    """

    row: int
    value: Any
    problem: str | None


def read_label_json(path: Path) -> Any:
    """The JSON value in a small file such as dataset.json.

    Raises:
        InputError: the file is not valid JSON; the message names it and the position.
    """
    text = _read_text(path)
    repeated: list[str] = []
    value, end = _decode(path, _decoder(repeated), text, _skip_space(text, 0), "the file")
    if repeated:
        raise InputError(f"{path}: key {repeated[0]!r} is repeated")
    if _skip_space(text, end) != len(text):
        raise InputError(f"{path}: text after the end of the JSON value, at character {end}")
    return value


def read_records(path: Path) -> Iterator[Record]:
    """The elements of the list in a label file, in order.

    Raises:
        InputError: the file is not a JSON list, or is not valid JSON; the message names the record.
    """
    text = _read_text(path)
    position = _skip_space(text, 0)
    if text[position : position + 1] != "[":
        raise InputError(
            f"{path}: starts with {text[position : position + 20]!r};"
            ' a label file is a JSON list of {"filename": ..., "annotations": [...]}'
        )
    repeated: list[str] = []
    decoder = _decoder(repeated)
    position = _skip_space(text, position + 1)
    row = 0
    while text[position : position + 1] != "]":
        row += 1
        repeated.clear()
        value, position = _decode(path, decoder, text, position, f"record {row}")
        yield Record(row, value, f"key {repeated[0]!r} is repeated" if repeated else None)
        position = _skip_space(text, position)
        if text[position : position + 1] == ",":
            position = _skip_space(text, position + 1)
        elif text[position : position + 1] != "]":
            raise InputError(f"{path}: ends within the list, after record {row}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None


def _decoder(repeated: list[str]) -> json.JSONDecoder:
    """A decoder that appends every repeated key of an object to ``repeated``."""

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        collected = dict(pairs)
        if len(collected) != len(pairs):
            names: set[str] = set()
            for key, _ in pairs:
                if key in names:
                    repeated.append(key)
                names.add(key)
        return collected

    return json.JSONDecoder(object_pairs_hook=collect)


def _decode(
    path: Path, decoder: json.JSONDecoder, text: str, position: int, part: str
) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: {part}, line {error.lineno} column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise InputError(f"{path}: {part} is nested too deeply to be a label") from None
    except ValueError as error:  # an integer with thousands of digits
        raise InputError(f"{path}: {part}: {error}") from None


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] and text[position] in _SPACE:
        position += 1
    return position
