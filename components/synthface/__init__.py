"""The embedded data set: parametric heads, rendered in NumPy, with exact labels of 104 keypoints.

Images of real faces may not be redistributed, so each machine renders the data set. Reading order:
``spec`` (parameters of a face); in ``geometry``: ``curves`` and ``surface`` (curves and
surface of the face), ``landmarks`` (positions of the keypoints), ``mesh``; in ``rendering``:
``raster``, ``albedo``, ``shading`` and ``render`` (one face); ``sampling`` (random parameters),
``dataset`` (files). ``exact`` has the arithmetic that gives the same bytes on every CPU.
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
