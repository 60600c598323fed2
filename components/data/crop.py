"""Stage crop: the one crop geometry of training, KPI, calibration and inference.

Frame: a crop of S pixels shows the square of ``side`` image pixels about (center_x, center_y), and
u = (x - center_x) * S / side + (S - 1) / 2, pixel centres at integers on both sides. Nothing is
dropped at the border: edges are replicated and the fraction outside is recorded.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from components.data.crop_store import CROP_PX
from components.data.images import read_grey
from components.data.sample import Floats, points_of, read_table, write_table
from components.params import CropParams
from components.progress import report

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CropBox:
    """The square of an image that a crop shows: centre and side in image pixels."""

    center_x: float
    center_y: float
    side: float

    def to_crop(self, points_image: Floats, size_px: int = CROP_PX) -> Floats:
        """(..., 2) image pixels to pixels of the crop of ``size_px``."""
        center = np.array([self.center_x, self.center_y])
        points_crop: Floats = (points_image - center) * (size_px / self.side) + (size_px - 1) / 2
        return points_crop

    def to_image(self, points_crop: Floats, size_px: int = CROP_PX) -> Floats:
        """(..., 2) pixels of the crop of ``size_px`` to image pixels."""
        center = np.array([self.center_x, self.center_y])
        points_image: Floats = (points_crop - (size_px - 1) / 2) * (self.side / size_px) + center
        return points_image

    def outside(self, width: int, height: int) -> float:
        """Fraction of the square that lies outside a ``width`` x ``height`` image."""
        half = self.side / 2
        inside_x = min(self.center_x + half, width - 0.5) - max(self.center_x - half, -0.5)
        inside_y = min(self.center_y + half, height - 0.5) - max(self.center_y - half, -0.5)
        return max(0.0, 1.0 - max(inside_x, 0.0) * max(inside_y, 0.0) / self.side**2)


def face_crop_box(face_box: tuple[float, float, float, float], scale: float) -> CropBox:
    """The crop of a face: its box made square by the longer side, ``scale`` times as large.

    Args:
        face_box: (x, y, width, height), image pixels.

    Raises:
        ValueError: the box has no area or is not finite.
    """
    x, y, width, height = face_box
    side = max(width, height) * scale
    if not (math.isfinite(x + y + side) and side > 0):
        raise ValueError(f"face box {face_box}: width and height must be positive and finite")
    return CropBox(x + width / 2, y + height / 2, side)


def tight_crop_box(points_image: Floats) -> CropBox:
    """The original's crop: whole-pixel square about all keypoints, no margin (FACTS 1.4, ratio 1).

    Args:
        points_image: (K, 2), NaN where unlabelled.
    """
    x1, y1 = np.floor(np.nanmin(points_image, axis=0))
    x2, y2 = np.ceil(np.nanmax(points_image, axis=0))
    difference = abs((x2 - x1) - (y2 - y1))
    if x2 - x1 < y2 - y1:
        x1 -= math.ceil(difference / 2)
        x2 += math.floor(difference / 2)
    else:
        y1 -= math.ceil(difference / 2)
        y2 += math.floor(difference / 2)
    side = float(x2 - x1)
    return CropBox(float(x1) + side / 2 - 0.5, float(y1) + side / 2 - 0.5, side)


def cut(image: Grey, box: CropBox, size_px: int) -> Grey:
    """The ``size_px`` crop of a grey image (H, W): anti-aliased, half-pixel right, no frame."""
    height, width = image.shape
    half = box.side / 2
    left, top = box.center_x + 0.5 - half, box.center_y + 0.5 - half  # pixel i covers [i, i + 1]
    # The filter of a shrinking resize reaches one output pixel past the square.
    reach = math.ceil(max(box.side / size_px, 1.0)) + 1
    x0, y0 = math.floor(left) - reach, math.floor(top) - reach
    x1, y1 = math.ceil(left + box.side) + reach, math.ceil(top + box.side) + reach
    rows = np.clip(np.arange(y0, y1), 0, height - 1)
    columns = np.clip(np.arange(x0, x1), 0, width - 1)
    patch = Image.fromarray(image[rows[:, None], columns])
    window = (left - x0, top - y0, left - x0 + box.side, top - y0 + box.side)
    resized = patch.resize((size_px, size_px), Image.Resampling.BILINEAR, box=window)
    return np.asarray(resized)


def crop_faces(
    *, validate_dir: Path, split_dir: Path, crop: CropParams, out_dir: Path
) -> dict[str, Any]:
    """Decode every kept face once into the memory-mapped store (see ``crop_store``).

    Returns:
        counts, and how much of the crops lies outside their images.
    """
    table, about = read_table(validate_dir / "samples.parquet")
    parts = read_table(split_dir / "parts.parquet")[0]["part"].to_pylist()
    judged = "kpi" if "kpi" in parts else "val"
    points = points_of(table)
    boxes = [face_crop_box(row, crop.box_scale) for row in _face_boxes(table)]
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
    tight = _tight_boxes(points, parts, judged, sizes)

    root = Path(about["root"])
    names = table["image"].to_pylist()
    px = crop.store_px
    store = np.lib.format.open_memmap(
        out_dir / "crops.npy", mode="w+", dtype=np.uint8, shape=(len(names), px, px)
    )
    tight_crops = np.zeros((len(tight), CROP_PX, CROP_PX), np.uint8)
    place = {row: index for index, row in enumerate(tight)}

    def fill(row: int) -> None:
        image = read_grey(root / names[row])
        margin = CropBox(boxes[row].center_x, boxes[row].center_y, boxes[row].side * px / CROP_PX)
        store[row] = cut(image, margin, px)
        if row in place:
            tight_crops[place[row]] = cut(image, tight[row], CROP_PX)

    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(fill, range(len(names)), chunksize=16), start=1):
            if done % 200 == 0 or done == len(names):
                report(done, len(names), "faces")
    store.flush()
    np.save(out_dir / "tight.npy", tight_crops)
    outside = [box.outside(*size) for box, size in zip(boxes, sizes, strict=True)]
    faces = table.append_column("part", pa.array(parts))
    for name, values in (*_box_columns(boxes), ("outside", outside)):
        faces = faces.append_column(name, pa.array(values, pa.float64()))
    write_table(faces, out_dir / "faces.parquet", **about, box_scale=str(crop.box_scale))
    tight_table = pa.table({"row": pa.array(list(tight), pa.int64())})
    for name, values in _box_columns(list(tight.values())):
        tight_table = tight_table.append_column(name, pa.array(values, pa.float64()))
    write_table(tight_table, out_dir / "tight.parquet")
    return {
        "faces": len(names),
        "judged_part": judged,
        "judged": parts.count(judged),
        "judged_without_tight_crop": parts.count(judged) - len(tight),
        "outside_mean": float(np.mean(outside)),
        "outside_max": float(np.max(outside)),
    }


def _face_boxes(table: pa.Table) -> Iterator[tuple[float, float, float, float]]:
    columns = [table[f"box_{side}"].to_pylist() for side in ("x", "y", "width", "height")]
    return zip(*columns, strict=True)


def _tight_boxes(
    points: Floats, parts: list[str], judged: str, sizes: list[tuple[int, int]]
) -> dict[int, CropBox]:
    """Row -> tight box of the judged faces; none where it leaves the image, as FACTS 1.4 has it."""
    boxes = {row: tight_crop_box(points[row]) for row, part in enumerate(parts) if part == judged}
    return {row: box for row, box in boxes.items() if box.outside(*sizes[row]) <= 1e-9}


def _box_columns(boxes: list[CropBox]) -> Iterator[tuple[str, list[float]]]:
    for name in ("center_x", "center_y", "side"):
        yield name, [getattr(box, name) for box in boxes]
