"""Albedo of each part of the surface, from 0 (black) to 1 (white)."""

from collections.abc import Callable

import numpy as np

from synthface.exact import bump, ellipse, mix, ramp, smooth_step
from synthface.geometry.mesh import EAR, HAIR, NECK, SHIRT, SKIN, hairline
from synthface.geometry.surface import chin_y
from synthface.rendering.feature_albedo import with_features
from synthface.rendering.texture import value_noise
from synthface.spec import FaceSpec, Floats


def skin_albedo(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of the head's skin and hair at head frame points."""
    identity = face.identity
    shift = face.seed & 63
    albedo = identity.skin_albedo * (
        1.0
        + 0.05 * value_noise(x * 0.05 + 10.0, y * 0.05 + z * 0.03 + 10.0, shift)
        + 0.035 * value_noise(x * 0.31 + 40.0, y * 0.31 + z * 0.2 + 60.0, shift)
        + 0.03 * value_noise(x * 1.3 + 70.0, y * 1.3 + z * 0.9 + 20.0, shift)
    )
    if identity.freckles:
        spots = value_noise(x * 0.4 + 15.0, y * 0.4 + 25.0, shift)
        albedo = albedo * (1.0 - identity.freckles * ramp(spots - 0.6, 0.2))
    albedo = _with_stubble(face, albedo, x, y)
    # Only the front of the face has features.
    front = np.nonzero((z > 25.0) & (np.abs(x) < 62.0) & (y > -72.0))[0]
    albedo[front] = with_features(face, albedo[front], x[front], y[front])
    return _with_hair(face, albedo, x, y, z)


def _with_hair(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    identity = face.identity
    if identity.hat is not None:
        return _with_hat(face, albedo, x, y, z)
    shift = face.seed & 63
    fringe = 2.5 * value_noise(x * 0.4 + 100.0, z * 0.4 + 100.0)
    if identity.fringe > 0.0:
        tips = value_noise(x * 0.16 + 30.0, y * 0.02 + 30.0, shift) + 0.5 * value_noise(
            x * 0.8 + 35.0, y * 0.03 + 35.0, shift
        )
        front = smooth_step((z - 30.0) / 30.0)
        fringe = fringe + identity.fringe * front * (0.7 + 0.3 * tips)
    coverage = ramp(hairline(identity, z) - y + fringe, 2.5)
    indices = np.nonzero(coverage > 0.0)[0]
    hx, hy, hz = x[indices], y[indices], z[indices]
    hair = hair_albedo(face, hx, hy, hz)
    albedo[indices] = mix(albedo[indices], hair, coverage[indices])
    return albedo


def hair_albedo(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of strands of hair along the head."""
    shift = face.seed & 63
    strands = value_noise(x * 0.7 + 200.0, y * 0.06 + z * 0.09 + 200.0, shift)
    locks = value_noise(x * 0.17 + 210.0, y * 0.03 + z * 0.05 + 210.0, shift)
    fine = value_noise(x * 1.9 + 220.0, y * 0.1 + z * 0.12 + 220.0, shift)
    depth = 0.36 - 0.3 * face.identity.hair_albedo
    hair: Floats = face.identity.hair_albedo * (1.0 + depth * (strands + 0.7 * locks + 0.5 * fine))
    return hair


def _with_hat(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    """The albedo with a cap to the middle of the forehead, and hair below it."""
    identity = face.identity
    assert identity.hat is not None
    rim = -44.0 + 0.004 * x * x - 0.1 * z
    indices = np.nonzero((hairline(identity, z) > y) & (z < 45.0))[0]
    albedo[indices] = hair_albedo(face, x[indices], y[indices], z[indices])
    weave = value_noise(x * 0.12 + 320.0, y * 0.3 + z * 0.12 + 320.0, face.seed & 63)
    seam = ramp(0.8 - np.abs(rim - y - 9.0), 0.5)
    cloth = identity.hat * (1.0 + 0.12 * weave) * (1.0 - 0.3 * seam)
    below = bump(np.maximum(y - rim, 0.0) / 14.0) * ramp(z - 20.0, 10.0)
    return mix(albedo * (1.0 - 0.3 * below), cloth, ramp(rim - y, 0.7))


def _with_stubble(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    identity = face.identity
    if identity.stubble <= 0.0:
        return albedo
    grain = 0.75 + 0.25 * value_noise(x * 1.4 + 300.0, y * 1.4 + 300.0)
    shift = face.seed & 63
    border = 5.0 * value_noise(x * 0.09 + 240.0, y * 0.09 + 240.0, shift)
    # The beard line goes from the sideburns to below the nose.
    low = smooth_step((y - 52.0 + 0.011 * x * x + border) / 26.0)
    albedo = albedo * (1.0 - identity.stubble * low * grain)
    if identity.beard <= 0.0:
        return albedo
    moustache = 1.2 * bump(ellipse(np.abs(x), y, 12.0, identity.mouth_y - 10.0, 22.0, 8.0))
    chin = smooth_step((y - 58.0 + 0.008 * x * x + border) / 18.0)
    hair = value_noise(x * 1.1 + 230.0, y * 0.25 + 230.0, shift)
    coverage = np.minimum(np.maximum(chin, moustache) * identity.beard * (0.85 + 0.3 * hair), 1.0)
    return mix(albedo, 0.85 * identity.hair_albedo * (1.0 + 0.35 * hair), coverage)


def ear_albedo(face: FaceSpec, u: Floats, v: Floats, n: Floats) -> Floats:
    """(M,) albedo of an ear at its (u, v, n): dark hollow, lighter rim."""
    hollow = bump(ellipse(u, v, -0.25, 0.12, 0.55, 0.5)) * ramp(n, 0.1)
    groove = ramp(0.09 - np.abs(np.sqrt(ellipse(u, v, -0.1, -0.05, 0.72, 0.74)) - 1.0), 0.09)
    shade = 0.45 * hollow + 0.25 * groove * ramp(n, 0.1) * ramp(0.4 - v, 0.2)
    return face.identity.skin_albedo * (1.0 - np.minimum(shade, 0.8))


def neck_albedo(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of the neck, darker in the shadow of the jaw."""
    under_jaw = smooth_step((chin_y(face.identity, face.expression) + 42.0 - y) / 45.0)
    return face.identity.skin_albedo * (1.0 - 0.42 * under_jaw)


def shirt_albedo(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of cloth with soft folds; a suit has a shirt too, and a tie where male."""
    identity, shift = face.identity, face.seed & 63
    folds = value_noise(x * 0.02 + 20.0, y * 0.012 + z * 0.02 + 20.0, shift)
    weave = value_noise(x * 0.9 + 25.0, y * 0.9 + 25.0)
    cloth: Floats = identity.shirt_albedo * (1.0 + 0.2 * folds + 0.05 * weave)
    if not identity.suit:
        return cloth
    abs_x, front = np.abs(x), ramp(z, 8.0)
    collar = ramp(0.42 * (268.0 - y) - abs_x, 1.2) * front
    tie = ramp(np.minimum(4.0 + 0.1 * (y - 150.0), 13.0) - abs_x, 0.8) * ramp(y - 150.0, 2.0)
    lapel = ramp(1.5 - np.abs(0.42 * (268.0 - y) + 16.0 - abs_x), 1.5) * front
    cloth = mix(cloth * (1.0 - 0.35 * lapel), 0.8 - 0.04 * folds, collar)
    return (
        mix(cloth, 0.8 - identity.shirt_albedo, tie * collar) if identity.sex == "male" else cloth
    )


ALBEDOS: dict[int, Callable[[FaceSpec, Floats, Floats, Floats], Floats]] = {
    SKIN: skin_albedo,
    EAR: ear_albedo,
    NECK: neck_albedo,
    SHIRT: shirt_albedo,
    HAIR: hair_albedo,
}
"""Part -> its albedo function: (face, three texture coordinates of M points) to (M,) albedo."""
