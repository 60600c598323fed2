"""Sidecar files in the folder of the labels: dataset name, scheme, and CSV files of images."""

import csv
import os
import re
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fpenet.core.errors import InputError
from fpenet.data.readers.json_records import read_label_json
from fpenet.data.readers.sloth import ABOUT, SCHEME
from fpenet.params.scheme import SchemeParams, read_scheme
from fpenet.params.section import Name

Attributes = dict[str, str | float]
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
COLUMN = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)


def dataset_name(root: Path) -> str | None:
    """The name in ``root/dataset.json``, or None where there is no such file.

    Raises:
        InputError: the file has no usable name.
    """
    path = root / ABOUT
    if not path.is_file():
        return None
    about = read_label_json(path)
    name = about.get("name") if isinstance(about, dict) else None
    try:
        return TypeAdapter(Name).validate_python(name, strict=True)
    except ValidationError:
        raise InputError(
            f"{path}: name is {name!r}; it must be letters, digits and ._- (64 at most)"
        ) from None


def own_scheme(root: Path, num_keypoints: int) -> SchemeParams | None:
    """The scheme in ``root/scheme.json``, or None where there is no such file.

    Raises:
        InputError: the file is no scheme, or one of another number of keypoints.
    """
    path = root / SCHEME
    if not path.is_file():
        return None
    scheme = read_scheme(path)
    if len(scheme.keypoints) != num_keypoints:
        raise InputError(
            f"{path}: scheme {scheme.name} has {len(scheme.keypoints)} keypoints; the labels have"
            f" {num_keypoints}"
        )
    return scheme


def folder_name(root: Path) -> str:
    """The name of the folder as the name of a data set."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("._-")[:64] or "labels"


def is_number(text: str) -> bool:
    """Whether a cell is a number; ``05`` is a name, not a number."""
    return _NUMBER.fullmatch(text) is not None


def image_columns(root: Path, labels: Path | None = None) -> dict[str, Attributes]:
    """Image path -> column -> value, from every CSV in ``root`` that has a column ``filename``.

    A column is numeric if each of its values is a number, else text; ``subject`` is always text.

    Args:
        labels: a CSV file with the labels, which is not read here.

    Raises:
        InputError: a repeated image, a line with another number of cells, or a column in two files;
            the message names file and line.
    """
    merged: dict[str, Attributes] = {}
    file_of: dict[str, Path] = {}
    for path in sorted(root.glob("*.csv")):
        if path == labels:
            continue
        names, rows = _read_csv(path)
        if "filename" not in names:
            continue
        for column in names:
            if column == "filename":
                continue
            if not COLUMN.fullmatch(column):
                raise InputError(f"{path}: column {column!r}; a name is letters, digits and _")
            if column in file_of:
                raise InputError(f"{path}: column {column!r} is in {file_of[column].name} too")
            file_of[column] = path
            values = {name: row[column] for name, row in rows.items() if row[column] != ""}
            numeric = column != "subject" and all(map(is_number, values.values()))
            for name, value in values.items():
                merged.setdefault(name, {})[column] = float(value) if numeric else value
    return merged


def _read_csv(path: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    rows: dict[str, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = [name.strip() for name in next(lines, [])]
            if "filename" not in names:
                return names, rows
            if len(set(names)) != len(names):
                raise InputError(f"{path}: a column is repeated in {names}")
            for line in lines:
                if len(line) != len(names):
                    problem = f"{len(line)} values for {len(names)} columns"
                    raise InputError(f"{path}, line {lines.line_num}: {problem}")
                row = dict(zip(names, map(str.strip, line), strict=True))
                name = os.path.normpath(row["filename"].replace("\\", "/"))
                if name in rows:
                    raise InputError(f"{path}, line {lines.line_num}: {name} is repeated")
                rows[name] = row
            return names, rows
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
