"""The public face of fpenet.

>>> import fpenet
>>> landmarker = fpenet.Landmarker("bundle/cpu")  # doctest: +SKIP
>>> landmarker.keypoints("face.jpg")[0].keypoints.shape  # doctest: +SKIP
(80, 2)

``Landmarker`` runs a released model, ``FaceTracks`` through the frames of a video; ``evaluate``
judges any predict function on a crop folder; ``load_params`` reads params.yaml.
Importing this needs neither torch nor Prefect.
"""

from pathlib import Path

from components.deploy.face_tracks import FaceTracks, TrackedFace
from components.deploy.landmarker import FaceKeypoints, Landmarker
from components.deploy.one_euro import Smoothing
from components.deploy.video import read_frames
from components.kpi.kpi_report import KpiReport
from components.kpi.predictions import Predict
from components.params import EvaluateParams, Params, load_params

__all__ = [
    "EvaluateParams",
    "FaceKeypoints",
    "FaceTracks",
    "KpiReport",
    "Landmarker",
    "Params",
    "Predict",
    "Smoothing",
    "TrackedFace",
    "evaluate",
    "load_params",
    "read_frames",
]


def evaluate(predict: Predict, crop_dir: Path | str, params: EvaluateParams) -> KpiReport:
    """Judge ``predict`` on the judged part of a crop folder, as every engine is judged.

    Args:
        predict: (N, 1, 80, 80) uint8 -> points (N, K, 2) in crop pixels, confidence (N, K).
        params: what is measured, ``load_params(Path("params.yaml")).evaluate``.

    Raises:
        ValueError: the folder has no judged face, or the predictions have another K.
    """
    from components.data.crop_store import open_crops
    from components.kpi.evaluate import evaluate as judge

    return judge(predict, open_crops(Path(crop_dir)), params)[0]
