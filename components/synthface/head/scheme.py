"""User-defined keypoints: vertices of the mean head, transferred to every face.

Input: a scheme file, whose keypoints are weighted means of vertices of the mean head (``head_obj``
writes that head for a 3-D viewer). Does: moves each vertex like the default keypoints around it
move from the mean head to another face, and projects it onto the skin. Output: points and
visibility, as exact as those of the default keypoints.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synthface.head.landmarks import IRISES, NUM_KEYPOINTS, landmarks
from synthface.head.mesh import EAR, SKIN, Mesh, build_mesh
from synthface.head.surface import front_depth
from synthface.rendering.render import NEAR_MM, project, seen_at
from synthface.spec import (
    Expression,
    FaceSpec,
    Floats,
    Identity,
    RenderedFace,
)

_ON_SKIN_MM = 0.5
"""A vertex so near to the front of the skin stays on it."""
_NEAREST = 0.01
"""Squared mm below which a keypoint alone says where a vertex goes."""
CARRIERS = [k for k in range(NUM_KEYPOINTS) if k not in IRISES]
"""The keypoints that vertices follow: all but those that follow the gaze."""


class VertexKeypoint(Protocol):
    """A keypoint as a mix of vertices: vertex of the mean head -> its share of the point."""

    @property
    def name(self) -> str: ...
    @property
    def vertices(self) -> Mapping[int, float] | None: ...


class VertexScheme(Protocol):
    """Named keypoints, in their order."""

    @property
    def name(self) -> str: ...
    @property
    def keypoints(self) -> Sequence[VertexKeypoint]: ...


@cache
def mean_head() -> tuple[Floats, Floats]:
    """(3, V) skin and ears of the mean head, in the order of the mesh, and its (104, 3) keypoints.

    Head frame, mm.
    """
    mesh = build_mesh(Identity(), Expression())
    return mesh.vertices[:, _own(mesh)], landmarks(Identity(), Expression(), (0.0, 0.0))


def _own(mesh: Mesh) -> NDArray[np.bool_]:
    """(V,) the vertices that keypoints may be: skin and ears, which come first in the mesh."""
    own: NDArray[np.bool_] = np.isin(mesh.part, (SKIN, EAR))
    assert own[: np.count_nonzero(own)].all()
    return own


def with_scheme(rendered: RenderedFace, face: FaceSpec, scheme: VertexScheme) -> RenderedFace:
    """``rendered``, which shows ``face``, with the keypoints of ``scheme`` for its 104.

    Raises:
        ValueError: naming a keypoint that has no vertices, or one that the mean head does not have.
    """
    x, y, z = project(face, *scheme_points(scheme, face.identity, face.expression))
    points = np.stack([x, y], axis=1)
    visible = seen_at(points, z, rendered.nearest, NEAR_MM)
    return dataclasses.replace(rendered, points=points, visible=visible)


def scheme_points(scheme: VertexScheme, identity: Identity, expression: Expression) -> Floats:
    """(3, K) the keypoints of ``scheme`` on one head, head frame, mm.

    Raises:
        ValueError: see ``with_scheme``.
    """
    head, _ = mean_head()
    count = head.shape[1]
    mixes = []
    for number, keypoint in enumerate(scheme.keypoints, 1):
        vertices = keypoint.vertices or {}
        odd = [vertex for vertex in vertices if vertex >= count]
        if odd or not vertices:
            what = f"vertex {odd[0]} is none" if odd else "has no vertices"
            raise ValueError(
                f"scheme {scheme.name}, keypoint {number} ({keypoint.name}): {what}; the mean head"
                f" has 0 to {count - 1}, which ``head_obj`` writes"
            )
        mixes.append(vertices)
    vertices_used = [vertex for vertices in mixes for vertex in vertices]
    carried = iter(_carried(head[:, vertices_used], identity, expression).T)
    points = []
    for vertices in mixes:
        point, whole = np.zeros(3), 0.0
        for share in vertices.values():
            point, whole = point + share * next(carried), whole + share
        points.append(point / whole)
    return np.array(points).T


def _carried(vertices: Floats, identity: Identity, expression: Expression) -> Floats:
    """(3, n) vertices of the mean head on another: inverse-distance weights of the keypoints."""
    _, mean = mean_head()
    moves = landmarks(identity, expression, (0.0, 0.0)) - mean
    x, y, z = vertices
    whole, moved = np.zeros_like(x), np.zeros_like(vertices)
    for k in CARRIERS:
        squared = (x - mean[k, 0]) * (x - mean[k, 0]) + (y - mean[k, 1]) * (y - mean[k, 1])
        weight = 1.0 / ((squared + _NEAREST) * (squared + _NEAREST))
        whole, moved = whole + weight, moved + weight * moves[k][:, None]
    x, y, z = vertices + moved / whole
    level = front_depth(Identity(), Expression(), vertices[0], vertices[1]) - vertices[2]
    on_skin = (level < _ON_SKIN_MM) & (level > -_ON_SKIN_MM)
    return np.stack([x, y, np.where(on_skin, front_depth(identity, expression, x, y), z)])


def head_obj() -> str:
    """The mean head as a Wavefront OBJ file, y up, with what makes up each of the 104 keypoints."""
    mesh = build_mesh(Identity(), Expression())
    own = _own(mesh)
    (x, y, z), keypoints = mean_head()
    a, b, c = mesh.triangles[:, own[mesh.triangles].all(axis=0)]
    lines = [
        "# The mean head in mm: x to the right of its picture, y up, z toward the camera.",
        "# A scheme file counts vertices from 0, as Blender and MeshLab do; faces here from 1.",
        "# keypoint of the 104: the vertices that it is a mix of",
    ]
    for number, point in enumerate(keypoints, 1):
        mix = ", ".join(f"{vertex}: {share:.3f}" for vertex, share in _mix_at(point).items())
        lines.append(f"# {number}: {{{mix}}}")
    lines += [f"v {px:.3f} {-py:.3f} {pz:.3f}" for px, py, pz in zip(x, y, z, strict=True)]
    lines += [f"f {i + 1} {j + 1} {k + 1}" for i, j, k in zip(a, c, b, strict=True)]
    return "\n".join(lines) + "\n"


def _mix_at(point: Floats) -> dict[int, float]:
    """Vertex -> share of ``point`` (3,): of the triangle of the front about it, or the nearest."""
    mesh = build_mesh(Identity(), Expression())
    head, _ = mean_head()
    distance = ((head - point[:, None]) * (head - point[:, None])).sum(axis=0)
    front = mesh.triangles[:, (mesh.part[mesh.triangles] == SKIN).all(axis=0)]
    front = front[:, (head[2][front] > 0.0).all(axis=0)]
    (ax, bx, cx), (ay, by, cy) = head[0][front], head[1][front]
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    area = np.where(np.abs(area) > 1e-9, area, np.nan)
    v = ((point[0] - ax) * (cy - ay) - (cx - ax) * (point[1] - ay)) / area
    w = ((bx - ax) * (point[1] - ay) - (point[0] - ax) * (by - ay)) / area
    near = head[2][front].mean(axis=0) > point[2] - 2.0 * NEAR_MM
    about = np.flatnonzero((v >= -1e-9) & (w >= -1e-9) & (v + w <= 1.0 + 1e-9) & near)
    if not len(about) or distance.min() < 1e-6:
        return {int(distance.argmin()): 1.0}
    best = about[0]
    shares = (1.0 - v[best] - w[best], v[best], w[best])
    return {
        int(vertex): round(float(share), 3)
        for vertex, share in zip(front[:, best], shares, strict=True)
        if share >= 0.0005
    }
