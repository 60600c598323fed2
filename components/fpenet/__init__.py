"""The release pipeline for facial-landmark models.

>>> import fpenet
>>> landmarker = fpenet.Landmarker("bundle/cpu")  # doctest: +SKIP
>>> landmarker.keypoints("face.jpg")[0].keypoints.shape  # doctest: +SKIP
(80, 2)

``Landmarker`` runs a released model, ``FaceTracks`` through the frames of a video; ``evaluate``
judges any predict function on a crop folder; ``load_params`` reads params.yaml. Each is imported at
its first use, so that importing a module of this package loads that module only.

Reading order of the chapters: ``keypoints`` (what a point means), ``data`` (labelled faces to
crops), ``model`` (crops to weights), ``kpi`` (points to a verdict), ``deploy`` (weights to
engines), ``release`` (engines to a registered version). ``core``, ``params`` and ``provenance`` lie
below all of them, ``stages`` and ``cli`` above.

Shapes: N faces, K keypoints, C channels, H rows, W columns. Points are (x, y), x right, y down,
pixel centres at integers; a name gives the frame: ``points_image`` in source-image pixels,
``points_crop`` in 80x80 crop pixels. Missing is NaN plus a boolean mask.
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
    """A public name, imported when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fpenet' has no attribute {name!r}")
    module, attribute = _PUBLIC[name].split(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value
