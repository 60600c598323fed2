"""Renders one face: from its parameters to an image with exact labels."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthface.exact import circle
from synthface.geometry import curves
from synthface.geometry.contour import moved_to_contour
from synthface.geometry.landmarks import EARS, IRISES, JAW, landmarks
from synthface.geometry.mesh import Mesh, build_mesh
from synthface.rendering.albedo import ALBEDOS
from synthface.rendering.occluder import occluder_coverage, occluder_grey
from synthface.rendering.raster import Fragments, rasterise
from synthface.rendering.scene import background, camera_image
from synthface.rendering.shading import flash_direction, room_light, shade
from synthface.rendering.shadow import light_visibility
from synthface.spec import (
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    Bools,
    FaceSpec,
    Floats,
    RenderedFace,
)

GLOSS = np.array([0.06, 0.03, 0.02, 0.0, 0.05], np.float32)
"""Highlight of SKIN, EAR, NECK, SHIRT and HAIR."""
NEAR_MM = 3.0
_NEAR = np.full(104, NEAR_MM)
_NEAR[EARS], _NEAR[JAW] = 6.0, np.inf
"""A point is visible if it is at most this far behind the nearest surface, mm; the jaw is at the
edge of the head, where depth is no criterion."""
_EDGE = -0.2
"""A jaw point is hidden if its outward normal is more than 12 degrees away from the camera."""


def render_face(face: FaceSpec) -> RenderedFace:
    """The image of ``face`` and its labels; a pure function with equal bytes on every machine."""
    mesh = build_mesh(face.identity, face.expression)
    x, y, z = project(face, *mesh.vertices)
    fragments = rasterise(x, y, z, mesh.triangles)
    grey = background(face.seed)
    depth = np.full(grey.shape, -np.inf, np.float32)
    depth.reshape(-1)[fragments.pixel] = fragments.blend(z)
    grey.reshape(-1)[fragments.pixel] = _shade(face, mesh, fragments, depth)
    points_head = landmarks(face.identity, face.expression, face.gaze_mm)
    facing = _jaw_faces_camera(face, points_head)
    points_head[JAW], is_moved = moved_to_contour(
        face.identity,
        face.expression,
        points_head[JAW],
        ~facing[JAW],
        lambda x, y, z: project(replace(face, roll_deg=0.0), x, y, z)[0],
    )
    facing[JAW] |= is_moved
    px, py, pz = project(face, *points_head.T)
    points = np.stack([px, py], axis=1)
    visible = visible_points(points, pz, depth, _NEAR) & facing & _between_lids(face, points_head)
    if face.occluder is not None:
        _render_occluder(face, grey, depth)
        visible &= occluder_coverage(face.occluder, px, py) < 0.5
    left, top = float(px[:68].min()), float(py[:68].min())
    box = (left, top, float(px[:68].max()) - left, float(py[:68].max()) - top)
    hidden = 68 - int(np.count_nonzero(visible[:68]))
    image = camera_image(grey, face.seed, face.illumination)
    return RenderedFace(image, points, visible, box, min(9, hidden * 10 // 68), depth)


def _rotated(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Head frame directions in the axes of the camera: rotated by yaw, then pitch, then roll."""
    sine, cosine = circle(face.yaw_deg)
    x, z = x * cosine + z * sine, z * cosine - x * sine
    sine, cosine = circle(face.pitch_deg)
    y, z = y * cosine + z * sine, z * cosine - y * sine
    sine, cosine = circle(face.roll_deg)
    x, y = x * cosine - y * sine, y * cosine + x * sine
    return x, y, z


