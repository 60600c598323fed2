"""Reader and writer of a table of faces: CSV or Parquet, one row for each face.

Columns: ``filename``; ``x<k>`` and ``y<k>`` in image pixels, numbered from 1, or from 0 if there is
``x0`` (an underscore before the number is allowed); optional: ``occluded<k>``, ``box_x``,
``box_y``, ``box_width``, ``box_height``, ``occlusion_level`` and ``subject``. Each further column
is an attribute; it is numeric if each of its values is a number (``05`` is a name, not a number). A
keypoint with empty cells is unlabelled. ``data.columns`` maps other names and numbers of columns.
Keypoints with words, ``nose_x`` and ``nose_y``, are read in the order of the set's scheme file,
else of the columns; see ``table_columns``.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fpenet.core.errors import InputError
from fpenet.data.readers.delimited import open_table
from fpenet.data.readers.general.table_columns import (
    BOX,
    Columns,
    by_number,
    columns_of,
    describe_columns,
    keypoint_words,
    numbered_names,
    our_names,
)
from fpenet.data.readers.image_names import is_image
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import (
    Box,
    LabelledFace,
    UnreadFace,
    finite_number,
    short_value,
)
from fpenet.data.readers.sidecar import KEYPOINT_COLUMN, is_number
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Bools, FaceSample, Floats

LABELS = "labels.csv"
SUFFIXES = (".csv", ".tsv", ".parquet")
_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_BATCH = 1024


def is_table(source: LabelSource, file: Path) -> bool:
    """Whether the file has columns of keypoints.

    Raises:
        InputError: not a CSV or Parquet file, or one of other columns, which the message names.
    """
    names = _names(source, file)
    if any(map(KEYPOINT_COLUMN.fullmatch, names)) or keypoint_words(names):
        return True
    raise InputError(f"{file}: {describe_columns(names)}")


def detects_table(source: LabelSource) -> bool:
    """Whether there is a table with columns of keypoints."""
    return source.has(partial(is_table, source), *SUFFIXES)


def find_table(source: LabelSource) -> Path:
    """The table of a folder, or the file that is named.

    Raises:
        InputError: there is none, or more than one.
    """
    what = "table with the columns filename, x1, y1, ..."
    return source.select_one(what, "tables", partial(is_table, source), *SUFFIXES)


def read_table_set(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """Every face of a table.

    Raises:
        InputError: there is no table, or its columns cannot be used.
    """
    file = find_table(source)
    columns = columns_of(file, numbered_names(source, _names(source, file)))
    numbers = _number_columns(source, file, columns) if _is_text(file) else set()
    for number, row in enumerate(_rows(source, file), start=1):
        where = f"{source.where(file)}, row {number}"
        try:
            points, visible = _points(row, columns)
            about = {
                name: _attribute(row[name], name in numbers)
                for name in columns.attributes
                if not _is_empty(row[name])
            }
            subject = None if _is_empty(row.get("subject")) else str(row["subject"])
            face = points, visible, _box(row), _level(row.get("occlusion_level")), subject, about
            yield LabelledFace(source.image(row.get("filename"), file), where, *face)
        except Refusal as refusal:
            yield UnreadFace(str(row.get("filename")), where, refusal)


def _is_text(file: Path) -> bool:
    return file.suffix.lower() != ".parquet"


def _names(source: LabelSource, file: Path) -> list[str]:
    """The names of the columns; ours where ``data.columns`` has one for a column of the table."""
    if _is_text(file):
        names = list(open_table(file).names)
    else:
        try:
            names = list(pq.read_schema(file).names)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file}: not Parquet: {error}") from None
    return our_names(names, source.columns)


def _has_names(source: LabelSource, first: Sequence[str]) -> bool:
    """Whether the first line has names: not where ``data.columns`` has numbers and it names an
    image."""
    if not by_number(source.columns):
        return True
    names = our_names(first, source.columns)
    return not ("filename" in names and is_image(first[names.index("filename")]))


def _rows(source: LabelSource, file: Path) -> Iterator[Mapping[str, Any]]:
    """Column -> value of each row; text from a CSV."""
    names = numbered_names(source, _names(source, file))
    if _is_text(file):
        table = open_table(file)
        for _, cells in table.rows(_has_names(source, table.names)):
            yield dict(zip(names, cells, strict=True))
        return
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(_BATCH):
            for row in batch.to_pylist():
                yield dict(zip(names, row.values(), strict=True))


def _number_columns(source: LabelSource, file: Path, columns: Columns) -> set[str]:
    """The attributes of a CSV in which every value is a number."""
    numeric = set(columns.attributes)
    for row in _rows(source, file):
        numeric = {name for name in numeric if row[name] == "" or is_number(row[name])}
        if not numeric:
            break
    return numeric


def _attribute(value: Any, as_number: bool) -> str | float:
    return float(value) if as_number or isinstance(value, int | float) else str(value)


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _points(row: Mapping[str, Any], columns: Columns) -> tuple[Floats, Bools]:
    count = max(columns.coordinates) + 1
    points: Floats = np.full((count, 2), np.nan)
    for k, names in columns.coordinates.items():
        empty = [_is_empty(row[name]) for name in names]
        if any(empty) and not all(empty):
            raise Refusal("coordinate", f"one of {' and '.join(names)} is missing")
        if not any(empty):
            points[k] = [finite_number(name, row[name]) for name in names]
    if np.isnan(points).all():
        raise Refusal("no keypoints", "a row without a point", broken=False)
    visible: Bools = ~np.isnan(points[:, 0])
    for k, name in columns.hidden.items():
        if not _is_empty(row[name]):
            text = str(row[name]).lower()
            if text not in _FLAGS:
                raise Refusal(
                    "visibility", f"{name} is {short_value(row[name])}; it must be 0 or 1"
                )
            visible[k] &= not _FLAGS[text]
    return points, visible


def _box(row: Mapping[str, Any]) -> Box | None:
    values = [row.get(name) for name in BOX]
    if all(map(_is_empty, values)):
        return None
    x, y, width, height = map(finite_number, BOX, values)
    if not (width > 0 and height > 0):
        raise Refusal("face box", f"the box is {width:g}x{height:g} px; it has no area")
    return x, y, width, height


def _level(value: Any) -> int | None:
    if _is_empty(value):
        return None
    level = finite_number("occlusion_level", value)
    if level not in range(10):
        raise Refusal("occlusion level", f"occlusion_level is {level:g}; it must be 0 to 9")
    return int(level)


def write_table_set(samples: Sequence[FaceSample], folder: Path) -> Mapping[int, Refusal]:
    """Write ``folder/labels.csv``; the format supports all fields of a FaceSample."""
    count = len(samples[0].points)
    keypoints = [f"{axis}{k}" for k in range(1, count + 1) for axis in ("x", "y", "occluded")]
    attributes = sorted({name for sample in samples for name in sample.attributes})
    with (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "subject", "occlusion_level", *BOX, *attributes, *keypoints])
        for sample in samples:
            about = [sample.attributes.get(name, "") for name in attributes]
            level = "" if sample.occlusion_level is None else sample.occlusion_level
            cells: list[object] = []
            for (x, y), is_visible in zip(sample.points.tolist(), sample.visible, strict=True):
                cells += ["", "", ""] if math.isnan(x) else [x, y, int(not is_visible)]
            writer.writerow(
                [sample.image, sample.subject or "", level, *sample.face_box, *about, *cells]
            )
    return {}
