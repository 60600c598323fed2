"""Read untrusted image files as grey levels.

Input: a PNG, JPEG, WebP, BMP, TIFF, PGM or PPM file, or with the extra ``heic`` a HEIC file; the
name does not matter. Does: chooses one decoder of an allow-list by the file's first bytes, rejects
images over the pixel limit (before decoding) and truncated files. Output: (H, W) uint8 grey levels.

The rule: colour becomes ITU-R 601 luma; 16-bit grey levels are scaled by 255/65535, of 16-bit
colours the upper 8 bits are read; a palette and CMYK are converted to RGB first; an opaque alpha
channel is dropped; of several frames or pages the first is read. An image with a transparent pixel,
and one of 32-bit or floating-point levels, is refused. An image with an EXIF orientation is refused
too, unless the caller knows whether the labels refer to the turned image (``turn_of``).
"""

import hashlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fpenet.data.file_kind import HEAD_BYTES, kind_of, require_file
from fpenet.data.image_file import (
    UNREADABLE,
    open_image,
    orientation_of,
    unreadable,
)
from fpenet.data.rejected import Refusal

Grey = NDArray[np.uint8]

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".pgm",
    ".ppm",
    ".pnm",
    ".pbm",
    ".heic",
    ".heif",
)
"""Usual suffixes of the images that are read, by which they are found in a folder."""
MOST_MEGAPIXELS = 178.0
"""Limit of Pillow; applies if there is no smaller limit."""
_BYTES_PER_PIXEL = 8  # of a 16-bit RGBA image that does not compress at all
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF
_QUALITY = 95  # of a JPEG or WebP image that is saved turned


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header of an image says.

    Attributes:
        size: (width, height) of the stored pixels.
        orientation: EXIF orientation, 1 (nothing to turn) to 8.
    """

    size: tuple[int, int]
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the turn that the orientation asks for."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)


def read_header(path: Path) -> ImageHeader:
    """The header of an image file; no pixel is decoded.

    Raises:
        Refusal: no such file, not an image that is read, or far too many pixels.
    """
    require_file(path)
    try:
        with path.open("rb") as file, open_image(path, file) as image:
            orientation = orientation_of(image)
            # Pillow turns a TIFF by itself, and says the size after the turn.
            turned = image.format == "TIFF" and orientation >= 5
            return ImageHeader(image.size[::-1] if turned else image.size, orientation)
    except Refusal:
        raise
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def turn_of(
    path: Path, header: ImageHeader, labelled: tuple[int, int] | None, upright: bool = False
) -> bool | None:
    """Whether the pixels must be turned by the EXIF orientation, so that the labels fit to them.

    Args:
        labelled: (width, height) of the image on which the labels were made, if they say it.
        upright: the tool that made the labels always shows the turned image.

    Returns:
        True: turn; False: leave the pixels as stored; None: the image has no orientation.

    Raises:
        Refusal: the image has an orientation, and the labels do not say on which image they were
            made.
    """
    if header.orientation == 1:
        return None
    if labelled is not None and header.size != header.upright_size:
        if labelled in (header.size, header.upright_size):
            return labelled == header.upright_size
        raise Refusal(
            "image rotated",
            f"{path.name}: EXIF orientation {header.orientation} turns {_by(header.size)} pixels"
            f" to {_by(header.upright_size)}, but the labels were made on {_by(labelled)}",
        )
    if upright and labelled == header.size:
        return True
    raise _rotated(path, header.orientation)


def read_grey(
    path: Path, max_megapixels: float = MOST_MEGAPIXELS, turn: bool | None = None
) -> Grey:
    """(H, W) grey levels of the file, by the rule above.

    Args:
        turn: True: turn the pixels by the EXIF orientation; False: leave them as stored; None:
            refuse an image that has an orientation.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    return read_image(path, max_megapixels, turn)[0]


