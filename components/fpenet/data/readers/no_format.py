"""Formats that are known but not read: named, so that a person knows what to export."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.tools.xml_elements import xml_elements, xml_root

TABLE = "write a table: a CSV with the columns filename, x1, y1, x2, y2, ... (data.format: table)"
_MOST_FILES = 16


def name_unread_format(source: LabelSource) -> str:
    """``; labels.json: VIA 3, which is not read: ...``, or nothing where no file is known."""
    for suffixes, name_of in _NAMES.items():
        for file in source.files(*suffixes)[:_MOST_FILES]:
            try:
                name = name_of(source, file)
            except (InputError, OSError, ValueError):
                continue
            if name:
                return f"; {source.where(file)} is {name}, which is not read: {TABLE}"
    return ""


def _json_name(source: LabelSource, file: Path) -> str | None:
    value = source.peek(file)
    if isinstance(value, list):
        value = next((record for record in value if isinstance(record, Mapping)), None)
    return _object_name(value) if isinstance(value, Mapping) else None


def _object_name(value: Mapping[str, Any]) -> str | None:
    annotations = value.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    if isinstance(first, Mapping) and "segments_info" in first:
        return "COCO panoptic segmentation"
    return next((name for name, keys in _JSON_KEYS.items() if keys <= value.keys()), None)


def _lines_name(source: LabelSource, file: Path) -> str | None:
    with file.open(encoding="utf-8-sig") as lines:
        value = json.loads(lines.readline(1 << 20))
    return _object_name(value) if isinstance(value, Mapping) else None


def _xml_name(source: LabelSource, file: Path) -> str | None:
    root = xml_root(file)
    if root == "annotations" and next(xml_elements(file, ["track"]), None):
        return "CVAT for video (export it as 'CVAT for images 1.1')"
    return {"annotation": "Pascal VOC", "View": "a labelling config of Label Studio"}.get(root)


def _text_name(source: LabelSource, file: Path) -> str | None:
    with file.open(encoding="utf-8") as lines:
        rows = [line.split() for _, line in zip(range(_MOST_FILES), lines, strict=False)]
    rows = [row for row in rows if row]
    is_boxes = rows and all(
        len(row) == 5 and row[0].isdigit() and all(0 <= float(v) <= 1 for v in row[1:])
        for row in rows
    )
    return "YOLO detection (boxes without keypoints)" if is_boxes else None


def _suffix_name(name: str, source: LabelSource, file: Path) -> str:
    return name


_JSON_KEYS: dict[str, set[str]] = {
    "VIA 3 (export the project with VIA 2)": {"project", "attribute", "file", "metadata"},
    "Supervisely": {"size", "objects", "tags"},
    "Labelbox": {"data_row", "projects"},
    "an old export of Labelbox": {"Labeled Data", "Label"},
    "V7 Darwin": {"item", "annotations"},
    "an old export of V7 Darwin": {"dataset", "image", "annotations"},
    "SuperAnnotate": {"metadata", "instances"},
    "Datumaro": {"categories", "items"},
    "Create ML": {"image", "annotations"},
}
"""Name -> keys of its JSON object, or of the first object of its list."""

_BY_SUFFIX: dict[str, tuple[str, ...]] = {
    "an Excel workbook (save the sheet as CSV)": (".xlsx", ".xls"),
    "an OpenDocument sheet (save it as CSV)": (".ods",),
    "a NumPy file": (".npy", ".npz"),
    "a Python pickle (never opened)": (".pkl", ".pickle"),
    "an HDF5 file": (".h5", ".hdf5"),
    "a MATLAB file of another kind than Multi-PIE's, AFLW2000's and 300W-LP's": (".mat",),
    "a TFRecord": (".tfrecord", ".tfrecords", ".record"),
    "an LMDB database": (".mdb",),
    "a database": (".db", ".sqlite"),
    "a RecordIO file": (".rec",),
}
"""Name -> suffixes of its files."""

_NAMES: dict[tuple[str, ...], Callable[[LabelSource, Path], str | None]] = {
    (".json",): _json_name,
    (".ndjson", ".jsonl"): _lines_name,
    (".xml",): _xml_name,
    (".txt",): _text_name,
    **{suffixes: partial(_suffix_name, name) for name, suffixes in _BY_SUFFIX.items()},
}
"""Suffixes -> what names a file's format."""
