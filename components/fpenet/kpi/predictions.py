"""Predictions of a model on the evaluation faces, stored to compare two models.

Two models can be compared only if ``faces``, the digest of the evaluation faces, is equal: the same
pixels, labels and subjects in the same order.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.store import CropStore, Rows

Predict = Callable[[NDArray[np.uint8]], tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]
"""(N, 1, 80, 80) uint8 -> points (N, K, 2) in crop pixels, confidence (N, K)."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of one model.

    Attributes:
        points: (N, K, 2) 80x80 crop pixels, for the faces ``rows``.
        confidence: (N, K).
        tight_points: (M, K, 2) on the original's tight crops of ``store.tight_faces()``; None if
            those were not evaluated.
        rows: (N,) rows of the crop store.
        faces: digest of the evaluation faces.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    tight_points: NDArray[np.float32] | None
    rows: NDArray[np.int64]
    faces: str

    def save(self, path: Path) -> None:
        """Write a NumPy archive without pickled objects."""
        arrays: dict[str, Any] = {
            "points": self.points,
            "confidence": self.confidence,
            "rows": self.rows,
            "faces": np.array(self.faces),
        }
        if self.tight_points is not None:
            arrays["tight_points"] = self.tight_points
        np.savez(path, **arrays)


def load_predictions(path: Path) -> Predictions:
    """Read a file that ``Predictions.save`` wrote.

    Raises:
        InputError: names the file: missing, or not predictions.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tight = arrays.get("tight_points")
            return Predictions(
                arrays["points"], arrays["confidence"], tight, arrays["rows"], str(arrays["faces"])
            )
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not the predictions of a model: {error}") from None


def judged_rows(store: CropStore) -> Rows:
    """The rows of the evaluation faces.

    Raises:
        InputError: there are none.
    """
    rows = store.rows(store.judged_part)
    if len(rows) == 0:
        raise InputError(f"no face in part {store.judged_part!r}; parts with faces: {store.parts}")
    return rows


def digest_faces(store: CropStore, rows: Rows) -> str:
    """SHA-256 of the faces ``rows``: pixels, labels, subjects, and the name of the set."""
    digest = hashlib.sha256()
    metadata = [store.dataset, store.box_scale, store.num_keypoints, store.subjects(rows)]
    digest.update(json.dumps(metadata).encode())
    for array in (store.images(rows), store.points_crop(rows), store.visible(rows)):
        digest.update(np.ascontiguousarray(array).data)
    digest.update(np.ascontiguousarray(store.side(rows)).data)
    return digest.hexdigest()


def predict_all(
    predict: Predict, images: NDArray[np.uint8], batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Apply ``predict`` to all ``images`` in batches; the last batch may be smaller.

    Returns:
        points (N, K, 2) in crop pixels and confidence (N, K), float32.
    """
    outputs = [
        predict(images[start : start + batch_size]) for start in range(0, len(images), batch_size)
    ]
    points, confidence = zip(*outputs, strict=True)
    return (
        np.concatenate(points).astype(np.float32),
        np.concatenate(confidence).astype(np.float32),
    )


def predict_judged(predict: Predict, store: CropStore, batch_size: int) -> Predictions:
    """Predictions of ``predict`` for the evaluation faces: pipeline's crops and tight crops.

    Raises:
        InputError: no evaluation face, or the predictions have another number of keypoints.
    """
    rows = judged_rows(store)
    images, tight = store.images(rows), store.tight_faces().images
    predict = reported(predict, len(images) + len(tight))
    points, confidence = predict_all(predict, images, batch_size)
    if points.shape[1:] != (store.num_keypoints, 2):
        raise InputError(
            f"predictions are {points.shape[1:]} per face; the labels have"
            f" {store.num_keypoints} keypoints"
        )
    tight_points = predict_all(predict, tight, batch_size)[0] if len(tight) else None
    return Predictions(points, confidence, tight_points, rows, digest_faces(store, rows))


def reported(predict: Predict, total: int) -> Predict:
    """``predict`` with a progress record after each batch; ``total`` is the number of faces."""
    done = 0

    def predict_and_report(
        images: NDArray[np.uint8],
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        nonlocal done
        outputs = predict(images)
        done += len(images)
        report(done, total, "faces")
        return outputs

    return predict_and_report