def read_colour(
    path: Path, max_megapixels: float = MOST_MEGAPIXELS, turn: bool | None = None
) -> Grey:
    """(H, W, 3) red, green and blue of the file; a grey image has three equal channels.

    Args:
        turn: as in ``read_grey``.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    image, _ = _decoded(path, max_megapixels, turn)
    return np.asarray(_plain(path, image).convert("RGB"))


def read_image(
    path: Path, max_megapixels: float = MOST_MEGAPIXELS, turn: bool | None = None
) -> tuple[Grey, str]:
    """(H, W) grey levels of the file, as ``read_grey``, and the SHA-256 of its bytes.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    image, content = _decoded(path, max_megapixels, turn)
    return np.asarray(_plain(path, image).convert("L")), hashlib.sha256(content).hexdigest()


def read_picture(path: Path) -> Image.Image:
    """The upright image for a person to see, mode L or RGB, by the rule above.

    Raises:
        Refusal: the file cannot be used; the message names it and the reason.
    """
    return _plain(path, _decoded(path, MOST_MEGAPIXELS, turn=True)[0])


def place_image(source: Path, target: Path, turn: bool | None = None) -> None:
    """Create ``target`` as a hard link to ``source``, or as a copy if links are not possible.

    An image with an EXIF orientation is saved again in its format, turned as the labels need it
    (``turn`` as in ``read_grey``) and without the orientation.

    Raises:
        Refusal: the image must be saved again and cannot be read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if turn is not None:
        image = _decoded(source, MOST_MEGAPIXELS, turn)[0]
        kind = kind_of(source.read_bytes()[:HEAD_BYTES])
        image.save(target, format=kind.decoder, quality=_QUALITY, exif=Image.Exif())
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _decoded(path: Path, max_megapixels: float, turn: bool | None) -> tuple[Image.Image, bytes]:
    """The decoded image, turned if asked, and the bytes of its file."""
    require_file(path)
    cap = max_megapixels * 1e6
    if path.stat().st_size > cap * _BYTES_PER_PIXEL:
        raise Refusal("image too large", f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    image = open_image(path, io.BytesIO(content))
    width, height = image.size
    if width * height > cap:
        raise Refusal(
            "image too large",
            f"{path.name}: {width}x{height} is {width * height / 1e6:.1f} megapixels; at most"
            f" {max_megapixels:g} (validate.max_image_megapixels)",
        )
    try:
        orientation = orientation_of(image)
        image.load()
        if orientation == 1 and image.format == "PNG":  # its EXIF may follow the pixels
            orientation = orientation_of(image)
        if turn:
            ImageOps.exif_transpose(image, in_place=True)
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    if orientation != 1 and turn is None:
        raise _rotated(path, orientation)
    if orientation != 1 and not turn and image.format == "TIFF":
        raise Refusal(
            "image rotated",
            f"{path.name}: a TIFF is always read turned by its orientation {orientation}, but the"
            " labels were made on the stored pixels; remove the tag",
        )
    return image, content


def _plain(path: Path, image: Image.Image) -> Image.Image:
    """The decoded image with 8 bits, grey (L) or RGB."""
    if image.mode.startswith("I"):  # 16 bits; convert("L") would clip at 255
        tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
        top = (1 << tags.get(_BITS, (16,))[0]) - 1  # of 12 bits in a TIFF: 4095
        levels = np.asarray(image).astype(np.uint32)
        levels = top - levels if tags.get(_PHOTOMETRIC) == 0 else levels  # white is 0
        return Image.fromarray(((levels * 255 + top // 2) // top).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            raise Refusal(
                "image see-through", f"{path.name}: alpha down to {lowest}; flatten the image"
            )
    return image.convert("L" if image.mode in ("L", "1") else "RGB")


def _rotated(path: Path, orientation: int) -> Refusal:
    return Refusal(
        "image rotated",
        f"{path.name}: EXIF orientation {orientation}; rotate both the pixels and the labels, and"
        " remove the tag",
    )


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