def project(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Image x and y (px) and depth z (mm toward the camera) of head frame points."""
    x, y, z = _rotated(face, x, y, z)
    scale = face.px_per_mm * face.camera_mm / (face.camera_mm - z)
    return face.centre_px[0] + x * scale, face.centre_px[1] + y * scale, z


def _shade(face: FaceSpec, mesh: Mesh, fragments: Fragments, depth: Floats) -> Floats:
    """(M,) displayed grey of the fragments."""
    part = mesh.part[fragments.corners[0]]
    a, b, c = (fragments.blend(mesh.texture[axis]) for axis in range(3))
    albedo = np.empty(len(part), np.float32)
    for kind, albedo_of in ALBEDOS.items():
        indices = np.nonzero(part == kind)[0]
        albedo[indices] = albedo_of(face, a[indices], b[indices], c[indices])
    nx, ny, nz = (fragments.blend(mesh.normals[axis]) for axis in range(3))
    gloss = GLOSS[part]
    sin_yaw, cos_yaw = circle(face.yaw_deg)
    flash = flash_direction(face.illumination)
    toward_flash = None
    if flash is not None:
        right, down, near = _rotated(face, *(np.array(component) for component in flash))
        toward_flash = float(right), float(down), float(near)
    visibility = light_visibility(depth, fragments.pixel, toward_flash, face.px_per_mm)
    camera = (-sin_yaw, 0.0, cos_yaw)
    room = room_light(face.seed)
    return shade(albedo, (nx, ny, nz), camera, face.illumination, gloss, room, visibility)


def visible_points(points: Floats, z: Floats, depth: Floats, margin: Floats | float) -> Bools:
    """(K,) whether the points are in the image and no surface is in front of them.

    Args:
        points: (K, 2) image pixels, at depth ``z`` (K,), mm toward the camera.
        depth: see ``RenderedFace``.
        margin: (K,) allowed distance of a surface in front of its point, mm.
    """
    column = np.floor(points[:, 0] + 0.5).astype(np.int64)
    row = np.floor(points[:, 1] + 0.5).astype(np.int64)
    inside = (column >= 0) & (column < IMAGE_WIDTH) & (row >= 0) & (row < IMAGE_HEIGHT)
    surface = np.full(len(z), np.inf)
    # The farthest of the neighbouring pixels, so that rounding hides no point near an edge.
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            r = np.minimum(np.maximum(row + down, 0), IMAGE_HEIGHT - 1)
            c = np.minimum(np.maximum(column + across, 0), IMAGE_WIDTH - 1)
            surface = np.minimum(surface, depth[r, c])
    visible: NDArray[np.bool_] = inside & (z >= surface - margin)
    return visible


def _jaw_faces_camera(face: FaceSpec, points_head: Floats) -> Bools:
    """(K,) False for the jaw points on the far side of the head."""
    jaw = points_head[JAW, :2]
    tangent = np.concatenate([jaw[1:2] - jaw[:1], jaw[2:] - jaw[:-2], jaw[-1:] - jaw[-2:-1]])
    length = np.sqrt(tangent[:, 0] * tangent[:, 0] + tangent[:, 1] * tangent[:, 1])
    outward = (-tangent[:, 1] / length, tangent[:, 0] / length, np.zeros(len(jaw)))
    facing = np.ones(len(points_head), np.bool_)
    facing[JAW] = _rotated(face, *outward)[2] > _EDGE
    return facing


def _between_lids(face: FaceSpec, points_head: Floats) -> Bools:
    """(K,) False for the iris and pupil points that a lid covers by half a millimetre or more."""
    identity, expression = face.identity, face.expression
    points = points_head[IRISES]
    t = curves.eye_parameter(identity, np.abs(points[:, 0]))
    above = curves.upper_lid(identity, expression, t) - points[:, 1]
    below = points[:, 1] - curves.lower_lid(identity, expression, t)
    uncovered = np.ones(104, np.bool_)
    uncovered[IRISES] = np.maximum(above, below) < 0.5
    return uncovered


def _render_occluder(face: FaceSpec, grey: Floats, depth: Floats) -> None:
    """Render the occluder into ``grey`` and ``depth`` (480, 640), in place."""
    occluder = face.occluder
    assert occluder is not None
    reach = 4.2 * occluder.size
    left, right = max(int(occluder.x - reach), 0), min(int(occluder.x + reach) + 1, IMAGE_WIDTH)
    top, bottom = max(int(occluder.y - reach), 0), min(int(occluder.y + reach) + 1, IMAGE_HEIGHT)
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    x = np.arange(left, right, dtype=np.float32)[None, :]
    region = grey[top:bottom, left:right]
    coverage = occluder_coverage(occluder, x, y)
    region += (occluder_grey(occluder, x, y) - region) * coverage
    depth[top:bottom, left:right][coverage >= 0.5] = np.inf
