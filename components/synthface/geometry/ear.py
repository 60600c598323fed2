"""The ear: a flat shell at the side of the head, with surface coordinates (u, v, n).

u increases backward from the face (-1 to 1), v down from the top (-1) to the lobe (1), n along the
normal of the shell.
"""

import numpy as np

from synthface.exact import circle
from synthface.geometry.surface import cut_plane
from synthface.spec import Expression, Floats, Identity

CENTRE_Y = 14.0
HALF_DEPTH_MM = 15.0
HALF_THICKNESS_MM = 4.5
_NEUTRAL = Expression()


def ear_surface(identity: Identity, side: float, u: Floats, v: Floats, n: Floats) -> Floats:
    """(3, ...) head frame points of the ear's (u, v, n); ``side`` -1 is the left ear."""
    sine, cosine = circle(15.0 + 30.0 * identity.ear_flare)
    head_x = float(cut_plane(identity, _NEUTRAL, np.array([CENTRE_Y]))[0][0]) + 1.0
    depth = HALF_DEPTH_MM * (1.0 - 0.22 * v) * u - 2.0 * v
    outward = depth + HALF_DEPTH_MM * 0.8
    x = head_x + outward * sine + n * HALF_THICKNESS_MM * cosine
    z = -2.0 - outward * cosine + n * HALF_THICKNESS_MM * sine
    # The top of the ear is slightly behind its lobe.
    return np.stack([side * x, CENTRE_Y + identity.ear_half_height * v, z + 4.0 * v])
