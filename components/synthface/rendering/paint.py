"""How bright each part of the surface is before light falls on it (albedo, 0 black to 1 white)."""

from collections.abc import Callable

import numpy as np

from synthface.exact import bump, ellipse, mix, ramp, smooth_step
from synthface.head.mesh import EAR, HAIR, NECK, SHIRT, SKIN, hairline
from synthface.head.surface import chin_y
from synthface.rendering.features import paint_features
from synthface.rendering.texture import value_noise
from synthface.spec import FaceSpec, Floats


def paint_skin(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of the head's skin and hair at head frame points."""
    who = face.identity
    shift = face.seed & 63
    albedo = who.skin_albedo * (
        1.0
        + 0.05 * value_noise(x * 0.05 + 10.0, y * 0.05 + z * 0.03 + 10.0, shift)
        + 0.035 * value_noise(x * 0.31 + 40.0, y * 0.31 + z * 0.2 + 60.0, shift)
        + 0.03 * value_noise(x * 1.3 + 70.0, y * 1.3 + z * 0.9 + 20.0, shift)
    )
    if who.freckles:
        spots = value_noise(x * 0.4 + 15.0, y * 0.4 + 25.0, shift)
        albedo = albedo * (1.0 - who.freckles * ramp(spots - 0.6, 0.2))
    albedo = _paint_stubble(face, albedo, x, y)
    # Features are drawn on the front of the face only; the rest of the skin stays plain.
    front = np.nonzero((z > 25.0) & (np.abs(x) < 62.0) & (y > -72.0))[0]
    albedo[front] = paint_features(face, albedo[front], x[front], y[front])
    return _paint_hair(face, albedo, x, y, z)


def _paint_hair(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    who = face.identity
    if who.hat is not None:
        return _paint_hat(face, albedo, x, y, z)
    shift = face.seed & 63
    fringe = 2.5 * value_noise(x * 0.4 + 100.0, z * 0.4 + 100.0)
    if who.fringe > 0.0:
        tips = value_noise(x * 0.16 + 30.0, y * 0.02 + 30.0, shift) + 0.5 * value_noise(
            x * 0.8 + 35.0, y * 0.03 + 35.0, shift
        )
        front = smooth_step((z - 30.0) / 30.0)
        fringe = fringe + who.fringe * front * (0.7 + 0.3 * tips)
    cover = ramp(hairline(who, z) - y + fringe, 2.5)
    hairy = np.nonzero(cover > 0.0)[0]
    hx, hy, hz = x[hairy], y[hairy], z[hairy]
    hair = paint_hair(face, hx, hy, hz)
    albedo[hairy] = mix(albedo[hairy], hair, cover[hairy])
    return albedo


def paint_hair(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of strands that run down the head."""
    shift = face.seed & 63
    strands = value_noise(x * 0.7 + 200.0, y * 0.06 + z * 0.09 + 200.0, shift)
    locks = value_noise(x * 0.17 + 210.0, y * 0.03 + z * 0.05 + 210.0, shift)
    fine = value_noise(x * 1.9 + 220.0, y * 0.1 + z * 0.12 + 220.0, shift)
    depth = 0.36 - 0.3 * face.identity.hair_albedo
    hair: Floats = face.identity.hair_albedo * (1.0 + depth * (strands + 0.7 * locks + 0.5 * fine))
    return hair


def _paint_hat(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    """A cap down to the middle of the forehead, hair below it beside the ears and behind."""
    who = face.identity
    assert who.hat is not None
    rim = -44.0 + 0.004 * x * x - 0.1 * z
    hairy = np.nonzero((hairline(who, z) > y) & (z < 45.0))[0]
    albedo[hairy] = paint_hair(face, x[hairy], y[hairy], z[hairy])
    weave = value_noise(x * 0.12 + 320.0, y * 0.3 + z * 0.12 + 320.0, face.seed & 63)
    seam = ramp(0.8 - np.abs(rim - y - 9.0), 0.5)
    cloth = who.hat * (1.0 + 0.12 * weave) * (1.0 - 0.3 * seam)
    below = bump(np.maximum(y - rim, 0.0) / 14.0) * ramp(z - 20.0, 10.0)
    return mix(albedo * (1.0 - 0.3 * below), cloth, ramp(rim - y, 0.7))


def _paint_stubble(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    who = face.identity
    if who.stubble <= 0.0:
        return albedo
    grain = 0.75 + 0.25 * value_noise(x * 1.4 + 300.0, y * 1.4 + 300.0)
    shift = face.seed & 63
    border = 5.0 * value_noise(x * 0.09 + 240.0, y * 0.09 + 240.0, shift)
    # From the sideburns to under the nose.
    low = smooth_step((y - 52.0 + 0.011 * x * x + border) / 26.0)
    albedo = albedo * (1.0 - who.stubble * low * grain)
    if who.beard <= 0.0:
        return albedo
    moustache = 1.2 * bump(ellipse(np.abs(x), y, 12.0, who.mouth_y - 10.0, 22.0, 8.0))
    chin = smooth_step((y - 58.0 + 0.008 * x * x + border) / 18.0)
    hair = value_noise(x * 1.1 + 230.0, y * 0.25 + 230.0, shift)
    cover = np.minimum(np.maximum(chin, moustache) * who.beard * (0.85 + 0.3 * hair), 1.0)
    return mix(albedo, 0.85 * who.hair_albedo * (1.0 + 0.35 * hair), cover)


def paint_ear(face: FaceSpec, u: Floats, v: Floats, n: Floats) -> Floats:
    """(M,) albedo of an ear at its own coordinates: dark hollow, lighter rim."""
    hollow = bump(ellipse(u, v, -0.25, 0.12, 0.55, 0.5)) * ramp(n, 0.1)
    groove = ramp(0.09 - np.abs(np.sqrt(ellipse(u, v, -0.1, -0.05, 0.72, 0.74)) - 1.0), 0.09)
    shade = 0.45 * hollow + 0.25 * groove * ramp(n, 0.1) * ramp(0.4 - v, 0.2)
    return face.identity.skin_albedo * (1.0 - np.minimum(shade, 0.8))


def paint_neck(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of the neck, darkened where the jaw keeps the light off."""
    under_jaw = smooth_step((chin_y(face.identity, face.expression) + 42.0 - y) / 45.0)
    return face.identity.skin_albedo * (1.0 - 0.42 * under_jaw)


def paint_shirt(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of cloth in soft folds; of a suit also the shirt, and a man's tie."""
    who, shift = face.identity, face.seed & 63
    folds = value_noise(x * 0.02 + 20.0, y * 0.012 + z * 0.02 + 20.0, shift)
    weave = value_noise(x * 0.9 + 25.0, y * 0.9 + 25.0)
    cloth: Floats = who.shirt_albedo * (1.0 + 0.2 * folds + 0.05 * weave)
    if not who.suit:
        return cloth
    aside, front = np.abs(x), ramp(z, 8.0)
    collar = ramp(0.42 * (268.0 - y) - aside, 1.2) * front
    tie = ramp(np.minimum(4.0 + 0.1 * (y - 150.0), 13.0) - aside, 0.8) * ramp(y - 150.0, 2.0)
    lapel = ramp(1.5 - np.abs(0.42 * (268.0 - y) + 16.0 - aside), 1.5) * front
    cloth = mix(cloth * (1.0 - 0.35 * lapel), 0.8 - 0.04 * folds, collar)
    return mix(cloth, 0.8 - who.shirt_albedo, tie * collar) if who.sex == "male" else cloth


PAINTS: dict[int, Callable[[FaceSpec, Floats, Floats, Floats], Floats]] = {
    SKIN: paint_skin,
    EAR: paint_ear,
    NECK: paint_neck,
    SHIRT: paint_shirt,
    HAIR: paint_hair,
}
"""What paints each part: (face, the three paint coordinates of M points) -> (M,) albedo."""
