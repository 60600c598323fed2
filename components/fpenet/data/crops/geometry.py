"""The crop geometry of training, KPI, calibration and inference.

Frame: a crop of S pixels shows the square of ``side`` image pixels about (center_x, center_y), and
u = (x - center_x) * S / side + (S - 1) / 2, with pixel centres at integers in both frames. No face
is dropped at the border: edges are replicated and the fraction outside is stored.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX, CropStore, Rows
from fpenet.data.sample import Floats, numbers_of

Grey = NDArray[np.uint8]

A_HALF_IS_ABOVE = 1e-6
"""Grey levels added before rounding, so that a half with an error in its last digit is rounded up.
"""
_UNSURE = 4e-3
"""Within this distance of a half, in grey levels, Pillow's single precision may round wrongly."""


@dataclass(frozen=True, slots=True)
class CropBox:
    """The square of an image that a crop shows: centre and side in image pixels."""

    center_x: float
    center_y: float
    side: float

    def to_crop(self, points_image: Floats, size_px: int = CROP_PX) -> Floats:
        """Points (..., 2) in image pixels, in pixels of the crop of ``size_px``."""
        center = np.array([self.center_x, self.center_y])
        points_crop: Floats = (points_image - center) * (size_px / self.side) + (size_px - 1) / 2
        return points_crop

    def to_image(self, points_crop: Floats, size_px: int = CROP_PX) -> Floats:
        """Points (..., 2) in pixels of the crop of ``size_px``, in image pixels."""
        center = np.array([self.center_x, self.center_y])
        points_image: Floats = (points_crop - (size_px - 1) / 2) * (self.side / size_px) + center
        return points_image

    def outside(self, width: int, height: int) -> float:
        """Fraction of the square outside a ``width`` x ``height`` image."""
        half = self.side / 2
        inside_x = min(self.center_x + half, width - 0.5) - max(self.center_x - half, -0.5)
        inside_y = min(self.center_y + half, height - 0.5) - max(self.center_y - half, -0.5)
        return max(0.0, 1.0 - max(inside_x, 0.0) * max(inside_y, 0.0) / self.side**2)


def face_crop_box(face_box: tuple[float, float, float, float], scale: float) -> CropBox:
    """The crop of a face: a square with the box's centre and ``scale`` times its longer side.

    Args:
        face_box: (x, y, width, height), image pixels.

    Raises:
        InputError: the box has no area or is not finite.
    """
    x, y, width, height = face_box
    side = max(width, height) * scale
    if not (math.isfinite(x + y + side) and side > 0):
        raise InputError(f"face box {face_box}: width and height must be positive and finite")
    return CropBox(x + width / 2, y + height / 2, side)


