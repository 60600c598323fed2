"""The release pipeline for facial-landmark models.

>>> import fpenet
>>> landmarker = fpenet.Landmarker("bundle/cpu")  # doctest: +SKIP
>>> landmarker.keypoints("face.jpg")[0].keypoints.shape  # doctest: +SKIP
(80, 2)

``Landmarker`` runs a released model on images, ``FaceTracks`` on the frames of a video;
``evaluate`` computes the KPI of any predict function on a crop folder; ``load_params`` reads
params.yaml. Each is imported at its first use, so that importing one module of this package does
not load the others.

Reading order: ``keypoints`` (keypoint schemes), ``data`` (labelled faces to crops), ``model``
(crops to weights), ``kpi`` (predictions to metrics and a gate decision), ``deploy`` (weights to
engines), ``release`` (engines to a registered version). All of them import ``core``, ``params`` and
``provenance``; ``stages`` and ``cli`` import them.

Shapes: N faces, K keypoints, C channels, H rows, W columns. Points are (x, y), x right, y down,
pixel centres at integers; a name gives the frame: ``points_image`` in source-image pixels,
``points_crop`` in 80x80 crop pixels, ``points_margin`` in margin-crop pixels. Missing
is NaN plus a boolean mask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fpenet.deploy.runtime.face_tracks import FaceTracks, TrackedFace
    from fpenet.deploy.runtime.landmarker import FaceKeypoints, Landmarker
    from fpenet.deploy.runtime.one_euro import Smoothing
    from fpenet.deploy.runtime.video import read_frames
    from fpenet.kpi.evaluate import evaluate_folder as evaluate
    from fpenet.kpi.predictions import Predict
    from fpenet.kpi.report import KpiReport
    from fpenet.params import EvaluateParams, Params, load_params

_PUBLIC = {
    "EvaluateParams": "fpenet.params:EvaluateParams",
    "FaceKeypoints": "fpenet.deploy.runtime.landmarker:FaceKeypoints",
    "FaceTracks": "fpenet.deploy.runtime.face_tracks:FaceTracks",
    "KpiReport": "fpenet.kpi.report:KpiReport",
    "Landmarker": "fpenet.deploy.runtime.landmarker:Landmarker",
    "Params": "fpenet.params:Params",
    "Predict": "fpenet.kpi.predictions:Predict",
    "Smoothing": "fpenet.deploy.runtime.one_euro:Smoothing",
    "TrackedFace": "fpenet.deploy.runtime.face_tracks:TrackedFace",
    "evaluate": "fpenet.kpi.evaluate:evaluate_folder",
    "load_params": "fpenet.params:load_params",
    "read_frames": "fpenet.deploy.runtime.video:read_frames",
}

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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fpenet' has no attribute {name!r}")
    module, attribute = _PUBLIC[name].split(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value
