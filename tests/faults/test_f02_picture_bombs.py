import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from fpenet.data.images import read_grey, read_header
from fpenet.data.rejected import Refusal


def write_empty_png(path: Path, width: int, height: int) -> None:
    """A PNG of zeros, tiny on disk whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    row = zlib.compressobj(9)
    data = b"".join(row.compress(bytes(1 + width)) for _ in range(height)) + row.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_f02_a_picture_over_the_cap_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    write_empty_png(tmp_path / "big.png", 2000, 1000)
    assert read_header(tmp_path / "big.png").size == (2000, 1000)
    assert read_grey(tmp_path / "big.png", 2.0).shape == (1000, 2000)
    with pytest.raises(Refusal, match=r"big\.png: 2000x1000 is 2\.0 megapixels; at most 1\.9"):
        read_grey(tmp_path / "big.png", 1.9)


def test_f02_a_decompression_bomb_costs_no_memory(tmp_path: Path) -> None:
    write_empty_png(tmp_path / "bomb.png", 50_000, 50)
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[20:24] = struct.pack(">I", 50_000)  # says 50,000 rows
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    assert len(content) < 10_000
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from fpenet.data.images import read_grey\n"
        "from fpenet.data.rejected import Refusal\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_grey(Path(sys.argv[1]), 50.0)\n"
        "except Refusal as refusal:\n    print(refusal.reason)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "bomb.png")],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )
    reason, grown_kb = done.stdout.split("\n")[:2]
    assert reason == "image too large"
    assert int(grown_kb) < 50_000


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("GIF", "a GIF image"),
        ("EPS", r"a PostScript file \(EPS\)"),
        ("ICO", r"an icon \(ICO\)"),
        ("JPEG2000", "a JPEG 2000 image"),
        ("SPIDER", "of an unknown format"),
    ],
)
def test_f02_formats_without_an_allowed_decoder_are_named_and_refused(
    tmp_path: Path, kind: str, name: str
) -> None:
    mode = "F" if kind == "SPIDER" else "L"
    Image.new(mode, (32, 32)).save(tmp_path / "a", format=kind)
    (tmp_path / "a").rename(tmp_path / "a.png")  # saved so, SPIDER would claim the ending .png
    for read in (read_header, read_grey):
        with pytest.raises(Refusal, match=rf"a\.png: {name}.*; images are PNG, JPEG, WebP"):
            read(tmp_path / "a.png")


def test_f02_a_fits_file_named_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"SIMPLE  =                    T".ljust(2880))
    with pytest.raises(Refusal, match="a FITS image; images are PNG"):
        read_header(tmp_path / "a.png")


def bomb_of(kind: str) -> bytes:
    """A small file whose header says more than 900 megapixels, or 268 (the most of WebP)."""
    if kind == "PGM":
        return b"P5 30000 30000 255 " + bytes(100)
    if kind == "BMP":
        head = struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + head + bytes(100)
    if kind == "WebP":
        size = (16383 - 1).to_bytes(3, "little")
        chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + size
        body = b"WEBP" + chunk + b"VP8L" + struct.pack("<I", 10) + b"\x2f" + bytes(9)
        return b"RIFF" + struct.pack("<I", len(body)) + body
    tags = [(256, 30000), (257, 30000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, 30000), (279, 100)]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(104)


@pytest.mark.parametrize("kind", ["PGM", "BMP", "WebP", "TIFF"])
def test_f02_a_bomb_of_every_format_is_refused_before_it_is_decoded(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(bomb_of(kind))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refusal) as refused:
        read_grey(path, 50.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert refused.value.reason == "image too large"
