"""Predictions on crops that are cut from the images at the size and colour of another model.

The crop store has 80x80 grey crops only. The square of a face has the centre of the store's, and
the side of the model's ``crop_scale``; the pixels are cut by ``data.crops.geometry``, each channel
as a grey image is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.geometry import CropBox, cut
from fpenet.data.crops.store import CROP_PX, CropStore
from fpenet.data.images import read_colour, read_grey
from fpenet.data.rejected import Refusal
from fpenet.data.sample import numbers_of
from fpenet.deploy.judge.contract.crop_tensor import first_pixel, square_px
from fpenet.kpi.predictions import (
    Predict,
    Predictions,
    digest_faces,
    judged_rows,
    reported,
)

_Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CropView:
    """The crops that a model takes.

    Attributes:
        size: width and height in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        scale: side of the crop's square divided by the longer side of the face box.
    """

    size: tuple[int, int]
    channels: int
    scale: float

    def cut(self, image: _Image, box: CropBox) -> _Image:
        """(height, width, C) the crop of an image (H, W, C) of ``channels`` channels."""
        side, (x, y), (width, height) = square_px(self.size), first_pixel(self.size), self.size
        square = np.stack([cut(image[:, :, c], box, side) for c in range(image.shape[2])], axis=2)
        return square[y : y + height, x : x + width]


def predict_images(
    predict: Predict, view: CropView, store: CropStore, batch_size: int
) -> Predictions:
    """Predictions for the judged faces of ``store`` and for their tight crops, from the images.

    Args:
        predict: crops (N, height, width, C) -> points in pixels of the 80x80 crop of the same
            square, and confidence.

    Returns:
        points in pixels of the 80x80 crops of ``store``.

    Raises:
        InputError: an image cannot be used; the message names it.
    """
    rows = judged_rows(store)
    ratio = view.scale / store.box_scale
    boxes = _boxes(store.table, rows, ratio)
    tight_rows = numbers_of(store.tight_table, "row")
    tight_boxes = _boxes(store.tight_table, np.arange(len(tight_rows)), 1.0)
    predict = reported(predict, len(boxes) + len(tight_boxes))
    images, turns = (store.table[name].to_pylist() for name in ("image", "turn"))

    def predicted(faces: Sequence[int], of_boxes: Sequence[CropBox]) -> tuple[Any, Any]:
        files = [(store.root / images[face], turns[face]) for face in faces]
        batches = [predict(crops) for crops in _batches(view, files, of_boxes, batch_size)]
        points, confidence = zip(*batches, strict=True)
        return np.concatenate(points).astype(np.float64), np.concatenate(confidence)

    points, confidence = predicted(rows.tolist(), boxes)
    middle = (CROP_PX - 1) / 2
    return Predictions(
        ((points - middle) * ratio + middle).astype(np.float32),
        confidence.astype(np.float32),
        predicted(tight_rows.tolist(), tight_boxes)[0].astype(np.float32) if tight_boxes else None,
        rows,
        digest_faces(store, rows),
    )


def _boxes(table: pa.Table, rows: NDArray[np.int64], ratio: float) -> list[CropBox]:
    """The squares in a table with the columns center_x, center_y and side."""
    columns = [numbers_of(table, name)[rows].tolist() for name in ("center_x", "center_y", "side")]
    return [CropBox(x, y, side * ratio) for x, y, side in zip(*columns, strict=True)]


def _batches(
    view: CropView,
    files: Sequence[tuple[Path, bool | None]],
    boxes: Sequence[CropBox],
    batch_size: int,
) -> Iterator[_Image]:
    """The crops of the faces in batches (N, height, width, C); an image is decoded once for all
    of its faces that follow one another.

    Args:
        files: the image of each face, and whether it is turned (``FaceSample.turn``).
    """
    read: tuple[Path, _Image] | None = None
    crops: list[_Image] = []
    for (path, turn), box in zip(files, boxes, strict=True):
        if read is None or read[0] != path:
            read = (path, _read(path, view.channels, turn))
        crops.append(view.cut(read[1], box))
        if len(crops) == batch_size:
            yield np.stack(crops)
            crops = []
    if crops:
        yield np.stack(crops)


def _read(path: Path, channels: int, turn: bool | None) -> _Image:
    """(H, W, C) levels of an image file."""
    try:
        if channels == 3:
            return read_colour(path, turn=turn)
        return read_grey(path, turn=turn)[:, :, None]
    except Refusal as refusal:
        raise InputError(f"{path}: {refusal.detail}") from None
