"""Candidate models: any engine that can run on the judged faces, of a bundle or an ONNX file.

Input: the folder of a bundle or of one of its targets, and the crop store. Does: runs each engine
on the faces that all others are judged on, in the box that it was made for. Output: predictions
that can be compared with others of the same faces. Models whose keypoints are numbered alike (68
are the first of 80, and of 104) meet on the points that both have.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.data.crops.geometry import rescaled
from fpenet.data.crops.store import CROP_PX, CropStore, first_keypoints
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel
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
"""Relative difference of two box scales that is none."""


@dataclass(frozen=True, slots=True)
class CandidateModel:
    """An engine that can be executed here.

    Attributes:
        name: ``target/precision``, or the file's name.
        box_scale: side of its crop over the longer side of the face box.
        max_batch_size: that it takes.
        assumed: what was assumed of it, in words.
        confidence_px: see ``describe_confidence``.
    """

    name: str
    predict: Predict
    num_keypoints: int
    box_scale: float
    max_batch_size: int
    assumed: tuple[str, ...] = ()
    confidence_px: float | None = None


def open_bundle(
    folder: Path, trusted: Trusted = DEFAULT_TRUST
) -> tuple[list[CandidateModel], list[str]]:
    """The engines of a bundle that run here, a target's default first; and why others do not.

    Raises:
        InputError: there is no bundle, nobody trusted signed it, or a file is not what was signed.
    """
    targets = [folder] if (folder / "model.json").is_file() else []
    targets += sorted(path.parent for path in folder.glob("*/model.json"))
    if not targets:
        raise InputError(f"{folder}: no bundle; wanted model.json or <target>/model.json there")
    opened, reasons = [], []
    for target in targets:
        model = BundleModel.parse(verify_checksums(target, trusted).read(MODEL), target / MODEL)
        for engine in sorted(model.engines, key=lambda each: each.precision != model.default):
            try:
                landmarker = Landmarker(target, engine.precision, trusted=trusted)
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
    """``store`` with the keypoints that a model of ``num_keypoints`` has too.

    Raises:
        InputError: theirs are numbered otherwise.
    """
    own = store.num_keypoints
    if num_keypoints == own:
        return store
    if not (scheme_for(own).of_fpenet and scheme_for(num_keypoints).of_fpenet):
        alike = sorted(count for count, scheme in SCHEMES.items() if scheme.of_fpenet)
        raise InputError(
            f"it has {num_keypoints} keypoints, the faces {own}; only {alike} are numbered alike"
        )
    return first_keypoints(store, min(own, num_keypoints))


def framed(candidate: CandidateModel, store: CropStore) -> CropStore:
    """The judged faces in the box that the candidate model was made for, with the points it has."""
    store = shared_keypoints(store, candidate.num_keypoints)
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


def predict_model(candidate: CandidateModel, store: CropStore, batch_size: int) -> Predictions:
    """What the candidate model says of the judged faces of ``store``, in its pixels.

    Args:
        store: with keypoints that the candidate model has (see ``shared_keypoints``).
    """
    own = framed(candidate, store)
    predict = shared_predict(candidate, store)
    found = predict_judged(predict, own, min(batch_size, candidate.max_batch_size))
    middle = (CROP_PX - 1) / 2
    points = (found.points - middle) * (own.box_scale / store.box_scale) + middle
    rows = judged_rows(store)
    return replace(
        found, points=points.astype(np.float32), rows=rows, faces=digest_faces(store, rows)
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
