"""Which training faces INT8 is calibrated on: spread over pose, light and occlusion, by a seed.

Input: a crop store. Output: rows of it, batches as the network takes them, and a list with the
digest of each crop. Pictures that are no faces (one grey, noise) are refused: a range of theirs
would be a range of nothing.
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
LEAST_LIKENESS = 0.5
"""Correlation of neighbouring pixels of a crop: of noise 0, of real faces 0.88 and more."""
_MOST_UNFIT = 0.1  # of the faces drawn
_FIFTHS = (0.2, 0.4, 0.6, 0.8)


def draw_faces(store: CropStore, count: int, seed: int, but: Collection[int] = ()) -> Rows:
    """At most ``count`` training faces, as evenly as can be over the strata; the same every time.

    Args:
        but: rows that are not drawn.

    Raises:
        InputError: there is no training face, or more than a tenth of those drawn are no faces.
    """
    rows = np.setdiff1d(store.rows("train"), np.array(list(but), dtype=np.int64))
    if len(rows) == 0:
        raise InputError(f"no face in part 'train' to calibrate on; parts: {store.parts}")
    strata: dict[tuple[str, ...], list[int]] = {}
    for row, key in zip(rows.tolist(), _strata(store, rows), strict=True):
        strata.setdefault(key, []).append(row)
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(strata[key]).tolist() for key in sorted(strata)]
    drawn: list[int] = []
    for turn in range(max(map(len, shuffled))):
        drawn += rng.permutation([one[turn] for one in shuffled if turn < len(one)]).tolist()
    chosen = np.array(sorted(drawn[:count]))
    fit = looks_like_faces(store.images(chosen))
    if np.mean(~fit) > _MOST_UNFIT:
        name = store.table["image"].to_pylist()[chosen[~fit][0]]
        raise InputError(
            f"{int((~fit).sum())} of {len(fit)} calibration crops are one grey or noise, the first"
            f" of {name}; they are not faces"
        )
    return chosen[fit]


def looks_like_faces(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) whether each of the crops (N, 1, 80, 80) has contrast, and neighbours that agree."""
    grey = images[:, 0].astype(np.float32)
    contrast = grey.std(axis=(1, 2))
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    neighbours = (grey[:, :, 1:] * grey[:, :, :-1]).mean(axis=(1, 2))
    likeness = neighbours / np.maximum(contrast, 1e-6) ** 2
    fit: NDArray[np.bool_] = (contrast >= LEAST_CONTRAST) & (likeness >= LEAST_LIKENESS)
    return fit


def crop_batches(store: CropStore, rows: Rows) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The faces as the network takes them, with progress."""
    for start in range(0, len(rows), BATCH):
        yield {INPUT: store.images(rows[start : start + BATCH]).astype(np.float32)}
        report(min(start + BATCH, len(rows)), len(rows), "faces")


def write_faces(store: CropStore, rows: Rows, path: Path) -> None:
    """Which faces were used: row, image, SHA-256 of the 80x80 crop's bytes."""
    names = store.table["image"].to_pylist()
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["row", "image", "crop_sha256"])
        for row, crop in zip(rows.tolist(), store.images(rows), strict=True):
            lines.writerow([row, names[row], digest_bytes(crop.tobytes())])


def _strata(store: CropStore, rows: Rows) -> list[tuple[str, ...]]:
    """Pose, light and occlusion of each face: what the set says of it, else what can be seen."""
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
    return list(zip(_kinds(yaw), _kinds(light), map(str, occlusion), strict=True))


def _kinds(values: list[str | float | None]) -> list[str]:
    """A number falls in its fifth of all of them, a word in itself."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    if not numbers:
        return [str(value) for value in values]
    edges = np.quantile(numbers, _FIFTHS)
    return [
        # What equals an edge is a kind of its own: edges coincide where most values do.
        str(np.searchsorted(edges, value) + np.searchsorted(edges, value, side="right"))
        if isinstance(value, (int, float))
        else "none"
        for value in values
    ]
