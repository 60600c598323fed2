"""One face: pose, light, colour and occluder to an image with exact labels."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthface.exact import circle
from synthface.head import curves
from synthface.head.contour import on_outline
from synthface.head.landmarks import EARS, IRISES, JAW, landmarks
from synthface.head.mesh import Mesh, build_mesh
from synthface.rendering.light import lamp, light_window, lit
from synthface.rendering.occluder import occluder_cover, occluder_grey
from synthface.rendering.paint import PAINTS
from synthface.rendering.raster import Fragments, rasterise
from synthface.rendering.scene import backdrop, photograph
from synthface.rendering.shadow import seen_light
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
"""How far behind the nearest surface a point may lie and still be seen; the jaw is on the rim."""
_EDGE = -0.2
"""A jaw point whose outward normal turns this far from the camera (12 degrees) is hidden."""


def render_face(face: FaceSpec) -> RenderedFace:
    """The image of ``face`` and its labels; pure, and the same bytes on every machine."""
    mesh = build_mesh(face.identity, face.expression)
    x, y, z = project(face, *mesh.vertices)
    fragments = rasterise(x, y, z, mesh.triangles)
    grey = backdrop(face.seed)
    nearest = np.full(grey.shape, -np.inf, np.float32)
    nearest.reshape(-1)[fragments.pixel] = fragments.blend(z)
    grey.reshape(-1)[fragments.pixel] = _shade(face, mesh, fragments, nearest)
    points_head = landmarks(face.identity, face.expression, face.gaze_mm)
    turned_here = _jaw_turned_here(face, points_head)
    points_head[JAW], outlined = on_outline(
        face.identity,
        face.expression,
        points_head[JAW],
        ~turned_here[JAW],
        lambda x, y, z: project(replace(face, roll_deg=0.0), x, y, z)[0],
    )
    turned_here[JAW] |= outlined
    px, py, pz = project(face, *points_head.T)
    points = np.stack([px, py], axis=1)
    visible = seen_at(points, pz, nearest, _NEAR) & turned_here & _between_lids(face, points_head)
    if face.occluder is not None:
        _hold_before(face, grey, nearest)
        visible &= occluder_cover(face.occluder, px, py) < 0.5
    left, top = float(px[:68].min()), float(py[:68].min())
    box = (left, top, float(px[:68].max()) - left, float(py[:68].max()) - top)
    hidden = 68 - int(np.count_nonzero(visible[:68]))
    image = photograph(grey, face.seed, face.illumination)
    return RenderedFace(image, points, visible, box, min(9, hidden * 10 // 68), nearest)


def _turned(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Head frame directions in the camera's axes: yaw, then pitch, then roll."""
    sine, cosine = circle(face.yaw_deg)
    x, z = x * cosine + z * sine, z * cosine - x * sine
    sine, cosine = circle(face.pitch_deg)
    y, z = y * cosine + z * sine, z * cosine - y * sine
    sine, cosine = circle(face.roll_deg)
    x, y = x * cosine - y * sine, y * cosine + x * sine
    return x, y, z


