"""What a file is, by its first bytes; its name does not matter.

Input: the first bytes of a file. Output: its kind, with a name for messages, and whether it is an
image that is read (and by which decoder of Pillow), or a video.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from fpenet.data.rejected import Refusal

HEAD_BYTES = 4096
_LFS = b"version https://git-lfs.github.com/spec/"
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_TS_PACKETS = ((0, 188), (4, 192), (0, 204))  # offset of the first sync byte, length of a packet


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file.

    Attributes:
        name: with its article, for messages.
        decoder: Pillow's decoder of an image that is read; None: the file is not read as an image.
        is_image: whether it is an image, also one that is not read.
        is_video: whether FFmpeg may read it as a video.
    """

    name: str
    decoder: str | None = None
    is_image: bool = False
    is_video: bool = False


UNKNOWN = FileKind("of an unknown format")
_TEXT = FileKind("a text file")


def kind_of(head: bytes) -> FileKind:
    """The kind of a file that begins with ``head``, at most HEAD_BYTES bytes of it.

    >>> kind_of(b"GIF89a" + bytes(20)).name
    'a GIF image'
    >>> kind_of(b"").name, kind_of(b"P5 2 2 255 ....").decoder
    ('an empty file', 'PPM')
    """
    if not head:
        return FileKind("an empty file")
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], FileKind("a RIFF file"))
    if re.match(rb"P[1-6f][\s#]", head):
        return FileKind("a PGM, PPM or PBM image", "PPM", is_image=True)
    if any(_is_transport_stream(head, *packet) for packet in _TS_PACKETS):
        return FileKind("an MPEG transport stream", is_video=True)
    return _text(head)


def read_kind(path: Path) -> FileKind:
    """The kind of the file at ``path``.

    Raises:
        Refusal: no such file, or it cannot be read.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES))
    except OSError as error:
        raise Refusal("image unreadable", f"{path.name}: {error.strerror}") from None


def require_file(path: Path) -> None:
    """Raise ``Refusal`` for anything but a regular file: reading a pipe or device may not end."""
    if not path.is_file():
        raise Refusal("image missing", f"{path.name}: no such file")


def _iso_media(head: bytes) -> FileKind:
    """MP4, QuickTime, HEIC or AVIF, by the brands of the box ``ftyp``."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length, 4))]
    if _AVIF & set(brands):
        return FileKind("an AVIF image", is_image=True)
    if _HEIC & set(brands):
        return FileKind("a HEIC image", "HEIF", is_image=True)
    if brands[0] == b"crx ":
        return FileKind("a camera's raw file (CR3)", is_image=True)
    return FileKind("an MP4 or QuickTime video", is_video=True)


def _is_transport_stream(head: bytes, start: int, length: int) -> bool:
    """Whether every packet of the head, two at least, begins with MPEG-TS's sync byte."""
    sync = head[start::length]
    return len(sync) > 1 and set(sync) == {0x47}


