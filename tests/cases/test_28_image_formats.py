"""Every kind of file that lies among labelled images is read, or named by what it is."""

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fpenet.data.images import read_grey, read_header
from fpenet.data.rejected import Refusal

SMOOTH = np.add.outer(np.arange(16), np.arange(24) * 8).astype(np.uint8)  # 24x16


def saved(kind: str, image: Image.Image | None = None, **how: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(SMOOTH)).save(file, format=kind, **how)
    return file.getvalue()


def frames(kind: str, **how: Any) -> bytes:
    second = Image.fromarray(255 - SMOOTH)
    return saved(kind, save_all=True, append_images=[second], **how)


READ: dict[str, Callable[[], bytes]] = {
    "png": lambda: saved("PNG"),
    "jpeg": lambda: saved("JPEG", quality=100),
    "webp": lambda: saved("WEBP", lossless=True),
    "bmp": lambda: saved("BMP"),
    "tiff": lambda: saved("TIFF"),
    "tiff lzw": lambda: saved("TIFF", compression="tiff_lzw"),
    "pgm": lambda: saved("PPM"),
    "ppm": lambda: saved("PPM", Image.fromarray(SMOOTH).convert("RGB")),
    "pgm text": lambda: (
        b"P2\n# made by hand\n24 16 255\n" + " ".join(map(str, SMOOTH.ravel().tolist())).encode()
    ),
    "apng": lambda: frames("PNG"),
    "animated webp": lambda: frames("WEBP", lossless=True),
    "tiff of two pages": lambda: frames("TIFF"),
    "mpo": lambda: frames("MPO", quality=100),
    "bytes after the end": lambda: saved("JPEG", quality=100) + b"more",
    "opaque alpha": lambda: saved("PNG", Image.fromarray(SMOOTH).convert("RGBA")),
}


@pytest.mark.parametrize("name", READ)
def test_it_is_read_whatever_its_name_and_only_the_first_frame(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(READ[name]())
    assert read_header(path).size == (24, 16)
    np.testing.assert_allclose(read_grey(path).astype(int), SMOOTH, atol=3)


LEVELS = np.array([[0, 257, 32768, 65535]], np.uint16)


def twelve_bits() -> bytes:
    """A TIFF of 12 bits: levels 0 and 4095, 16 and 2048."""
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 1)]
    tags += [(279, 6)]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        b"II*\0"
        + struct.pack("<IH", 8, len(tags))
        + rows
        + bytes(4)
        + bytes.fromhex("000fff010800")
    )


@pytest.mark.parametrize(
    ("content", "levels"),
    [
        (saved("PNG", Image.fromarray(LEVELS)), [0, 1, 128, 255]),
        (saved("TIFF", Image.fromarray(LEVELS)), [0, 1, 128, 255]),
        (saved("TIFF", Image.fromarray(LEVELS), tiffinfo={262: 0}), [255, 254, 127, 0]),
        (b"P5 4 1 65535\n" + LEVELS.astype(">u2").tobytes(), [0, 1, 128, 255]),
        (b"P5 4 1 1023\n" + np.array([0, 4, 512, 1023], ">u2").tobytes(), [0, 1, 128, 255]),
        (twelve_bits(), [0, 255, 1, 128]),
    ],
    ids=["png", "tiff", "tiff, white is 0", "pgm", "pgm of 10 bits", "tiff of 12 bits"],
)
def test_more_than_eight_bits_are_scaled_not_cut(
    tmp_path: Path, content: bytes, levels: list[int]
) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_grey(tmp_path / "a").tolist() == [levels]


def raw_photo() -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1  # the first page is a small preview
    return saved("TIFF", tiffinfo=info)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (frames("GIF"), "a GIF image"),
        (saved("AVIF"), "an AVIF image"),
        (b"8BPS\0\1" + bytes(40), r"a Photoshop image \(PSD\)"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "an MP4 or QuickTime video"),
        (b"<!DOCTYPE html><html><body>404", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b"outs:\n- md5: 00\n", "a DVC pointer"),
        (b"", "an empty file"),
        (b"photo", "a text file"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "an SVG image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\5\x16\7\0\2" + bytes(40), "an AppleDouble file of macOS"),
        (b"\x07\x08\x09\0", r"of an unknown format \(it begins with 07 08 09 00\)"),
        (saved("TIFF", Image.fromarray(SMOOTH.astype(np.float32))), "floating-point levels"),
        (saved("TIFF", Image.fromarray(SMOOTH.astype(np.int32))), "32-bit or signed levels"),
        (b"Pf 1 1 -1.0\n" + bytes(4), "floating-point levels"),
        (saved("TIFF", Image.new("LAB", (4, 4))), "LAB colours; save RGB or grey"),
        (raw_photo(), "a camera's raw file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG image with a damaged header|broken PNG"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_header, read_grey):
        with pytest.raises(Refusal, match=rf"a\.png: ({name})"):
            read(path)


def test_a_heic_photo_is_read_with_its_extra_and_named_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(Refusal, match=r"a HEIC image; .* pip install 'fpenet\[heic\]'"):
            read_header(path)
    heif = pytest.importorskip("pillow_heif", reason="needs the heic extra")
    heif.from_pillow(Image.fromarray(SMOOTH).convert("RGB")).save(path, format="HEIF", quality=100)
    assert read_header(path).size == (24, 16)
    np.testing.assert_allclose(read_grey(path).astype(int), SMOOTH, atol=4)
