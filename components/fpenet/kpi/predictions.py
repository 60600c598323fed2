"""Predictions: what a model said of the judged faces, kept so that two models can be compared.

Two models are compared face by face only where ``faces``, the digest of what was judged, is one and
the same: the pixels, their labels, who they are, and in which order.
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
    """What one model said.

    Attributes:
        points: (N, K, 2) 80x80 crop pixels, on the judged part in its order.
        confidence: (N, K).
        tight_points: (M, K, 2) on the original's tight crops of ``store.tight_faces()``; None
            where those were not judged.
        rows: (N,) of the crop store.
        faces: digest of the judged faces.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    tight_points: NDArray[np.float32] | None
    rows: NDArray[np.int64]
    faces: str

    def save(self, path: Path) -> None:
        """Write them to ``path``, without pickle."""
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
    """What ``save`` wrote.

    Raises:
        InputError: naming the file: absent, or not predictions.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            tight = found.get("tight_points")
            return Predictions(
                found["points"], found["confidence"], tight, found["rows"], str(found["faces"])
            )
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not the predictions of a model: {error}") from None


def judged_rows(store: CropStore) -> Rows:
    """The faces that a model is judged on.

    Raises:
        InputError: there is none.
    """
    rows = store.rows(store.judged_part)
    if len(rows) == 0:
        raise InputError(f"no face in part {store.judged_part!r}; parts with faces: {store.parts}")
    return rows


def digest_faces(store: CropStore, rows: Rows) -> str:
    """SHA-256 of the faces ``rows``: pixels, labels, people, and the name of the set."""
    digest = hashlib.sha256()
    about = [store.dataset, store.box_scale, store.num_keypoints, store.subjects(rows)]
    digest.update(json.dumps(about).encode())
    for array in (store.images(rows), store.points_crop(rows), store.visible(rows)):
        digest.update(np.ascontiguousarray(array).data)
    digest.update(np.ascontiguousarray(store.side(rows)).data)
    return digest.hexdigest()


def predict_all(
    predict: Predict, images: NDArray[np.uint8], batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``predict`` over all of ``images``, the short last batch too."""
    outputs = [
        predict(images[start : start + batch_size]) for start in range(0, len(images), batch_size)
    ]
    points, confidence = zip(*outputs, strict=True)
    return (
        np.concatenate(points).astype(np.float32),
        np.concatenate(confidence).astype(np.float32),
    )


def predict_judged(predict: Predict, store: CropStore, batch_size: int) -> Predictions:
    """What ``predict`` says of the judged faces, on both crops.

    Raises:
        InputError: no face is judged, or the predictions have another number of keypoints.
    """
    rows = judged_rows(store)
    images, tight = store.images(rows), store.tight_faces().images
    predict = reported(predict, len(images) + len(tight))
    points, confidence = predict_all(predict, images, batch_size)
    if points.shape[1:] != (store.num_keypoints, 2):
        raise InputError(
            f"predictions are {points.shape[1:]} a face; the labels have"
            f" {store.num_keypoints} keypoints"
        )
    tight_points = predict_all(predict, tight, batch_size)[0] if len(tight) else None
    return Predictions(points, confidence, tight_points, rows, digest_faces(store, rows))


def reported(predict: Predict, total: int) -> Predict:
    """``predict``, telling after each batch how many of ``total`` faces are done."""
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
