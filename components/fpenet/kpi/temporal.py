"""Temporal jitter of the points from frame to frame.

If the evaluation faces have the attributes ``sequence`` and ``frame``, their sequences are used;
else still images, whose box moves by less than a pixel from frame to frame, with new noise in each
frame. Jitter is computed from the change of the error between neighbouring frames, so that neither
the motion of the face nor a constant error counts: sqrt(mean |e(t) - e(t - 1)|^2 / 2). For
independent errors it is their standard deviation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpenet.core.records import Identifier
from fpenet.data.crops.store import CropStore, Rows
from fpenet.kpi.metrics import Floats
from fpenet.kpi.predictions import Predict, predict_all
from fpenet.kpi.robustness import evenly, reframed
from fpenet.params import EvaluateParams


def temporal_jitter(errors: Floats) -> NDArray[np.float64]:
    """(K,) root mean square of the change of the error between frames, divided by sqrt(2).

    Args:
        errors: (T, K, 2) predicted minus labelled points per frame; NaN where unlabelled.

    >>> temporal_jitter(np.array([[[1.0, 0.0]], [[-1.0, 0.0]], [[1.0, 0.0]]])).round(6)
    array([1.414214])
    """
    change = (np.diff(errors.astype(np.float64), axis=0) ** 2).sum(axis=2)
    mean: NDArray[np.float64] = np.sqrt(change.mean(axis=0) / 2)
    return mean


class TemporalKind(Identifier):
    """The frames that the jitter is of: those of the data set, or simulated from stills."""

    SEQUENCES = "sequences_of_the_set"
    STILLS = "stills_moved_by_less_than_a_pixel"


@dataclass(frozen=True, slots=True)
class TemporalReport:
    """Temporal jitter of the points, pixels of the 80x80 crop.

    Attributes:
        sequences, frames: number of sequences, and of frames of all sequences.
        metrics: ``trembling_px/<region>`` -> mean jitter over sequences and keypoints; None for a
            region without a labelled point.
    """

    kind: TemporalKind
    sequences: int
    frames: int
    metrics: Mapping[str, float | None]


def temporal_of(
    predict: Predict,
    store: CropStore,
    rows: Rows,
    regions: Mapping[str, Sequence[int]],
    evaluate: EvaluateParams,
) -> TemporalReport:
    """Temporal jitter of the points on the evaluation faces ``rows``."""
    groups = _sequences(store, rows)
    if groups:
        kind = TemporalKind.SEQUENCES
        tracks = [_errors(predict, store, group, evaluate) for group in groups]
    else:
        kind = TemporalKind.STILLS
        chosen = rows[evenly(store.subjects(rows), evaluate.temporal.faces, evaluate.interval.seed)]
        tracks = _stills(predict, store, chosen, evaluate)
    jitter = np.stack([temporal_jitter(track) for track in tracks])  # (sequences, K)
    known = np.isfinite(jitter)
    values = {
        f"trembling_px/{region}": float(jitter[:, list(points)][known[:, list(points)]].mean())
        if known[:, list(points)].any()
        else None
        for region, points in regions.items()
    }
    return TemporalReport(kind, len(tracks), sum(map(len, tracks)), values)


def _sequences(store: CropStore, rows: Rows) -> list[Rows]:
    """The rows of each sequence in the order of frames; sequences of one frame are left out."""
    names, frames = store.attribute("sequence", rows), store.attribute("frame", rows)
    groups: dict[str, list[tuple[float, int]]] = {}
    for row, name, frame in zip(rows, names, frames, strict=True):
        if name is not None and frame is not None:
            groups.setdefault(str(name), []).append((float(frame), int(row)))
    return [
        np.array([row for _, row in sorted(group)]) for group in groups.values() if len(group) > 1
    ]


def _errors(predict: Predict, store: CropStore, rows: Rows, evaluate: EvaluateParams) -> Floats:
    """(T, K, 2) predicted minus labelled points of one sequence, crop pixels."""
    points, _ = predict_all(predict, store.images(rows), evaluate.batch_size)
    return points - store.points_crop(rows)


def _stills(
    predict: Predict, store: CropStore, rows: Rows, evaluate: EvaluateParams
) -> list[Floats]:
    """The errors (T, K, 2) of each still image over simulated frames, crop pixels."""
    rng = np.random.default_rng(evaluate.interval.seed)
    params = evaluate.temporal
    repeated = np.repeat(rows, params.frames)
    moved = rng.uniform(-params.shift_px, params.shift_px, (len(repeated), 2))
    faces = reframed(store, repeated, moved, np.ones(len(repeated)))
    noisy = faces.images + params.noise * rng.standard_normal(faces.images.shape)
    images = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    points, _ = predict_all(predict, images, evaluate.batch_size)
    errors = faces.to_clean(points) - store.points_crop(repeated)
    return list(errors.reshape(len(rows), params.frames, *errors.shape[1:]))