def _text(head: bytes) -> FileKind:
    """HTML, JSON, a Git LFS pointer and other text; binary files are of an unknown format."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _TEXT
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not a character that the head cuts
            return UNKNOWN
        text = head[: error.start].decode("utf-8-sig")
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        return UNKNOWN
    start = text.lstrip().lower()
    if head.startswith(_LFS):
        return FileKind("a Git LFS pointer; `git lfs pull` downloads the file")
    if re.match(r"outs:\s+- (md5|etag|checksum):", start):
        return FileKind("a DVC pointer; `dvc pull` downloads the file")
    if start.startswith(("<!doctype html", "<html")):
        return FileKind("an HTML page")
    if "<svg" in start:
        return FileKind("an SVG image", is_image=True)
    if start.startswith("#extm3u"):
        return FileKind("a playlist")
    return FileKind("a JSON file") if start.startswith(("{", "[")) else _TEXT


def _read(name: str, decoder: str) -> FileKind:
    return FileKind(name, decoder, is_image=True)


def _unread(name: str) -> FileKind:
    return FileKind(name, is_image=True)


def _video(name: str) -> FileKind:
    return FileKind(name, is_video=True)


_RIFF = {
    b"WEBP": _read("a WebP image", "WEBP"),
    b"AVI ": _video("an AVI video"),
    b"WAVE": FileKind("a WAV sound file"),
}
_MAGIC: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", _read("a PNG image", "PNG")),
    (0, b"\xff\xd8\xff", _read("a JPEG image", "JPEG")),
    (0, b"BM", _read("a BMP image", "BMP")),
    (8, b"CR", _unread("a camera's raw file (CR2)")),
    (0, b"II*\0", _read("a TIFF image", "TIFF")),
    (0, b"MM\0*", _read("a TIFF image", "TIFF")),
    (0, b"II+\0", _read("a BigTIFF image", "TIFF")),
    (0, b"MM\0+", _read("a BigTIFF image", "TIFF")),
    (0, b"GIF8", _unread("a GIF image")),
    (0, b"8BPS", _unread("a Photoshop image (PSD)")),
    (0, b"\0\0\0\x0cjP  ", _unread("a JPEG 2000 image")),
    (0, b"\xff\x4f\xff\x51", _unread("a JPEG 2000 image")),
    (0, b"\0\0\0\x0cJXL ", _unread("a JPEG XL image")),
    (0, b"\xff\x0a", _unread("a JPEG XL image")),
    (0, b"II\xbc", _unread("a JPEG XR image")),
    (0, b"\0\0\1\0", _unread("an icon (ICO)")),
    (0, b"v/1\1", _unread("an OpenEXR image")),
    (0, b"#?RADIANCE", _unread("a Radiance HDR image")),
    (0, b"DDS ", _unread("a DDS image")),
    (0, b"SIMPLE  =", _unread("a FITS image")),
    (0, b"%!PS", _unread("a PostScript file (EPS)")),
    (128, b"DICM", _unread("a DICOM image")),
    (0, b"IIU\0", _unread("a camera's raw file (RW2)")),
    (0, b"IIRO", _unread("a camera's raw file (ORF)")),
    (0, b"FUJIFILMCCD-RAW", _unread("a camera's raw file (RAF)")),
    (0, b"\x1a\x45\xdf\xa3", _video("a Matroska or WebM video")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _video("a Windows Media video")),
    (0, b"\0\0\1\xba", _video("an MPEG video")),
    (0, b"\0\0\1\xb3", _video("an MPEG video")),
    (0, b"\0\0\1\xb0", _video("an MPEG-4 video stream")),
    (0, b"\0\0\0\1", _video("an H.264 or H.265 video stream")),
    (0, b"\0\0\1", _video("an H.264 or H.265 video stream")),
    (0, b"FLV\1", _video("a Flash video")),
    (0, b"OggS", _video("an Ogg file")),
    (0, b"YUV4MPEG2", _video("a YUV4MPEG video")),
    (0, b"DKIF", _video("an IVF video")),
    (0, b".RMF", _video("a RealMedia video")),
    (0, b"\x06\x0e\x2b\x34", _video("an MXF video")),
    (4, b"moov", _video("a QuickTime video")),
    (4, b"mdat", _video("a QuickTime video")),
    (4, b"wide", _video("a QuickTime video")),
    (0, b"%PDF", FileKind("a PDF document")),
    (0, b"PK\3\4", FileKind("a ZIP archive")),
    (0, b"\x1f\x8b", FileKind("a gzip archive")),
    (0, b"\0\5\x16\7", FileKind("an AppleDouble file of macOS without the image")),
    (0, b"\x93NUMPY", FileKind("a NumPy array")),
    (0, b"\x89HDF", FileKind("an HDF5 file")),
    (0, b"MATLAB 5.0", FileKind("a MATLAB file")),
    (0, b"SQLite format 3", FileKind("a SQLite database")),
)
"""(offset, bytes, kind), in the order of the comparison."""
