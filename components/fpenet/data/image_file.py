"""Open an untrusted image file: one decoder of an allow-list, chosen by the file's first bytes.

Input: a file. Does: names what is no image that is read, checks the header and the kind of levels.
Output: Pillow's image before its pixels are decoded.
"""

import io
import struct
import zlib
from importlib import import_module
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from fpenet.data.file_kind import HEAD_BYTES, UNKNOWN, kind_of
from fpenet.data.rejected import Refusal

READ_FORMATS = "PNG, JPEG, WebP, BMP, TIFF, PGM, PPM and HEIC"
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)
"""What Pillow raises for a damaged file."""
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_MODES = {"1", "L", "P", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_SUBFILE, _DNG = 254, 50706  # tags of TIFF


def open_image(path: Path, file: io.BufferedReader | io.BytesIO) -> Image.Image:
    """The image after reading its header, by the one decoder for its first bytes.

    Raises:
        Refusal: another kind of file, too large, unreadable, or of levels that are not read.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    kind = kind_of(head)
    if kind.decoder is None:
        first = f" (it begins with {head[:4].hex(' ')})" if kind is UNKNOWN else ""
        raise Refusal("image format", f"{path.name}: {kind.name}{first}; images are {READ_FORMATS}")
    if kind.decoder == "HEIF":
        _register_heif(path)
    try:
        image = Image.open(file, formats=[kind.decoder])
    except _BOMB as error:
        raise Refusal("image too large", f"{path.name}: {error}") from None
    except UnidentifiedImageError:
        raise Refusal(
            "image unreadable", f"{path.name}: {kind.name} with a damaged header"
        ) from None
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if _DNG in tags or tags.get(_SUBFILE, 0) & 1:
        raise Refusal(
            "image format", f"{path.name}: a camera's raw file; images are {READ_FORMATS}"
        )
    if image.mode == "F":
        raise Refusal("image levels", f"{path.name}: floating-point levels; save 8 or 16 bits")
    if image.mode == "I" and image.format == "TIFF":
        raise Refusal("image levels", f"{path.name}: 32-bit or signed levels; save 8 or 16 bits")
    if image.mode not in _MODES and not image.mode.startswith("I"):
        raise Refusal("image levels", f"{path.name}: {image.mode} colours; save RGB or grey")
    return image


def _register_heif(path: Path) -> None:
    try:
        import_module("pillow_heif").register_heif_opener(thumbnails=False)
    except ImportError:
        raise Refusal(
            "image format",
            f"{path.name}: a HEIC image; reading it needs pip install 'fpenet[heic]'",
        ) from None


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where it is absent or wrong.

    Before the pixels of a PNG are decoded, only an EXIF chunk in front of them is known.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # getexif would decode the pixels
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def unreadable(path: Path, error: Exception) -> Refusal:
    """The refusal of a file that its decoder, or the disk, could not read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return Refusal("image unreadable", f"{path.name}: {reason}")
