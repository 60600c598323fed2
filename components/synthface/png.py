"""An 8-bit grey PNG whose bytes depend only on the pixels.

The bytes of Pillow's PNGs change with the version of its zlib, but the digest of the data set must
be constant. So this module has its encoder: rows with the filter "average", then one deflate block
of literals with a dynamic Huffman code. Every PNG decoder can read the file.
"""

import heapq
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_END_OF_BLOCK = 256
_MAX_CODE_BITS = 15
_SIZE_SHIFT = 32


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """The bytes of a grey PNG of ``image`` (H, W)."""
    height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = average_filtered(image)
    body = b"\x78\x01" + deflate_literals(data) + struct.pack(">I", zlib.adler32(data.tobytes()))
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", body), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def average_filtered(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H * (W + 1),) uint8: each row as its filter number (3) and its residuals (PNG spec 9.3).

    A residual is the difference of a pixel and the mean of its left and upper neighbours.
    """
    height, width = image.shape
    padded = np.zeros((height + 1, width + 1), np.uint16)
    padded[1:, 1:] = image
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = 3
    rows[:, 1:] = (image - ((padded[1:, :-1] + padded[:-1, 1:]) >> 1)) & 255
    return rows.reshape(-1)


def deflate_literals(data: NDArray[np.uint8]) -> bytes:
    """One final dynamic-Huffman block of RFC 1951 with ``data`` (N,), without back references."""
    counts = np.bincount(data, minlength=_END_OF_BLOCK + 1).tolist()
    counts[_END_OF_BLOCK] = 1
    sizes = _code_lengths(counts)
    codes = _canonical_codes(sizes)
    # Block header: final, dynamic; 257 literal codes, 1 distance code, 19 code-length codes. The
    # lengths 0..15 have codes of 4 bits each, so the code of a length is its value.
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
    header = [(1, 1), (2, 2), (0, 5), (0, 5), (15, 4)]
    header += [(0 if symbol >= 16 else 4, 3) for symbol in order]
    header += [(_reversed_bits(size, 4), 4) for size in [*sizes, 0]]
    unpaired = [(codes[int(last)], sizes[int(last)]) for last in data[len(data) & ~1 :]]
    tail = [*unpaired, (codes[_END_OF_BLOCK], sizes[_END_OF_BLOCK])]
    # A table of all 65,536 pairs of bytes halves the number of codes to pack.
    code, size = (np.array(column[:256], np.uint64) for column in (codes, sizes))
    both_code = code[None, :] | (code[:, None] << size[None, :])
    table = (both_code | ((size[:, None] + size[None, :]) << np.uint64(_SIZE_SHIFT))).reshape(-1)
    pairs = table[data[: len(data) & ~1].view("<u2")]
    return _packed(np.concatenate([_joined(header), pairs, _joined(tail)]))


def _joined(codes: list[tuple[int, int]]) -> NDArray[np.uint64]:
    """One word for each (code, size): code | size << 32."""
    return np.array([code | (size << _SIZE_SHIFT) for code, size in codes], np.uint64)


def _code_lengths(counts: list[int]) -> list[int]:
    """Huffman code length of each symbol, at most 15 bits; 0 for a symbol that does not occur."""
    # With a minimum count of 1/512 of the total no code is longer than 15 bits.
    floor = sum(counts) // 512 + 1
    heap: list[tuple[int, int, tuple[int, ...]]]
    heap = [(max(count, floor), symbol, (symbol,)) for symbol, count in enumerate(counts) if count]
    heapq.heapify(heap)
    lengths = [0] * len(counts)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        symbols = first[2] + second[2]
        for symbol in symbols:
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), symbols))
    assert max(lengths) <= _MAX_CODE_BITS
    return lengths


def _canonical_codes(lengths: list[int]) -> list[int]:
    """The code of each symbol (RFC 1951, 3.2.2), with reversed bits: deflate packs from bit 0."""
    codes = [0] * len(lengths)
    code = 0
    for size in range(1, _MAX_CODE_BITS + 1):
        for symbol, length in enumerate(lengths):
            if length == size:
                codes[symbol] = _reversed_bits(code, size)
                code += 1
        code <<= 1
    return codes


def _reversed_bits(value: int, size: int) -> int:
    return int(f"{value:0{size}b}"[::-1], 2)


def _packed(words: NDArray[np.uint64]) -> bytes:
    """The codes of ``words`` (code | size << 32) one after the other, low bit first."""
    words = np.append(words, np.zeros(len(words) % 2, np.uint64))
    values, sizes = words & np.uint64((1 << _SIZE_SHIFT) - 1), words >> np.uint64(_SIZE_SHIFT)
    # Two neighbouring words together have at most 60 bits.
    values = values[0::2] | (values[1::2] << sizes[0::2])
    sizes = sizes[0::2] + sizes[1::2]
    ends = np.cumsum(sizes)
    starts = ends - sizes
    word = (starts >> np.uint64(6)).astype(np.intp)
    shift = starts & np.uint64(63)
    packed = np.zeros(int(ends[-1] >> np.uint64(6)) + 2, np.uint64)
    # Different codes have no common bit in a word, so an addition sets their bits.
    np.add.at(packed, word, values << shift)
    over = np.nonzero(shift + sizes > np.uint64(64))[0]
    np.add.at(packed, word[over] + 1, values[over] >> (np.uint64(64) - shift[over]))
    return packed.astype("<u8").tobytes()[: (int(ends[-1]) + 7) // 8]
