"""Stage evaluate: KPI of the trained net (``kpi.evaluate``).

Output: the KPI files of ``kpi.report`` and ``predictions.npz``, the reference of the parity checks.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fpenet.core.records import fields_of
from fpenet.data.crops.store import open_crops
from fpenet.kpi.evaluate import Predict, evaluate_model
from fpenet.kpi.report import plot_kpi, write_kpi
from fpenet.model.checkpoint import load_net
from fpenet.params import EvaluateParams


def torch_predict(net: torch.nn.Module) -> Predict:
    """A net as a predict function: uint8 crops in, NumPy points and confidence out."""
    device = next(net.parameters()).device

    @torch.inference_mode()
    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points, confidence = net(torch.from_numpy(images).to(device).float())
        return points.cpu().numpy(), confidence.cpu().numpy()

    return predict


def evaluate_net(
    *, crop_dir: Path, train_dir: Path, evaluate: EvaluateParams, out_dir: Path
) -> dict[str, Any]:
    """Evaluate the trained net on the evaluation part; returns the headline metrics."""
    store = open_crops(crop_dir)
    net, about = load_net(train_dir)
    kpi, predictions = evaluate_model(torch_predict(net), store, evaluate, about.confidence_px)
    write_kpi(kpi, out_dir)
    predictions.save(out_dir / "predictions.npz")
    plot_kpi(kpi, store, predictions, out_dir / "kpi.png")
    return {
        "dataset": kpi.dataset,
        "part": kpi.part,
        "faces": kpi.num_faces,
        "subjects": kpi.num_subjects,
        "normaliser": kpi.normaliser,
        "metrics": dict(kpi.metrics),
        "metrics_of_fewer_faces": {
            name: count for name, count in kpi.metric_faces.items() if count < kpi.num_faces
        },
        "confidence": {
            key: value for key, value in fields_of(kpi.confidence).items() if key != "reliability"
        },
    }
