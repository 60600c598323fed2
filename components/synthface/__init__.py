"""The embedded data set: parametric heads, rendered in NumPy, with exact labels of 104 keypoints.

Real faces may not be redistributed; each machine renders the data set itself. Reading order:
``spec`` (parameters of a face), ``curves`` and ``head`` (its lines and surface), ``landmarks``
(positions of the keypoints), ``mesh``, ``raster``, ``paint`` and ``light`` (rendering), ``render``
(one face), ``population`` (random sampling), ``dataset`` (files). ``exact`` defines the arithmetic
that gives the same bytes on every CPU.
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
