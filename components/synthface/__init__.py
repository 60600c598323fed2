"""The embedded data set: parametric heads, drawn in NumPy, with exact labels of 104 keypoints.

Real faces may not be redistributed, so a fresh machine renders its own. Reading order: ``spec``
(what a face is), ``curves`` and ``head`` (its lines and its surface), ``landmarks`` (where the
keypoints lie on them), ``mesh``, ``raster``, ``paint`` and ``light`` (how it becomes pixels),
``render`` (one face), ``population`` (chance), ``dataset`` (files). ``exact`` says which
arithmetic keeps the bytes the same on every CPU.
"""

from synthface.dataset import checked_subjects, render_dataset
from synthface.rendering.render import render_face
from synthface.spec import (
    EXPRESSIONS,
    Expression,
    FaceSpec,
    Identity,
    Occluder,
    RenderedFace,
)

__all__ = [
    "EXPRESSIONS",
    "Expression",
    "FaceSpec",
    "Identity",
    "Occluder",
    "RenderedFace",
    "checked_subjects",
    "render_dataset",
    "render_face",
]
