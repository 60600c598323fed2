"""Image hashes: find copies of an image, also resized, brightened or mirrored copies.

A hash is computed from 17x16 cells of the image. The 256-bit difference hash (a bit is 1 if a cell
is brighter than its left neighbour) finds candidates, the correlation of the cells decides. Two
consecutive images of one subject are similar too; only similar images of two subjects are reported.
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
_BANDS = 16  # of 16 bits; images up to 15 bits apart agree in at least one of them
_RUN = 1000  # an image is compared with at most this many images that share a band
_ALIKE = 0.95  # correlation of the cells: above 0.97 for copies, seldom above 0.94 otherwise
_FLAT = 4.0  # grey levels: an image with a smaller deviation is similar to every image


@dataclass(frozen=True, slots=True)
class ImageHash:
    """Hash of one image.

    Attributes:
        digest: SHA-256 of the file.
        cells: (16, 17) grey levels.
    """

    digest: str
    cells: Grey


@dataclass(frozen=True, slots=True)
class Pair:
    """Two similar images by index, with the number of different bits.

    Attributes:
        exact: whether the files are equal.
        mirrored: whether the second image is similar after mirroring.
    """

    first: int
    second: int
    bits: int
    exact: bool
    mirrored: bool


def image_hash(image: Grey, digest: str) -> ImageHash:
    """The hash of a grey image (H, W)."""
    size = (_CELLS + 1, _CELLS)
    cells = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    return ImageHash(digest, np.asarray(cells))


def hash_cells(cells: Grey) -> Words:
    """(N, 16) words; each word has bits of all rows and columns, because border cells are
    similar."""
    brighter = cells[:, :, 1:] > cells[:, :, :-1]
    row = np.arange(_CELLS)
    column = (row + np.arange(_BANDS)[:, None]) % _CELLS  # (bands, rows)
    return np.packbits(brighter[:, row, column], axis=2).view(np.uint16)[..., 0]


def near_pairs(
    hashes: Sequence[ImageHash], subjects: Sequence[Sequence[str]], max_bits: int
) -> list[Pair]:
    """Equal or similar images of different subjects; each pair once, with the fewest bits.

    Args:
        subjects: the subjects on each image.
        max_bits: largest number of different bits of 256; at most 15.
    """
    names = ["\n".join(sorted(set(image_subjects))) for image_subjects in subjects]
    subject = np.unique(names, return_inverse=True)[1]
    pairs: dict[tuple[int, int], Pair] = {}
    for pair in (*_exact_pairs(hashes), *_hash_pairs(hashes, subject, max_bits)):
        key = (pair.first, pair.second)
        known = pairs.get(key)
        if subject[pair.first] != subject[pair.second] and (
            known is None or (not known.exact and pair.bits < known.bits)
        ):
            pairs[key] = pair
    return [pairs[key] for key in sorted(pairs)]


def _exact_pairs(hashes: Sequence[ImageHash]) -> Iterator[Pair]:
    first: dict[str, int] = {}
    for index, item in enumerate(hashes):
        if item.digest in first:
            yield Pair(first[item.digest], index, 0, exact=True, mirrored=False)
        else:
            first[item.digest] = index


def _hash_pairs(hashes: Sequence[ImageHash], subject: Indices, max_bits: int) -> Iterator[Pair]:
    cells = np.stack([item.cells for item in hashes])
    rows = np.flatnonzero(cells.std(axis=(1, 2)) >= _FLAT)
    if len(rows) < 2:
        return
    cells, count = cells[rows], len(rows)
    words = np.concatenate([hash_cells(cells), hash_cells(cells[:, :, ::-1])])
    for i, j in _candidates(words, np.tile(subject[rows], 2)):
        low, high = np.minimum(i, j), np.maximum(i, j)
        differ = np.bitwise_count(words[low] ^ words[high]).sum(axis=1)
        # Two mirrored images are the same pair as the two images themselves.
        for k in np.flatnonzero((differ <= max_bits) & (low < count)):
            first, second = int(low[k]), int(high[k] % count)
            mirrored = bool(high[k] >= count)
            second_cells = cells[second, :, ::-1] if mirrored else cells[second]
            correlation = np.corrcoef(cells[first].ravel(), second_cells.ravel())[0, 1]
            if correlation >= _ALIKE:
                pair = sorted((int(rows[first]), int(rows[second])))
                yield Pair(pair[0], pair[1], int(differ[k]), exact=False, mirrored=mirrored)


def _candidates(words: Words, subject: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows of different subjects that agree in a whole band."""
    for band in range(_BANDS):
        order = np.lexsort((*words.T, words[:, band]))
        key = words[order, band]
        for step in range(1, min(_RUN, len(order) - 1) + 1):
            same = key[step:] == key[:-step]
            if not same.any():
                break
            i, j = order[:-step][same], order[step:][same]
            different = subject[i] != subject[j]
            yield i[different], j[different]
