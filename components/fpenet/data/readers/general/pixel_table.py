"""Reader of tables with pixels in a column, as in Kaggle's Facial Keypoints Detection.

Columns ``nose_tip_x``, ``nose_tip_y``, ... in pixels, and ``Image`` (or ``pixels``): the grey
levels of a square image, row by row, with spaces between them. The images are written once as PNG
files into ``work/pixels/<digest of the table>`` below the current folder, which is then the root of
the set. An empty cell is an unlabelled point. There are no subjects.
"""

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.readers.delimited import open_table
from fpenet.data.readers.general.table_columns import keypoint_words, numbered_names, our_names
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace, finite_number
from fpenet.data.readers.sidecar import KEYPOINT_COLUMN
from fpenet.data.rejected import Refusal
from fpenet.data.sample import Floats
from fpenet.provenance.digest import digest_file

FOLDER = Path("work/pixels")
"""Where the images of tables are written, below the current folder."""
_PIXELS = ("Image", "pixels")
_LARGEST = 1024  # pixels of a side


def is_pixel_table(source: LabelSource, file: Path) -> bool:
    """Whether a CSV has a column of pixels, and columns of keypoints.

    Raises:
        InputError: not a CSV.
    """
    names = _names(source, file)
    has_points = any(map(KEYPOINT_COLUMN.fullmatch, names)) or bool(keypoint_words(names))
    return has_points and any(name in names for name in _PIXELS) and "filename" not in names


def detects_pixel_table(source: LabelSource) -> bool:
    """Whether there is such a table."""
    return source.has(partial(is_pixel_table, source), ".csv")


def read_pixel_table(source: LabelSource) -> Iterator[LabelledFace | UnreadFace]:
    """The face of each row; ``source.root`` becomes the folder of the images.

    Raises:
        InputError: there is no such table, there are two, or the images cannot be written.
    """
    what = "table with the columns Image, nose_tip_x, nose_tip_y, ..."
    file = source.select_one(what, "tables", partial(is_pixel_table, source), ".csv")
    columns = numbered_names(source, _names(source, file))
    source.root = write_images(source, file)
    for number, cells in open_table(file).rows():
        row = dict(zip(columns, cells, strict=True))
        where = f"{source.where(file)}, line {number}"
        image = _image_name(number)
        try:
            if not (source.root / image).is_file():
                _grey(_pixels_of(row))  # raises the refusal
            points = _points(row)
            yield LabelledFace(image, where, points, ~np.isnan(points[:, 0]))
        except Refusal as refusal:
            yield UnreadFace(image, where, refusal)


def write_images(source: LabelSource, file: Path) -> Path:
    """The folder with the images of the table as PNG files; written if it is not there.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = (FOLDER / digest_file(file)[:16]).resolve()
    if folder.is_dir():
        return folder
    partial_folder = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial_folder.mkdir(parents=True, exist_ok=True)
        names = _names(source, file)
        for number, cells in open_table(file).rows():
            try:
                grey = _grey(_pixels_of(dict(zip(names, cells, strict=True))))
            except Refusal:
                continue  # refused again when the row is read
            Image.fromarray(grey).save(partial_folder / _image_name(number))
        partial_folder.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            problem = f"the images of {file} cannot be written to {folder}: {error}"
            raise InputError(f"{problem}; run it in a folder that can be written") from None
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return folder


def _names(source: LabelSource, file: Path) -> list[str]:
    """The table's columns; ``Image`` is no file name here."""
    return our_names(open_table(file).names, source.columns)


def _image_name(line: int) -> str:
    return f"line-{line:06d}.png"


def _pixels_of(row: Mapping[str, str]) -> str:
    return next(row[name] for name in _PIXELS if name in row)


def _grey(text: str) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """(S, S) grey levels of a cell.

    Raises:
        Refusal: not S * S whole numbers from 0 to 255.
    """
    words = text.split()
    side = math.isqrt(len(words))
    if not words or side * side != len(words) or side > _LARGEST:
        raise Refusal("pixels", f"{len(words)} grey levels; must be those of a square image")
    if not all(word.isdecimal() and int(word[:4]) <= 255 for word in words):
        raise Refusal("pixels", "a grey level is no whole number from 0 to 255")
    return np.array(words, dtype=np.uint8).reshape(side, side)


def _points(row: Mapping[str, str]) -> Floats:
    cells: dict[int, dict[str, str]] = {}
    for name, cell in row.items():
        match = KEYPOINT_COLUMN.fullmatch(name)
        if match and match[1] in ("x", "y"):
            cells.setdefault(int(match[2]) - 1, {})[match[1]] = cell
    points: Floats = np.full((max(cells) + 1, 2), np.nan)
    for k, pair in cells.items():
        filled = [axis for axis in ("x", "y") if pair.get(axis)]
        if len(filled) == 1:
            raise Refusal("coordinate", f"one of x and y of keypoint {k + 1} is missing")
        if filled:
            points[k] = [finite_number(f"{axis}{k + 1}", pair[axis]) for axis in ("x", "y")]
    if np.isnan(points).all():
        raise Refusal("no keypoints", "a row without a point", broken=False)
    return points
