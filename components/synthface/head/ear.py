"""The ear: a flat shell beside the head with coordinates of its own.

u runs backward from the face (-1 to 1), v down from the top (-1) to the lobe (1), n out of the
shell.
"""

import numpy as np

from synthface.exact import circle
from synthface.head.surface import cut_plane
from synthface.spec import Expression, Floats, Identity

CENTRE_Y = 14.0
HALF_DEPTH_MM = 15.0
HALF_THICKNESS_MM = 4.5
_NEUTRAL = Expression()


def ear_surface(identity: Identity, side: float, u: Floats, v: Floats, n: Floats) -> Floats:
    """(3, ...) head frame points of the ear's own (u, v, n); ``side`` -1 is the left ear."""
    out, back = circle(15.0 + 30.0 * identity.ear_flare)
    beside = float(cut_plane(identity, _NEUTRAL, np.array([CENTRE_Y]))[0][0]) + 1.0
    depth = HALF_DEPTH_MM * (1.0 - 0.22 * v) * u - 2.0 * v
    outward = depth + HALF_DEPTH_MM * 0.8
    x = beside + outward * out + n * HALF_THICKNESS_MM * back
    z = -2.0 - outward * back + n * HALF_THICKNESS_MM * out
    # The ear leans: its top lies a little behind its lobe.
    return np.stack([side * x, CENTRE_Y + identity.ear_half_height * v, z + 4.0 * v])
