"""Sidecar files in the folder of the labels: dataset name, scheme, and CSV files of images."""

import os
import re
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fpenet.core.errors import InputError
from fpenet.data.readers.delimited import DelimitedTable, open_table
from fpenet.data.readers.image_folders import is_hidden
from fpenet.data.readers.json_records import read_label_json
from fpenet.data.readers.label_source import ABOUT, SCHEME, LabelSource
from fpenet.params.scheme import SchemeParams, read_scheme
from fpenet.params.section import Name

Attributes = dict[str, str | float]
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
KEYPOINT_COLUMN = re.compile(r"(x|y|occluded)_?(\d{1,9})", re.ASCII)
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


def scheme_file(source: LabelSource) -> Path | None:
    """scheme.json, scheme.yaml or scheme.yml in the folder of the labels, or in the root."""
    for folder in (source.folder, source.root):
        for name in (SCHEME, "scheme.yaml", "scheme.yml"):
            if (folder / name).is_file():
                return folder / name
    return None


def own_scheme(source: LabelSource, num_keypoints: int) -> SchemeParams | None:
    """The scheme of the set's scheme file, else of its label files, or None where it has none.

    Raises:
        InputError: the file is no scheme, or one of another number of keypoints.
    """
    path = scheme_file(source)
    if path is None:
        scheme = source.own_scheme
        return scheme if scheme and len(scheme.keypoints) == num_keypoints else None
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


def image_columns(source: LabelSource) -> dict[str, Attributes]:
    """Image as written -> column -> value, from every CSV with a column ``filename``.

    The CSV files are in the folder of the labels, or in the root; a file of the labels is not read
    here. A column is numeric if each of its values is a number, else text; ``subject`` is always
    text. A CSV that cannot be read or has no ``filename`` is skipped, and so named.

    Raises:
        InputError: a repeated image, a line with another number of cells, or a column in two files;
            the message names file and line.
    """
    merged: dict[str, Attributes] = {}
    file_of: dict[str, Path] = {}
    for path in sidecar_files(source):
        try:
            table = open_table(path)
        except InputError as error:
            source.skipped[path] = str(error).removeprefix(f"{path}: ")
            continue
        if "filename" not in table.names:
            source.skipped[path] = "has no column filename"
            continue
        if "region_shape_attributes" in table.names:
            source.skipped[path] = "an export of VIA; another label file is read"
            continue
        if any(map(KEYPOINT_COLUMN.fullmatch, table.names)):
            source.skipped[path] = "a table of keypoints; another label file is read"
            continue
        source.skipped.pop(path, None)
        rows = _rows_by_image(table)
        for column in table.names:
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


def sidecar_files(source: LabelSource) -> list[Path]:
    """The CSV files in the folder of the labels and in the root that are no label files."""
    folders = dict.fromkeys((source.folder, source.root))
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == ".csv"
        and path.is_file()
        and not is_hidden(path.name)
        and path not in source.used
    ]


def _rows_by_image(table: DelimitedTable) -> dict[str, dict[str, str]]:
    if len(set(table.names)) != len(table.names):
        raise InputError(f"{table.path}: a column is repeated in {table.names}")
    rows: dict[str, dict[str, str]] = {}
    for line, cells in table.rows():
        row = dict(zip(table.names, cells, strict=True))
        name = os.path.normpath(row["filename"].replace("\\", "/"))
        if name in rows:
            raise InputError(f"{table.path}, line {line}: {name} is repeated")
        rows[name] = row
    return rows
