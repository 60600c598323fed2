"""FaceSample: one labelled face, independent of the label format.

Stages exchange a set of faces as one Parquet table with one row per face; each attribute is a
column ``attr_<name>``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
ATTRIBUTE = "attr_"
_ROW_GROUP = 8192  # rows; a reader that streams holds one of them


@dataclass(frozen=True, slots=True)
class FaceSample:
    """One labelled face.

    Attributes:
        image: path of the image, relative to the data set's root, with forward slashes.
        image_size: (width, height) in pixels, of the image on which the labels were made.
        face_box: (x, y, width, height) in image pixels; tight around the face.
        points: (K, 2) float, image pixels, pixel centres at integers; NaN where unlabelled.
        visible: (K,) bool; False where hidden or unlabelled.
        occlusion_level: 0-9, or None if not labelled.
        subject: id of the subject, or None if unknown.
        attributes: session, recording, camera, yaw (degrees), illumination, source, ...
        turn: whether the pixels are turned by the EXIF orientation, so that the labels fit; None:
            the image has no orientation.
    """

    image: str
    image_size: tuple[int, int]
    face_box: tuple[float, float, float, float]
    points: Floats
    visible: Bools
    occlusion_level: int | None
    subject: str | None
    attributes: Mapping[str, str | float] = field(default_factory=dict)
    turn: bool | None = None


def keypoints_box(points: Floats) -> tuple[float, float, float, float]:
    """(x, y, width, height) of the box around the labelled points of ``points`` (K, 2)."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def table_of(samples: Sequence[FaceSample]) -> pa.Table:
    """A table with one row per face. All samples have the same K.

    Columns: image, width, height, box_x, box_y, box_width, box_height, points (2K floats: x1,
    y1, ...), visible (K bools), occlusion_level, subject, turn, attr_*.
    """
    columns: dict[str, pa.Array] = {
        "image": pa.array([s.image for s in samples], pa.string()),
        "width": pa.array([s.image_size[0] for s in samples], pa.int32()),
        "height": pa.array([s.image_size[1] for s in samples], pa.int32()),
    }
    for index, name in enumerate(("box_x", "box_y", "box_width", "box_height")):
        columns[name] = pa.array([s.face_box[index] for s in samples], pa.float64())
    columns["points"] = fixed_lists(np.stack([s.points.reshape(-1) for s in samples]))
    columns["visible"] = fixed_lists(np.stack([s.visible for s in samples]))
    columns["occlusion_level"] = pa.array([s.occlusion_level for s in samples], pa.int8())
    columns["subject"] = pa.array([s.subject for s in samples], pa.string())
    columns["turn"] = pa.array([s.turn for s in samples], pa.bool_())
    for name in sorted({name for s in samples for name in s.attributes}):
        columns[ATTRIBUTE + name] = pa.array([s.attributes.get(name) for s in samples])
    return pa.table(columns)


def fixed_lists(rows: NDArray[np.generic]) -> pa.FixedSizeListArray:
    """(N, M) array as a column of N lists of M."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def points_of(table: pa.Table) -> Floats:
    """(N, K, 2) float64 points of a table, image pixels."""
    flat: Floats = _array(table["points"].combine_chunks().flatten())
    return flat.reshape(len(table), -1, 2)


def visible_of(table: pa.Table) -> Bools:
    """(N, K) bool visibility of a table."""
    flat = _array(table["visible"].combine_chunks().flatten().cast(pa.uint8()))
    return flat.reshape(len(table), -1).astype(np.bool_)


def numbers_of(table: pa.Table, name: str) -> NDArray[Any]:
    """(N,) values of a numeric column without missing values."""
    return _array(table[name].combine_chunks())


def _array(values: pa.Array) -> NDArray[Any]:
    """The numbers of a column without a copy; ``to_numpy`` would import pandas, for seconds."""
    return np.from_dlpack(values)


def write_table(table: pa.Table, path: Path, **about: str) -> None:
    """Write ``table`` as Parquet with the strings ``about`` in its schema."""
    pq.write_table(table.replace_schema_metadata(about), path, _ROW_GROUP, compression="zstd")


def read_table(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """The table at ``path`` and the strings written with it."""
    with pq.ParquetFile(path) as file:  # pq.read_table would import pandas, for seconds
        table = file.read()
    about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    return table, about
