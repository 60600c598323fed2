"""Candidate models: any engine of a bundle or an ONNX file that can run on the judged faces.

Input: the folder of a bundle or of one of its targets, and the crop store. Does: runs each engine
on the judged faces, with the crop box that it was trained for. Output: predictions that can be
compared with predictions of other models on the same faces. Keypoint schemes with the same
numbering (the 68 are the first of the 80 and of the 104) are compared on their common keypoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.geometry import rescaled
from fpenet.data.crops.store import CROP_PX, CropStore, first_keypoints
from fpenet.data.sample import fixed_lists, points_of
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel
from fpenet.deploy.judge.contract.image_crops import CropView, predict_images
from fpenet.deploy.runtime.landmarker import Landmarker
from fpenet.keypoints import SCHEMES, scheme_for
from fpenet.kpi.predictions import (
    Predict,
    Predictions,
    digest_faces,
    judged_rows,
    predict_judged,
)
from fpenet.provenance.checksums import DEFAULT_TRUST, Trusted, verify_checksums

_SAME_BOX = 1e-6
"""Box scales with a smaller relative difference are equal."""


@dataclass(frozen=True, slots=True)
class CandidateModel:
    """An engine that can be executed here.

    Attributes:
        name: ``target/precision``, or the file's name.
        box_scale: side of its crop divided by the longer side of the face box.
        max_batch_size: largest batch that it takes.
        assumed: the assumptions about it, as sentences for the report.
        confidence_px: see ``describe_confidence``.
        view: its crops, if they are not those of the crop store; ``predict`` then takes them, and
            its points are pixels of the 80x80 crop of the same square.
        absent: 0-based keypoints that it does not have; their labels do not count.
        contract: the name of its contract file, if it has one.
    """

    name: str
    predict: Predict
    num_keypoints: int
    box_scale: float
    max_batch_size: int
    assumed: tuple[str, ...] = ()
    confidence_px: float | None = None
    view: CropView | None = None
    absent: tuple[int, ...] = ()
    contract: str | None = None


def open_bundle(
    folder: Path, trusted: Trusted = DEFAULT_TRUST
) -> tuple[list[CandidateModel], list[str]]:
    """The engines of a bundle that run here, and the reasons why the remaining ones do not.

    The default engine of a target is its first.

    Raises:
        InputError: there is no bundle, it has no signature of a trusted key, or a file differs from
            the signed digest.
    """
    target_dirs = [folder] if (folder / "model.json").is_file() else []
    target_dirs += sorted(path.parent for path in folder.glob("*/model.json"))
    if not target_dirs:
        raise InputError(f"{folder}: no bundle; it must have model.json or <target>/model.json")
    opened, reasons = [], []
    for target_dir in target_dirs:
        model = BundleModel.parse(
            verify_checksums(target_dir, trusted).read(MODEL), target_dir / MODEL
        )
        for engine in sorted(model.engines, key=lambda row: row.precision != model.default):
            try:
                landmarker = Landmarker(target_dir, engine.precision, trusted=trusted)
            except InputError as error:  # of another device, or not built yet
                reasons.append(str(error))
                continue
            opened.append(
                CandidateModel(
                    str(model.id_of(engine)),
                    landmarker.predict,
                    landmarker.num_keypoints,
                    landmarker.box_scale,
                    model.max_batch_size,
                    confidence_px=model.confidence_px,
                )
            )
    return opened, reasons


def shared_keypoints(store: CropStore, num_keypoints: int) -> CropStore:
    """``store``, cut to the keypoints that a model of ``num_keypoints`` has too.

    Raises:
        InputError: the schemes have different numberings.
    """
    labelled = store.num_keypoints
    if num_keypoints == labelled:
        return store
    if not (scheme_for(labelled).of_fpenet and scheme_for(num_keypoints).of_fpenet):
        alike = sorted(count for count, scheme in SCHEMES.items() if scheme.of_fpenet)
        raise InputError(
            f"it has {num_keypoints} keypoints, the faces {labelled}; only {alike} have the same"
            " numbering"
        )
    return first_keypoints(store, min(labelled, num_keypoints))


def framed(candidate: CandidateModel, store: CropStore) -> CropStore:
    """The judged faces in the candidate model's crop box, with the keypoints that it has.

    A model with a ``view`` is judged in the frame of the store.
    """
    store = without_labels(shared_keypoints(store, candidate.num_keypoints), candidate.absent)
    if candidate.view is not None:
        return store
    if abs(candidate.box_scale / store.box_scale - 1) < _SAME_BOX:
        return store
    return rescaled(store, judged_rows(store), candidate.box_scale)


def shared_predict(candidate: CandidateModel, store: CropStore) -> Predict:
    """Its predict function, cut to the keypoints of ``store``."""
    keep = slice(store.num_keypoints)

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        points, confidence = candidate.predict(images)
        return points[:, keep], confidence[:, keep]

    return predict


def without_labels(store: CropStore, keypoints: Sequence[int]) -> CropStore:
    """``store`` without the labels of some 0-based keypoints."""
    if not keypoints:
        return store
    points, visible = store.points_margin.copy(), store.visibility.copy()
    points[:, list(keypoints)] = np.nan
    visible[:, list(keypoints)] = False
    table = store.table.set_column(
        store.table.column_names.index("points"),
        "points",
        fixed_lists(_unlabelled(points_of(store.table), keypoints)),
    )
    return replace(store, points_margin=points, visibility=visible, table=table)


def _unlabelled(points: NDArray[np.float64], keypoints: Sequence[int]) -> NDArray[np.float64]:
    """(N, 2K) coordinates, NaN for ``keypoints``."""
    points = points.copy()
    points[:, list(keypoints)] = np.nan
    return points.reshape(len(points), -1)


def predict_model(candidate: CandidateModel, store: CropStore, batch_size: int) -> Predictions:
    """Predictions of the candidate model for the judged faces, in pixels of the crops of ``store``.

    Args:
        store: a store with only the keypoints of the model (see ``shared_keypoints``).
    """
    if candidate.view is not None:
        predict, most = shared_predict(candidate, store), candidate.max_batch_size
        return predict_images(predict, candidate.view, store, min(batch_size, most))
    reframed = framed(candidate, store)
    predict = shared_predict(candidate, store)
    predictions = predict_judged(predict, reframed, min(batch_size, candidate.max_batch_size))
    middle = (CROP_PX - 1) / 2
    points = (predictions.points - middle) * (reframed.box_scale / store.box_scale) + middle
    rows = judged_rows(store)
    return replace(
        predictions, points=points.astype(np.float32), rows=rows, faces=digest_faces(store, rows)
    )


def only_shared(predictions: Predictions, store: CropStore) -> Predictions:
    """Predictions of more keypoints cut to those of ``store``."""
    keep = slice(store.num_keypoints)
    return replace(
        predictions,
        points=predictions.points[:, keep],
        confidence=predictions.confidence[:, keep],
        tight_points=None
        if predictions.tight_points is None
        else predictions.tight_points[:, keep],
        faces=digest_faces(store, predictions.rows),
    )
