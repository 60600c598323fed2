"""Read untrusted image files as grey levels.

Input: a PNG or JPEG file; the name does not matter. Does: rejects other formats, images over the
pixel limit (before decoding) and truncated files. Output: (H, W) uint8 grey levels.

The rule: colour becomes ITU-R 601 luma; 16-bit levels are scaled by 255/65535; a palette and CMYK
are converted to RGB first; an opaque alpha channel is dropped. An image with a transparent pixel is
refused. An image with an EXIF rotation is refused too, because it is not known whether the labels
refer to the rotated image.
"""

import hashlib
import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fpenet.data.rejected import Refusal

Grey = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG")
MOST_MEGAPIXELS = 178.0
"""Limit of Pillow; applies if there is no smaller limit."""
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_BYTES_PER_PIXEL = 8  # of a 16-bit RGBA image that does not compress at all


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the file's header; no pixel is decoded.

    Raises:
        Refusal: no such file, not a PNG or JPEG, or far too many pixels.
    """
    _require_file(path)
    with path.open("rb") as file, _opened(path, file) as image:
        return image.size


def read_grey(path: Path, max_megapixels: float = MOST_MEGAPIXELS, turn: bool = False) -> Grey:
    """(H, W) grey levels of the file, by the rule above.

    Args:
        turn: rotate by the EXIF orientation; only for a file without labels.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    return read_image(path, max_megapixels, turn)[0]


def read_colour(path: Path, max_megapixels: float = MOST_MEGAPIXELS, turn: bool = False) -> Grey:
    """(H, W, 3) red, green and blue of the file; a grey image has three equal channels.

    The rule for refusals, 16-bit levels, palettes, CMYK and alpha is that of ``read_grey``.

    Args:
        turn: rotate by the EXIF orientation; only for a file without labels.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    return read_image(path, max_megapixels, turn, colour=True)[0]


def read_image(
    path: Path, max_megapixels: float = MOST_MEGAPIXELS, turn: bool = False, colour: bool = False
) -> tuple[Grey, str]:
    """(H, W) grey levels of the file, as ``read_grey``, and the SHA-256 of its bytes.

    Args:
        colour: (H, W, 3) red, green and blue in place of grey, as ``read_colour``.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    _require_file(path)
    cap = max_megapixels * 1e6
    if path.stat().st_size > cap * _BYTES_PER_PIXEL:
        raise Refusal("image too large", f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
    content = path.read_bytes()
    with _opened(path, io.BytesIO(content)) as image:
        width, height = image.size
        if width * height > cap:
            raise Refusal(
                "image too large",
                f"{path.name}: {width}x{height} is {width * height / 1e6:.1f} megapixels; at most"
                f" {max_megapixels:g} (validate.max_image_megapixels)",
            )
        try:
            image.load()
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            upright = ImageOps.exif_transpose(image) if turn else image
        except _UNREADABLE as error:
            raise Refusal("image unreadable", f"{path.name}: {error}") from None
        if orientation != 1 and not turn:
            raise Refusal(
                "image rotated",
                f"{path.name}: EXIF orientation {orientation}; rotate both the pixels and the"
                " labels, and remove the tag",
            )
        levels = _colour(path, upright) if colour else _grey(path, upright)
        return levels, hashlib.sha256(content).hexdigest()


def place_image(source: Path, target: Path) -> None:
    """Create ``target`` as a hard link to ``source``, or as a copy if links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _require_file(path: Path) -> None:
    """Raise ``Refusal`` for anything but a regular file: reading a pipe or device may not end."""
    if not path.is_file():
        raise Refusal("image missing", f"{path.name}: no such file")


def _opened(path: Path, file: io.BufferedReader | io.BytesIO) -> Image.Image:
    """The image after reading its header; Pillow's errors become ``Refusal``."""
    try:
        return Image.open(file, formats=FORMATS)
    except _BOMB as error:
        raise Refusal("image too large", f"{path.name}: {error}") from None
    except UnidentifiedImageError:
        raise Refusal("image format", f"{path.name}: neither PNG nor JPEG") from None
    except _UNREADABLE as error:
        raise Refusal("image unreadable", f"{path.name}: {error}") from None


def _grey(path: Path, image: Image.Image) -> Grey:
    if image.mode.startswith("I"):  # 16 bits; convert("L") would clip at 255
        levels = np.asarray(image).astype(np.uint32)
        return ((levels * 255 + 32767) // 65535).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            raise Refusal(
                "image see-through", f"{path.name}: alpha down to {lowest}; flatten the image"
            )
    if image.mode not in ("L", "1"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _colour(path: Path, image: Image.Image) -> Grey:
    """(H, W, 3) levels; their luma is what ``_grey`` returns."""
    grey = _grey(path, image)  # refuses what has no grey levels
    if image.mode.startswith("I") or image.mode in ("L", "1", "LA", "La", "F"):
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))
