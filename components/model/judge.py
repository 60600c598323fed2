"""Stage evaluate: the trained net before the one judge (``kpi.evaluate``).

Output: the KPI files of ``kpi.report`` and ``predictions.npz``, the reference of the parity ladder.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.crop_store import open_crops
from components.keypoints import scheme_for
from components.kpi.evaluate import Predict, judge, predict_all, reported
from components.kpi.metrics import interocular, nme, point_errors
from components.kpi.report import draw_kpi, write_kpi
from components.model.checkpoint import load_net
from components.params import EvaluateParams


def torch_predict(net: torch.nn.Module) -> Predict:
    """A net as the judge takes it: uint8 crops in, numpy points and confidence out."""

    @torch.inference_mode()
    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points, confidence = net(torch.from_numpy(images).float())
        return points.numpy(), confidence.numpy()

    return predict


def evaluate_net(
    *, crop_dir: Path, train_dir: Path, evaluate: EvaluateParams, out_dir: Path
) -> dict[str, Any]:
    """Judge the trained net on the judged part; returns the headline metrics."""
    store = open_crops(crop_dir)
    net, _ = load_net(train_dir)
    rows = store.rows(store.judged_part)
    if len(rows) == 0:
        raise ValueError(f"no face in part {store.judged_part!r}; parts with faces: {store.parts}")
    images, tight = store.images(rows), store.tight_faces().images
    predict = reported(torch_predict(net), len(images) + len(tight))
    points, confidence = predict_all(predict, images, evaluate.batch_size)
    tight_points = predict_all(predict, tight, evaluate.batch_size)[0] if len(tight) else None
    kpi = judge(store, points, tight_points, confidence)
    write_kpi(kpi, out_dir)
    np.savez(out_dir / "predictions.npz", points=points, confidence=confidence, rows=rows)
    target = store.points_crop(rows)
    errors = point_errors(points, target)
    corners = scheme_for(store.num_keypoints).eye_corners
    norm = interocular(target, corners) if corners else np.full(len(rows), 80.0)
    faces = nme(errors, np.isfinite(errors), norm)
    draw_kpi(kpi, images, points, target, faces, out_dir / "kpi.png")
    return {
        "dataset": kpi.dataset,
        "part": kpi.part,
        "faces": kpi.num_faces,
        "subjects": kpi.num_subjects,
        "normaliser": kpi.normaliser,
        "metrics": dict(kpi.metrics),
        "confidence": dict(kpi.confidence),
    }
