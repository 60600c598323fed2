"""Looks: what is kept of a picture to find it again, copied, made smaller, brighter or mirrored.

A look is 17x16 cells of the picture. Their 256-bit difference hash (each bit: is this cell brighter
than the one to its left) finds candidates, their correlation decides. Two pictures of one person in
a row are near too; what may not be near is two pictures of two people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpenet.data.checks.faces import Indices
from fpenet.data.checks.window import Grey

Words = NDArray[np.uint16]

BITS = 256
_CELLS = 16
_BANDS = 16  # of 16 bits; pictures up to 15 bits apart agree in one of them
_RUN = 1000  # pictures with one band in common are compared with as many next ones
_ALIKE = 0.95  # correlation of the cells: copies are over 0.97, strangers seldom over 0.94
_FLAT = 4.0  # grey levels: a picture that varies less is like any other


@dataclass(frozen=True, slots=True)
class ImageHash:
    """One picture.

    Attributes:
        digest: SHA-256 of the file.
        cells: (16, 17) grey levels.
    """

    digest: str
    cells: Grey


@dataclass(frozen=True, slots=True)
class Pair:
    """Two near pictures, by index, and in how many bits they differ; 0 and exact: the same file."""

    one: int
    other: int
    bits: int
    exact: bool
    mirrored: bool


def image_hash(image: Grey, digest: str) -> ImageHash:
    """The look of a grey image (H, W)."""
    size = (_CELLS + 1, _CELLS)
    cells = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    return ImageHash(digest, np.asarray(cells))


def hash_cells(cells: Grey) -> Words:
    """(N, 16) words; the bits of one word lie in all rows and columns, for edges are alike."""
    brighter = cells[:, :, 1:] > cells[:, :, :-1]
    row = np.arange(_CELLS)
    column = (row + np.arange(_BANDS)[:, None]) % _CELLS  # (bands, rows)
    return np.packbits(brighter[:, row, column], axis=2).view(np.uint16)[..., 0]


def near_pairs(
    looks: Sequence[ImageHash], people: Sequence[Sequence[str]], max_bits: int
) -> list[Pair]:
    """Pictures of different people that are the same or nearly so, each pair once, the nearest way.

    Args:
        people: those on each picture.
        max_bits: of 256 that may differ; at most 15.
    """
    names = ["\n".join(sorted(set(each))) for each in people]
    person = np.unique(names, return_inverse=True)[1]
    found: dict[tuple[int, int], Pair] = {}
    for pair in (*_exact_pairs(looks), *_hash_pairs(looks, person, max_bits)):
        key = (pair.one, pair.other)
        known = found.get(key)
        if person[pair.one] != person[pair.other] and (
            known is None or (not known.exact and pair.bits < known.bits)
        ):
            found[key] = pair
    return [found[key] for key in sorted(found)]


def _exact_pairs(looks: Sequence[ImageHash]) -> Iterator[Pair]:
    first: dict[str, int] = {}
    for index, look in enumerate(looks):
        if look.digest in first:
            yield Pair(first[look.digest], index, 0, exact=True, mirrored=False)
        else:
            first[look.digest] = index


def _hash_pairs(looks: Sequence[ImageHash], person: Indices, max_bits: int) -> Iterator[Pair]:
    cells = np.stack([look.cells for look in looks])
    rows = np.flatnonzero(cells.std(axis=(1, 2)) >= _FLAT)
    if len(rows) < 2:
        return
    cells, count = cells[rows], len(rows)
    words = np.concatenate([hash_cells(cells), hash_cells(cells[:, :, ::-1])])
    for one, other in _candidates(words, np.tile(person[rows], 2)):
        low, high = np.minimum(one, other), np.maximum(one, other)
        differ = np.bitwise_count(words[low] ^ words[high]).sum(axis=1)
        # Two mirrored ones are two upright ones, which are there too.
        for k in np.flatnonzero((differ <= max_bits) & (low < count)):
            first, second = int(low[k]), int(high[k] % count)
            mirrored = bool(high[k] >= count)
            second_cells = cells[second, :, ::-1] if mirrored else cells[second]
            alike = np.corrcoef(cells[first].ravel(), second_cells.ravel())[0, 1]
            if alike >= _ALIKE:
                pair = sorted((int(rows[first]), int(rows[second])))
                yield Pair(pair[0], pair[1], int(differ[k]), exact=False, mirrored=mirrored)


def _candidates(words: Words, person: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows of different people that agree in a whole band."""
    for band in range(_BANDS):
        order = np.lexsort((*words.T, words[:, band]))
        key = words[order, band]
        for step in range(1, min(_RUN, len(order) - 1) + 1):
            same = key[step:] == key[:-step]
            if not same.any():
                break
            one, other = order[:-step][same], order[step:][same]
            strangers = person[one] != person[other]
            yield one[strangers], other[strangers]
