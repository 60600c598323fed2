"""Files that are labels of faces in a format that is not read, by what they are."""

from collections.abc import Iterable
from pathlib import Path

UNREAD: dict[str, str] = {
    ".xlsx": "Excel workbooks; save the sheet as CSV",
    ".xls": "Excel workbooks; save the sheet as CSV",
    ".ods": "OpenDocument sheets; save the sheet as CSV",
    ".npy": "NumPy arrays",
    ".npz": "NumPy archives",
    ".pkl": "Python pickles, which are never opened",
    ".pickle": "Python pickles, which are never opened",
    ".h5": "HDF5 files",
    ".hdf5": "HDF5 files",
    ".mat": "MATLAB files of another kind than Multi-PIE's, AFLW2000's and 300W-LP's",
    ".tfrecord": "TFRecord files",
    ".tfrecords": "TFRecord files",
    ".mdb": "LMDB databases",
    ".db": "databases",
    ".sqlite": "SQLite databases",
    ".rec": "RecordIO files",
}
"""Suffix -> what the files are."""


def describe_unread(files: Iterable[Path]) -> str:
    """``; 3 *.npy are NumPy arrays; write their points as a table ...``, or nothing."""
    counts: dict[str, int] = {}
    for file in files:
        if (suffix := file.suffix.lower()) in UNREAD:
            counts[suffix] = counts.get(suffix, 0) + 1
    if not counts:
        return ""
    suffix = max(counts, key=lambda each: counts[each])
    return (
        f"; {counts[suffix]} *{suffix}: {UNREAD[suffix]}; what is not read can be written as a"
        " table with the columns filename, x1, y1, ... (CSV or Parquet)"
    )
