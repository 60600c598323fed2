"""Read text tables of Excel and others: CSV of unknown encoding, separator and decimal mark.

Encodings: UTF-8 and UTF-16, with or without a byte order mark, else Windows-1252. Separators:
comma, semicolon, tab; a first line ``sep=;`` is followed. Decimal commas are read where the
separator is no comma and no cell has a decimal point.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fpenet.core.errors import InputError

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATORS = (",", ";", "\t")
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", re.ASCII)
_SAMPLED = 1000  # rows by which the decimal mark is known


@dataclass(frozen=True, slots=True)
class DelimitedTable:
    """A text table, not read yet.

    Attributes:
        names: the cells of the first line.
        first_line: number of that line, from 1.
    """

    path: Path
    encoding: str
    separator: str
    decimal_comma: bool
    names: Sequence[str]
    first_line: int

    def rows(self, has_names: bool = True) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each row, with decimal points; empty lines are skipped.

        Args:
            has_names: the first line has names and is no row.

        Raises:
            InputError: not a CSV, or a row with another number of cells than the first line.
        """
        lines = _lines(self.path, self.encoding, self.separator)
        for number, cells in islice(lines, self.first_line - 1 + has_names, None):
            if len(cells) != len(self.names):
                problem = f"{len(cells)} values for {len(self.names)} columns"
                raise InputError(f"{self.path}, line {number}: {problem}")
            if self.decimal_comma:
                cells = [c.replace(",", ".") if _COMMA.fullmatch(c) else c for c in cells]
            yield number, cells


def open_table(path: Path) -> DelimitedTable:
    """The table in a file, with its encoding, separator and decimal mark.

    Raises:
        InputError: not text, or no CSV.
    """
    encoding = _encoding_of(path)
    try:
        with path.open(encoding=encoding, newline="") as file:
            first = file.readline()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not {encoding} at byte {error.start}") from None
    start, separator = 1, None
    if re.fullmatch(r'"?sep=.\s*', first.strip("\r\n")):
        start, separator = 2, first.lstrip('"')[4]
    separator = separator or max(_SEPARATORS, key=first.count)
    lines = list(islice(_lines(path, encoding, separator), start - 1, start + _SAMPLED))
    names = lines[0][1] if lines else []
    cells = [cell for _, row in lines[1:] for cell in row] if separator != "," else []
    has_comma = any(map(_COMMA.fullmatch, cells)) and not any(map(_POINT.fullmatch, cells))
    return DelimitedTable(path, encoding, separator, has_comma, names, start)


def _lines(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not empty."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            lines = csv.reader(file, strict=True, delimiter=separator)
            for cells in lines:
                if cells:
                    yield lines.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not {encoding} at byte {error.start}") from None


def _encoding_of(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        if head[1::2].count(0) > len(head) // 4:
            return "utf-16-le"
        if head[::2].count(0) > len(head) // 4:
            return "utf-16-be"
        if b"\0" in head:
            raise InputError(f"{path}: not text")
        decoder = codecs.getincrementaldecoder("utf-8")()
        file.seek(0)
        try:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"
