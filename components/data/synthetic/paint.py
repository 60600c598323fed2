"""How bright each part of the surface is before light falls on it (albedo, 0 black to 1 white)."""

from collections.abc import Callable

import numpy as np

from components.data.synthetic.exact import bump, ellipse, mix, ramp, smooth_step
from components.data.synthetic.features import paint_features
from components.data.synthetic.head import chin_y
from components.data.synthetic.mesh import EAR, HAIR, NECK, SHIRT, SKIN, hairline
from components.data.synthetic.spec import FaceSpec, Floats
from components.data.synthetic.texture import value_noise


def paint_skin(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of the head's skin and hair at head frame points."""
    who = face.identity
    mottle = value_noise(x * 0.31 + 40.0, y * 0.31 + z * 0.2 + 60.0, face.seed & 63)
    albedo = who.skin_albedo * (1.0 + 0.035 * mottle)
    albedo = _paint_stubble(face, albedo, x, y)
    # Features are drawn on the front of the face only; the rest of the skin stays plain.
    front = np.nonzero((z > 25.0) & (np.abs(x) < 62.0) & (y > -45.0))[0]
    albedo[front] = paint_features(face, albedo[front], x[front], y[front])
    return _paint_hair(face, albedo, x, y, z)


def _paint_hair(face: FaceSpec, albedo: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    who = face.identity
    fringe = 2.5 * value_noise(x * 0.4 + 100.0, z * 0.4 + 100.0)
    cover = ramp(hairline(who, z) - y + fringe, 2.5)
    hairy = np.nonzero(cover > 0.0)[0]
    hx, hy, hz = x[hairy], y[hairy], z[hairy]
    hair = paint_hair(face, hx, hy, hz)
    albedo[hairy] = mix(albedo[hairy], hair, cover[hairy])
    return albedo


def paint_hair(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of strands that run down the head."""
    strands = value_noise(x * 0.7 + 200.0, y * 0.06 + z * 0.09 + 200.0, face.seed & 63)
    return face.identity.hair_albedo * (1.0 + (0.36 - 0.3 * face.identity.hair_albedo) * strands)


def _paint_stubble(face: FaceSpec, albedo: Floats, x: Floats, y: Floats) -> Floats:
    who = face.identity
    if who.stubble <= 0.0:
        return albedo
    grain = 0.75 + 0.25 * value_noise(x * 1.4 + 300.0, y * 1.4 + 300.0)
    low = smooth_step((y - 54.0 + 0.011 * x * x) / 14.0)  # from the sideburns to under the nose
    return albedo * (1.0 - who.stubble * low * grain)


def paint_ear(face: FaceSpec, u: Floats, v: Floats, n: Floats) -> Floats:
    """(M,) albedo of an ear at its own coordinates: dark hollow, lighter rim."""
    hollow = bump(ellipse(u, v, -0.25, 0.12, 0.55, 0.5)) * ramp(n, 0.1)
    groove = ramp(0.09 - np.abs(np.sqrt(ellipse(u, v, -0.1, -0.05, 0.72, 0.74)) - 1.0), 0.09)
    shade = 0.45 * hollow + 0.25 * groove * ramp(n, 0.1) * ramp(0.4 - v, 0.2)
    return face.identity.skin_albedo * (1.0 - np.minimum(shade, 0.8))


def paint_neck(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of the neck, darkened where the jaw keeps the light off."""
    under_jaw = smooth_step((chin_y(face.identity, face.expression) + 42.0 - y) / 45.0)
    return face.identity.skin_albedo * (1.0 - 0.5 * under_jaw)


def paint_shirt(face: FaceSpec, x: Floats, y: Floats, z: Floats) -> Floats:
    """(M,) albedo of cloth with a soft weave."""
    folds = value_noise(x * 0.035 + 20.0, y * 0.05 + 20.0, face.seed & 63)
    return face.identity.shirt_albedo * (1.0 + 0.25 * folds)


PAINTS: dict[int, Callable[[FaceSpec, Floats, Floats, Floats], Floats]] = {
    SKIN: paint_skin,
    EAR: paint_ear,
    NECK: paint_neck,
    SHIRT: paint_shirt,
    HAIR: paint_hair,
}
"""What paints each part: (face, the three paint coordinates of M points) -> (M,) albedo."""