def project(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Image x and y (px) and depth z (mm toward the camera) of head frame points."""
    x, y, z = _turned(face, x, y, z)
    scale = face.px_per_mm * face.camera_mm / (face.camera_mm - z)
    return face.centre_px[0] + x * scale, face.centre_px[1] + y * scale, z


def _shade(face: FaceSpec, mesh: Mesh, fragments: Fragments, nearest: Floats) -> Floats:
    """(M,) displayed grey of the fragments."""
    part = mesh.part[fragments.corners[0]]
    a, b, c = (fragments.blend(mesh.paint[axis]) for axis in range(3))
    albedo = np.empty(len(part), np.float32)
    for kind, painted in PAINTS.items():
        here = np.nonzero(part == kind)[0]
        albedo[here] = painted(face, a[here], b[here], c[here])
    nx, ny, nz = (fragments.blend(mesh.normals[axis]) for axis in range(3))
    gloss = GLOSS[part]
    sin_yaw, cos_yaw = circle(face.yaw_deg)
    flash = lamp(face.illumination)
    toward = None
    if flash is not None:
        right, down, near = _turned(face, *(np.array(along) for along in flash))
        toward = float(right), float(down), float(near)
    reached = seen_light(nearest, fragments.pixel, toward, face.px_per_mm)
    camera = (-sin_yaw, 0.0, cos_yaw)
    place = light_window(face.seed)
    return lit(albedo, (nx, ny, nz), camera, face.illumination, gloss, place, reached)


def seen_at(points: Floats, z: Floats, nearest: Floats, margin: Floats | float) -> Bools:
    """(K,) whether the points are in the image with no surface before them.

    Args:
        points: (K, 2) image pixels, at depth ``z`` (K,), mm toward the camera.
        nearest: see ``RenderedFace``.
        margin: (K,) mm that a surface may lie before its point.
    """
    column = np.floor(points[:, 0] + 0.5).astype(np.int64)
    row = np.floor(points[:, 1] + 0.5).astype(np.int64)
    inside = (column >= 0) & (column < IMAGE_WIDTH) & (row >= 0) & (row < IMAGE_HEIGHT)
    surface = np.full(len(z), np.inf)
    # The least of the pixels around, so that a point beside an edge is not hidden by rounding.
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            r = np.minimum(np.maximum(row + down, 0), IMAGE_HEIGHT - 1)
            c = np.minimum(np.maximum(column + across, 0), IMAGE_WIDTH - 1)
            surface = np.minimum(surface, nearest[r, c])
    seen: NDArray[np.bool_] = inside & (z >= surface - margin)
    return seen


def _jaw_turned_here(face: FaceSpec, points_head: Floats) -> Bools:
    """(K,) False for the jaw points that lie on the far side."""
    jaw = points_head[JAW, :2]
    tangent = np.concatenate([jaw[1:2] - jaw[:1], jaw[2:] - jaw[:-2], jaw[-1:] - jaw[-2:-1]])
    length = np.sqrt(tangent[:, 0] * tangent[:, 0] + tangent[:, 1] * tangent[:, 1])
    outward = (-tangent[:, 1] / length, tangent[:, 0] / length, np.zeros(len(jaw)))
    here = np.ones(len(points_head), np.bool_)
    here[JAW] = _turned(face, *outward)[2] > _EDGE
    return here


def _between_lids(face: FaceSpec, points_head: Floats) -> Bools:
    """(K,) False for the iris and pupil points that a lid covers by half a millimetre or more."""
    who, how = face.identity, face.expression
    points = points_head[IRISES]
    t = curves.eye_parameter(who, np.abs(points[:, 0]))
    above = curves.upper_lid(who, how, t) - points[:, 1]
    below = points[:, 1] - curves.lower_lid(who, how, t)
    here = np.ones(104, np.bool_)
    here[IRISES] = np.maximum(above, below) < 0.5
    return here


def _hold_before(face: FaceSpec, grey: Floats, nearest: Floats) -> None:
    """Draw the occluder over ``grey`` (480, 640), before all that is ``nearest``, in place."""
    thing = face.occluder
    assert thing is not None
    reach = 4.2 * thing.size
    left, right = max(int(thing.x - reach), 0), min(int(thing.x + reach) + 1, IMAGE_WIDTH)
    top, bottom = max(int(thing.y - reach), 0), min(int(thing.y + reach) + 1, IMAGE_HEIGHT)
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    x = np.arange(left, right, dtype=np.float32)[None, :]
    region = grey[top:bottom, left:right]
    cover = occluder_cover(thing, x, y)
    region += (occluder_grey(thing, x, y) - region) * cover
    nearest[top:bottom, left:right][cover >= 0.5] = np.inf
