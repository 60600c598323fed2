"""User-defined keypoints: vertices of the mean head, transferred to every face.

Input: a scheme whose keypoints are weighted means of vertices of the mean head (``head_obj`` writes
that head for a 3-D viewer). Does: moves each vertex by the mean shift of the default keypoints near
it from the mean head to the face, and projects it onto the skin. Output: points and visibility, as
exact as those of the default keypoints.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synthface.geometry.landmarks import IRISES, NUM_KEYPOINTS, landmarks
from synthface.geometry.mesh import EAR, SKIN, Mesh, build_mesh
from synthface.geometry.surface import front_depth
from synthface.rendering.render import NEAR_MM, project, visible_points
from synthface.spec import (
    Expression,
    FaceSpec,
    Floats,
    Identity,
    RenderedFace,
)

_ON_SKIN_MM = 0.5
"""A vertex closer than this to the front of the skin is kept on it."""
_LEAST_SQUARED_MM = 0.01
"""Added to squared distances; a keypoint that is much closer determines the shift alone."""
CONTROL_POINTS = [k for k in range(NUM_KEYPOINTS) if k not in IRISES]
"""The keypoints that determine the shift: all without the irises and pupils."""


class VertexKeypoint(Protocol):
    """A keypoint as a weighted mean of vertices: vertex of the mean head -> its weight."""

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
    return mesh.vertices[:, _allowed(mesh)], landmarks(Identity(), Expression(), (0.0, 0.0))


def _allowed(mesh: Mesh) -> NDArray[np.bool_]:
    """(V,) the allowed vertices of keypoints: skin and ears, which are the first of the mesh."""
    allowed: NDArray[np.bool_] = np.isin(mesh.part, (SKIN, EAR))
    assert allowed[: np.count_nonzero(allowed)].all()
    return allowed


def with_scheme(rendered: RenderedFace, face: FaceSpec, scheme: VertexScheme) -> RenderedFace:
    """``rendered``, the image of ``face``, with the keypoints of ``scheme`` instead of the 104.

    Raises:
        ValueError: a keypoint has no vertices, or a vertex that the mean head does not have.
    """
    x, y, z = project(face, *scheme_points(scheme, face.identity, face.expression))
    points = np.stack([x, y], axis=1)
    visible = visible_points(points, z, rendered.depth, NEAR_MM)
    return dataclasses.replace(rendered, points=points, visible=visible)


def scheme_points(scheme: VertexScheme, identity: Identity, expression: Expression) -> Floats:
    """(3, K) the keypoints of ``scheme`` on one head, head frame, mm.

    Raises:
        ValueError: see ``with_scheme``.
    """
    head, _ = mean_head()
    count = head.shape[1]
    weighted = []
    for number, keypoint in enumerate(scheme.keypoints, 1):
        vertices = keypoint.vertices or {}
        unknown = [vertex for vertex in vertices if vertex >= count]
        if unknown or not vertices:
            fault = f"there is no vertex {unknown[0]}" if unknown else "it has no vertices"
            raise ValueError(
                f"scheme {scheme.name}, keypoint {number} ({keypoint.name}): {fault}; the mean head"
                f" has the vertices 0 to {count - 1}"
            )
        weighted.append(vertices)
    used = [vertex for vertices in weighted for vertex in vertices]
    transferred = iter(_transferred(head[:, used], identity, expression).T)
    points = []
    for vertices in weighted:
        point, total = np.zeros(3), 0.0
        for weight in vertices.values():
            point, total = point + weight * next(transferred), total + weight
        points.append(point / total)
    return np.array(points).T


def _transferred(vertices: Floats, identity: Identity, expression: Expression) -> Floats:
    """(3, n) vertices of the mean head on another head.

    Each vertex moves by the shifts of the keypoints with inverse-distance weights.
    """
    _, mean = mean_head()
    shifts = landmarks(identity, expression, (0.0, 0.0)) - mean
    x, y, z = vertices
    total, moved = np.zeros_like(x), np.zeros_like(vertices)
    for k in CONTROL_POINTS:
        squared = (x - mean[k, 0]) * (x - mean[k, 0]) + (y - mean[k, 1]) * (y - mean[k, 1])
        weight = 1.0 / ((squared + _LEAST_SQUARED_MM) * (squared + _LEAST_SQUARED_MM))
        total, moved = total + weight, moved + weight * shifts[k][:, None]
    x, y, z = vertices + moved / total
    level = front_depth(Identity(), Expression(), vertices[0], vertices[1]) - vertices[2]
    on_skin = (level < _ON_SKIN_MM) & (level > -_ON_SKIN_MM)
    return np.stack([x, y, np.where(on_skin, front_depth(identity, expression, x, y), z)])


def head_obj() -> str:
    """The mean head as a Wavefront OBJ file, y up, with the vertices of the 104 keypoints."""
    mesh = build_mesh(Identity(), Expression())
    allowed = _allowed(mesh)
    (x, y, z), keypoints = mean_head()
    a, b, c = mesh.triangles[:, allowed[mesh.triangles].all(axis=0)]
    lines = [
        "# The mean head in mm: x to the right of the image, y up, z toward the camera.",
        "# A scheme file numbers vertices from 0, as Blender and MeshLab do; OBJ faces from 1.",
        "# keypoint of the 104: its vertices and their weights",
    ]
    for number, point in enumerate(keypoints, 1):
        weights = ", ".join(
            f"{vertex}: {share:.3f}" for vertex, share in _weights_at(point).items()
        )
        lines.append(f"# {number}: {{{weights}}}")
    lines += [f"v {px:.3f} {-py:.3f} {pz:.3f}" for px, py, pz in zip(x, y, z, strict=True)]
    lines += [f"f {i + 1} {j + 1} {k + 1}" for i, j, k in zip(a, c, b, strict=True)]
    return "\n".join(lines) + "\n"


def _weights_at(point: Floats) -> dict[int, float]:
    """Vertex -> weight for ``point`` (3,).

    The vertices are those of the triangle of the front around the point, or the nearest vertex.
    """
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
    around = np.flatnonzero((v >= -1e-9) & (w >= -1e-9) & (v + w <= 1.0 + 1e-9) & near)
    if not len(around) or distance.min() < 1e-6:
        return {int(distance.argmin()): 1.0}
    best = around[0]
    shares = (1.0 - v[best] - w[best], v[best], w[best])
    return {
        int(vertex): round(float(share), 3)
        for vertex, share in zip(front[:, best], shares, strict=True)
        if share >= 0.0005
    }
