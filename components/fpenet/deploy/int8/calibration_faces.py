"""The training faces for INT8 calibration: sampled by a seed, stratified by pose, light, occlusion.

Input: a crop store. Output: rows of it, input batches of the network, and a list with the digest of
each crop. Crops that are not faces (one grey level, noise) are refused, because their ranges are
not those of faces.
"""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.store import CropStore, Rows
from fpenet.deploy.onnx.onnx_file import INPUT
from fpenet.provenance.digest import digest_bytes

BATCH = 8
LEAST_CONTRAST = 2.0
"""Standard deviation of a crop, grey levels; the flattest of 3,000 real faces has 13."""
LEAST_CORRELATION = 0.5
"""Correlation of neighbouring pixels of a crop: 0 for noise, 0.88 and more for real faces."""
_MOST_UNFIT = 0.1  # share of the sampled faces
_FIFTHS = (0.2, 0.4, 0.6, 0.8)


def draw_faces(store: CropStore, count: int, seed: int, but: Collection[int] = ()) -> Rows:
    """Sample at most ``count`` training faces, as evenly as possible over the strata.

    Args:
        seed: equal seeds give equal samples.
        but: rows that are not sampled.

    Returns:
        (n,) rows of the store, ascending.

    Raises:
        InputError: there is no training face, or more than a tenth of the sample are not faces.
    """
    rows = np.setdiff1d(store.rows("train"), np.array(list(but), dtype=np.int64))
    if len(rows) == 0:
        raise InputError(f"no face in part 'train' to calibrate on; parts: {store.parts}")
    strata: dict[tuple[str, ...], list[int]] = {}
    for row, key in zip(rows.tolist(), _strata(store, rows), strict=True):
        strata.setdefault(key, []).append(row)
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(strata[key]).tolist() for key in sorted(strata)]
    order: list[int] = []
    for index in range(max(map(len, shuffled))):
        order += rng.permutation([s[index] for s in shuffled if index < len(s)]).tolist()
    chosen = np.array(sorted(order[:count]))
    fit = looks_like_faces(store.images(chosen))
    if np.mean(~fit) > _MOST_UNFIT:
        name = store.table["image"].to_pylist()[chosen[~fit][0]]
        raise InputError(
            f"{int((~fit).sum())} of {len(fit)} calibration crops are one grey level or noise, the"
            f" first of {name}; they are not faces"
        )
    return chosen[fit]


def looks_like_faces(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) whether each crop of (N, 1, 80, 80) has contrast and correlated neighbouring pixels."""
    grey = images[:, 0].astype(np.float32)
    contrast = grey.std(axis=(1, 2))
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    neighbours = (grey[:, :, 1:] * grey[:, :, :-1]).mean(axis=(1, 2))
    correlation = neighbours / np.maximum(contrast, 1e-6) ** 2
    fit: NDArray[np.bool_] = (contrast >= LEAST_CONTRAST) & (correlation >= LEAST_CORRELATION)
    return fit


def crop_batches(store: CropStore, rows: Rows) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Input batches of the faces for the network; reports progress."""
    for start in range(0, len(rows), BATCH):
        yield {INPUT: store.images(rows[start : start + BATCH]).astype(np.float32)}
        report(min(start + BATCH, len(rows)), len(rows), "faces")


def write_faces(store: CropStore, rows: Rows, path: Path) -> None:
    """Write the list of the faces: row, image, SHA-256 of the bytes of the 80x80 crop."""
    names = store.table["image"].to_pylist()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "image", "crop_sha256"])
        for row, crop in zip(rows.tolist(), store.images(rows), strict=True):
            writer.writerow([row, names[row], digest_bytes(crop.tobytes())])


def _strata(store: CropStore, rows: Rows) -> list[tuple[str, ...]]:
    """Pose, light and occlusion of each face: from the set's attributes, else from the crop."""
    yaw = store.attribute("yaw", rows)
    if not any(isinstance(value, (int, float)) for value in yaw):
        yaw = store.attribute("yaw_proxy", rows)
    light = store.attribute("illumination", rows)
    if all(value is None for value in light):
        brightness = [
            store.images(rows[i : i + 512]).mean(axis=(1, 2, 3)) for i in range(0, len(rows), 512)
        ]
        light = np.concatenate(brightness).tolist()
    levels = np.array(store.table["occlusion_level"].to_pylist())[rows].tolist()
    hidden = (~store.visible(rows)).mean(axis=1)
    occlusion = [
        level if level else ("none" if share == 0 else "some" if share < 0.25 else "much")
        for level, share in zip(levels, hidden.tolist(), strict=True)
    ]
    return list(zip(_classes(yaw), _classes(light), map(str, occlusion), strict=True))


def _classes(values: list[str | float | None]) -> list[str]:
    """The class of each value: the fifth of the distribution for a number, the word for a word."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    if not numbers:
        return [str(value) for value in values]
    edges = np.quantile(numbers, _FIFTHS)
    return [
        # A value equal to an edge is a separate class: edges coincide where most values do.
        str(np.searchsorted(edges, value) + np.searchsorted(edges, value, side="right"))
        if isinstance(value, (int, float))
        else "none"
        for value in values
    ]