def tight_crop_box(points_image: Floats) -> CropBox:
    """FPENet's crop: the whole-pixel square around all keypoints, without margin (docs/fpenet.md,
    Crop, with ratio 1).

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
    """The ``size_px`` crop of a grey image (H, W): anti-aliased, half-pixel centres, edges
    replicated."""
    half = box.side / 2
    left, top = box.center_x + 0.5 - half, box.center_y + 0.5 - half  # pixel i covers [i, i + 1]
    # The filter of a reducing resize reads one output pixel beyond the square.
    reach = math.ceil(max(box.side / size_px, 1.0)) + 1
    x0, y0 = math.floor(left) - reach, math.floor(top) - reach
    x1, y1 = math.ceil(left + box.side) + reach, math.ceil(top + box.side) + reach
    patch = _replicated(image, x0, y0, x1, y1)
    window = (left - x0, top - y0, left - x0 + box.side, top - y0 + box.side)
    size = (size_px, size_px)
    # In floats, so that only the result is rounded: rounding twice moves a dot by 0.03 px.
    levels = Image.fromarray(patch.astype(np.float32))
    resized = np.asarray(levels.resize(size, Image.Resampling.BILINEAR, box=window))
    raised = resized + np.float32(0.5)
    crop: Grey = raised.astype(np.uint8)
    # These are too near to a half for Pillow's single precision; preprocess.onnx has double.
    rows, columns = np.nonzero(np.abs(raised - np.rint(raised)) < _UNSURE)
    if len(rows):
        exact = _levels_at(patch, window, box.side / size_px, rows, columns)
        crop[rows, columns] = exact + (0.5 + A_HALF_IS_ABOVE)
    return crop


def _levels_at(
    patch: Grey,
    window: tuple[float, float, float, float],
    step: float,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> Floats:
    """(n,) grey levels of some pixels of a crop in double precision, not rounded.

    Args:
        patch, window: part of the image, and the window of it that the crop shows.
        step: patch pixels per crop pixel.
    """
    reach = max(step, 1.0)

    def taps(start: float, pixels: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
        positions = start + (pixels + 0.5) * step - 0.5
        first = np.ceil(positions - reach).astype(np.intp)
        indices = first[:, None] + np.arange(math.floor(2 * reach) + 1)
        weights = np.maximum(1 - np.abs(indices - positions[:, None]) / reach, 0)
        return indices, weights / weights.sum(axis=1, keepdims=True)

    (y, weights_y), (x, weights_x) = taps(window[1], rows), taps(window[0], columns)
    shown = patch[y[:, :, None], x[:, None, :]]
    levels: Floats = np.einsum("nh,nhw,nw->n", weights_y, shown, weights_x)
    return levels


def _replicated(image: Grey, x0: int, y0: int, x1: int, y1: int) -> Grey:
    """Columns ``x0`` to ``x1`` and rows ``y0`` to ``y1`` of the image, edges replicated."""
    height, width = image.shape
    left, right, top, bottom = max(x0, 0), min(x1, width), max(y0, 0), min(y1, height)
    if left >= right or top >= bottom:  # completely outside the image: only edge pixels
        nearest_y = np.clip(np.arange(y0, y1), 0, height - 1)
        nearest_x = np.clip(np.arange(x0, x1), 0, width - 1)
        return image[nearest_y].take(nearest_x, axis=1)
    inside = image[top:bottom, left:right]
    if (left, right, top, bottom) == (x0, x1, y0, y1):
        return np.ascontiguousarray(inside)
    patch: Grey = np.empty((y1 - y0, x1 - x0), np.uint8)
    rows = patch[top - y0 : bottom - y0]
    rows[:, left - x0 : right - x0] = inside
    rows[:, : left - x0] = inside[:, :1]
    rows[:, right - x0 :] = inside[:, -1:]
    patch[: top - y0] = rows[0]
    patch[bottom - y0 :] = rows[-1]
    return patch


def rescaled(store: CropStore, rows: Rows, box_scale: float) -> CropStore:
    """The faces ``rows`` on crops of another ``box_scale``; edges of the margin are replicated."""
    size, ratio = store.crops.shape[1], box_scale / store.box_scale
    middle = (size - 1) / 2
    box = CropBox(middle, middle, size * ratio)
    crops = [cut(np.asarray(store.crops[row]), box, size) for row in rows]
    table = store.table.take(pa.array(rows))
    side = pa.array(numbers_of(table, "side") * ratio, pa.float64())
    tight = numbers_of(store.tight_table, "row")
    keep = np.isin(tight, rows)
    tight_table = store.tight_table.filter(pa.array(keep))
    new_rows = pa.array(np.searchsorted(rows, tight[keep]), pa.int64())
    return replace(
        store,
        crops=np.stack(crops),
        table=table.set_column(table.column_names.index("side"), "side", side),
        points_margin=((store.points_margin[rows] - middle) / ratio + middle).astype(np.float32),
        visibility=store.visibility[rows],
        tight_crops=store.tight_crops[keep],
        tight_table=tight_table.set_column(tight_table.column_names.index("row"), "row", new_rows),
        box_scale=box_scale,
    )
