"""Stage crop: crop every kept face into the memory-mapped store (see ``crops.store``).

Input: the validated faces and their parts, read shard by shard so that memory does not grow with
the set. Does: computes the box of each face (see ``geometry``), then the crops (see ``shards``).
Output: ``faces.parquet``, ``tight.parquet``, ``crops.npy``, ``tight.npy``, and the digests of the
shards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fpenet.data.crops.geometry import CropBox, face_crop_box, tight_crop_box
from fpenet.data.crops.shards import allocate, fill_store
from fpenet.data.crops.store import CROP_PX
from fpenet.data.sample import points_of, read_table, write_table
from fpenet.params import CropParams

SHARD_FACES = 256
_BOX = ("center_x", "center_y", "side")


@dataclass(slots=True)
class _Counts:
    """Statistics of all boxes.

    Attributes:
        tight_rows, tight_boxes: the judged faces whose tight crop is inside the image.
    """

    faces: int = 0
    judged: int = 0
    outside_sum: float = 0.0
    outside_max: float = 0.0
    tight_rows: list[int] = field(default_factory=list)
    tight_boxes: list[CropBox] = field(default_factory=list)


def crop_faces(
    *, validate_dir: Path, split_dir: Path, crop: CropParams, out_dir: Path
) -> dict[str, Any]:
    """Crop every validated face; resumes an interrupted run with the same key.

    Returns:
        counts, and mean and maximum of the share of a crop outside its image.

    Raises:
        InputError: an image cannot be read; the message names it.
    """
    parts = read_table(split_dir / "parts.parquet")[0]["part"]
    judged = "kpi" if pc.any(pc.equal(parts, "kpi")).as_py() else "val"
    with pq.ParquetFile(validate_dir / "samples.parquet", pre_buffer=False) as samples:
        about = {k.decode(): v.decode() for k, v in samples.schema_arrow.metadata.items()}
        counts = _write_faces(samples, parts, judged, crop, out_dir)
    allocate(out_dir / "crops.npy", counts.faces, crop.store_px)
    allocate(out_dir / "tight.npy", len(counts.tight_rows), CROP_PX)
    fill_store(out_dir, Path(about["root"]))
    return {
        "faces": counts.faces,
        "judged_part": judged,
        "judged": counts.judged,
        "judged_without_tight_crop": counts.judged - len(counts.tight_rows),
        "outside_mean": counts.outside_sum / counts.faces,
        "outside_max": counts.outside_max,
    }


def _write_faces(
    samples: pq.ParquetFile, parts: pa.ChunkedArray, judged: str, crop: CropParams, out_dir: Path
) -> _Counts:
    """Write both tables, with one row group for each shard."""
    counts = _Counts()
    old = samples.schema_arrow
    numbers = [pa.field(name, pa.float64()) for name in (*_BOX, "outside")]
    schema = pa.schema([*old, pa.field("part", pa.string()), *numbers])
    about = {**old.metadata, b"box_scale": str(crop.box_scale).encode()}
    path = out_dir / "faces.parquet"
    with pq.ParquetWriter(path, schema.with_metadata(about), compression="zstd") as writer:
        for batch in _shards_of(samples):
            shard_parts = parts.slice(counts.faces, len(batch))
            boxes = [face_crop_box(box, crop.box_scale) for box in _face_boxes(batch)]
            sizes = list(zip(batch["width"].to_pylist(), batch["height"].to_pylist(), strict=True))
            outside = [box.outside(*size) for box, size in zip(boxes, sizes, strict=True)]
            _add_tight(counts, batch, shard_parts.to_pylist(), judged, sizes)
            counts.faces += len(batch)
            counts.outside_sum += sum(outside)
            counts.outside_max = max(counts.outside_max, *outside)
            columns = [shard_parts.combine_chunks(), *_box_columns(boxes)]
            columns.append(pa.array(outside, pa.float64()))
            writer.write_table(pa.table([*batch.columns, *columns], schema=writer.schema))
    tight = pa.array(counts.tight_rows, pa.int64())
    columns = [tight, *_box_columns(counts.tight_boxes)]
    table = pa.table(columns, names=["row", *_BOX])
    write_table(table, out_dir / "tight.parquet")
    return counts


def _shards_of(samples: pq.ParquetFile) -> Iterator[pa.Table]:
    """The rows in tables of SHARD_FACES; the last may have fewer."""
    rest: pa.Table | None = None
    for batch in samples.iter_batches(SHARD_FACES, use_threads=False):
        table = pa.Table.from_batches([batch])
        rest = table if rest is None else pa.concat_tables([rest, table])
        while len(rest) >= SHARD_FACES:
            yield rest.slice(0, SHARD_FACES)
            rest = rest.slice(SHARD_FACES)
    if rest is not None and len(rest):
        yield rest


def _face_boxes(table: pa.Table) -> Iterator[tuple[float, float, float, float]]:
    columns = [table[f"box_{side}"].to_pylist() for side in ("x", "y", "width", "height")]
    return zip(*columns, strict=True)


def _add_tight(
    counts: _Counts,
    table: pa.Table,
    parts: list[str],
    judged: str,
    sizes: list[tuple[int, int]],
) -> None:
    """Add the tight boxes of the judged faces to ``counts``.

    A box that leaves the image is left out, as in FPENet (docs/fpenet.md, Crop).
    """
    rows = [row for row, part in enumerate(parts) if part == judged]
    counts.judged += len(rows)
    if not rows:
        return
    points = points_of(table)
    for row in rows:
        box = tight_crop_box(points[row])
        if box.outside(*sizes[row]) <= 1e-9:
            counts.tight_rows.append(counts.faces + row)
            counts.tight_boxes.append(box)


def _box_columns(boxes: list[CropBox]) -> list[pa.Array]:
    return [pa.array([getattr(box, name) for box in boxes], pa.float64()) for name in _BOX]
