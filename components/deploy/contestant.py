"""Contestant: any engine that can be asked about the judged faces: a bundle's, or an ONNX file.

Input: the folder of a bundle or of one of its targets, and the crop store. Does: shows each engine
the very faces that all others are judged on, in the box that it was made for. Output: predictions
that can be compared with others of the same faces. Models whose keypoints are numbered alike (68
are the first of 80, and of 104) meet on the points that both have.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.data.crop_store import CropStore, first_keypoints
from components.deploy.landmarker import Landmarker
from components.deploy.sums import check_sums
from components.keypoints import SCHEMES
from components.kpi.corruptions import Shown, clean, reframed
from components.kpi.predictions import (
    Predict,
    Predictions,
    digest_faces,
    judged_rows,
    predict_all,
    reported,
)

_SAME_BOX = 1e-6
"""Relative difference of two box scales that is none."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine that can be asked.

    Attributes:
        name: ``target/precision``, or the file's name.
        box_scale: side of its crop over the longer side of the face box.
        max_batch_size: that it takes.
        assumed: what was taken for granted of it, in words.
    """

    name: str
    predict: Predict
    num_keypoints: int
    box_scale: float
    max_batch_size: int
    assumed: tuple[str, ...] = ()


def open_bundle(folder: Path) -> tuple[list[Contestant], list[str]]:
    """The engines of a bundle that run here, and why each other one does not.

    Raises:
        ValueError: there is no bundle, or a file differs from its listed digest.
    """
    targets = [folder] if (folder / "model.json").is_file() else []
    targets += sorted(path.parent for path in folder.glob("*/model.json"))
    if not targets:
        raise ValueError(f"{folder}: no bundle; wanted model.json or <target>/model.json there")
    opened, reasons = [], []
    for target in targets:
        check_sums(target)
        model = json.loads((target / "model.json").read_text(encoding="utf-8"))
        for engine in model["engines"]:
            try:
                landmarker = Landmarker(target, engine["precision"])
            except ValueError as error:  # of another device, or not built yet
                reasons.append(str(error))
                continue
            opened.append(
                Contestant(
                    f"{model['target']}/{engine['precision']}",
                    landmarker.predict,
                    landmarker.num_keypoints,
                    landmarker.box_scale,
                    int(model["max_batch_size"]),
                )
            )
    return opened, reasons


def shared_keypoints(store: CropStore, num_keypoints: int) -> CropStore:
    """``store`` with the keypoints that a model of ``num_keypoints`` has too.

    Raises:
        ValueError: theirs are numbered otherwise.
    """
    own = store.num_keypoints
    if num_keypoints == own:
        return store
    if not {own, num_keypoints} <= set(SCHEMES):
        raise ValueError(
            f"it has {num_keypoints} keypoints, the faces {own}; only {sorted(SCHEMES)} are"
            " numbered alike"
        )
    return first_keypoints(store, min(own, num_keypoints))


def ask(contestant: Contestant, store: CropStore, batch_size: int) -> Predictions:
    """What the contestant says of the judged faces of ``store``.

    Args:
        store: with keypoints that the contestant has (see ``shared_keypoints``).
    """
    rows = judged_rows(store)
    shown, tight = framed(contestant, store), store.tight_faces().images
    size = min(batch_size, contestant.max_batch_size)
    predict = reported(contestant.predict, len(shown.images) + len(tight))
    keep = slice(store.num_keypoints)
    points, confidence = predict_all(predict, shown.images, size)
    tight_points = predict_all(predict, tight, size)[0][:, keep] if len(tight) else None
    return Predictions(
        shown.to_clean(points[:, keep]).astype(np.float32),
        confidence[:, keep],
        tight_points,
        rows,
        digest_faces(store, rows),
    )


def framed(contestant: Contestant, store: CropStore) -> Shown:
    """The judged faces in the contestant's own box."""
    rows = judged_rows(store)
    scale = contestant.box_scale / store.box_scale
    if abs(scale - 1) < _SAME_BOX:
        return clean(store, rows)
    return reframed(store, rows, np.zeros((len(rows), 2)), np.full(len(rows), scale))


def only_shared(found: Predictions, store: CropStore) -> Predictions:
    """Predictions of more keypoints cut to those of ``store``."""
    keep = slice(store.num_keypoints)
    return replace(
        found,
        points=found.points[:, keep],
        confidence=found.confidence[:, keep],
        tight_points=None if found.tight_points is None else found.tight_points[:, keep],
        faces=digest_faces(store, found.rows),
    )
