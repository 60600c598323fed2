"""The skin as a surface: its depth z at any (x, y) of the head frame, in mm.

A horizontal cut of the head is two half ellipses with the common half width a(y): the front one
extends by f(y) in front of the plane z = c(y), the back one by r(y) behind it. Nose, sockets, brow
ridge, cheeks, chin and lips are a relief on that shell. The jaw line is the curve (a(y), y, c(y)):
the contour of a frontal head, from the ear to the chin.
"""

import numpy as np

from synthface.exact import bump, ellipse, smooth_step
from synthface.geometry.curves import lip_curves, mouth_half_width
from synthface.spec import Expression, Floats, Identity

WIDEST_Y = -25.0
"""y of the widest cut of the head."""
VERTEX_Y = -120.0
"""y of the top of the head."""


def chin_y(identity: Identity, expression: Expression) -> float:
    """y of the lowest point of the chin."""
    return identity.chin_y + expression.jaw_drop


def cut_plane(
    identity: Identity, expression: Expression, y: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """(a, c, f, r) of the horizontal cuts at ``y``; each has the shape of ``y``."""
    chin = chin_y(identity, expression)
    above = np.minimum(np.maximum((WIDEST_Y - y) / (WIDEST_Y - VERTEX_Y), 0.0), 1.0)
    below = np.minimum(np.maximum((y - WIDEST_Y) / (chin - WIDEST_Y), 0.0), 1.0)
    dome = np.sqrt(1.0 - above * above * above)
    square = below * below
    round_jaw = np.sqrt(1.0 - square)
    square_jaw = np.sqrt(np.sqrt(1.0 - square * square))
    width = identity.jaw_squareness * square_jaw + (1.0 - identity.jaw_squareness) * round_jaw
    centre = 58.0 * smooth_step((y - 18.0) / (chin - 18.0))
    front = (90.0 - 0.75 * centre) * np.sqrt(np.sqrt(1.0 - square * square * square))
    back = (95.0 - 0.9 * centre) * round_jaw
    width = width * (1.0 + 0.09 * identity.fullness * smooth_step((y - 5.0) / 55.0))
    return identity.face_half_width * dome * width, centre, dome * front, dome * back


def front_depth(identity: Identity, expression: Expression, x: Floats, y: Floats) -> Floats:
    """z of the front half of the skin at (x, y); beyond the contour, z of the contour."""
    a, c, f, _ = cut_plane(identity, expression, y)
    across = np.minimum(np.abs(x) / np.maximum(a, 1e-6), 1.0)
    shell = np.sqrt(1.0 - across * across)
    # The relief decreases to 0 at the contour, so that the jaw line is the contour.
    fade = np.minimum(2.0 * shell, 1.0)
    depth: Floats = c + f * shell + relief(identity, expression, np.abs(x), y) * fade
    return depth


def relief(identity: Identity, expression: Expression, x: Floats, y: Floats) -> Floats:
    """Height of the relief above (+) or below (-) the shell at ``x`` = |x|, mm."""
    eye_x, cheek_y = identity.eye_x, 32.0 - 4.0 * expression.cheek_raise
    total: Floats = (
        _nose(identity, expression, x, y)
        + _lips(identity, expression, x, y)
        - 11.0 * bump(ellipse(x, y, eye_x - 3.0, -2.0, 27.0, 18.0))
        + 6.0 * bump(ellipse(x, y, eye_x, 0.0, identity.eye_half_width + 2.0, 10.0))
        + 5.0 * bump(ellipse(x, y, eye_x - 4.0, identity.brow_y - 2.0, 38.0, 12.0))
        + (5.0 + 4.0 * expression.cheek_raise) * bump(ellipse(x, y, 40.0, cheek_y, 26.0, 22.0))
        + 6.0 * bump(ellipse(x, y, 0.0, chin_y(identity, expression) - 15.0, 21.0, 14.0))
        + 5.0 * identity.fullness * bump(ellipse(x, y, 41.0, 58.0, 30.0, 34.0))
    )
    return total


def nose_tip_y(identity: Identity, expression: Expression) -> float:
    """y of the tip of the nose."""
    return identity.nose_tip_y - expression.nose_wrinkle


def _nose(identity: Identity, expression: Expression, x: Floats, y: Floats) -> Floats:
    tip = nose_tip_y(identity, expression)
    along = np.minimum(np.maximum((y + 12.0) / (tip + 12.0), 0.0), 1.0)
    height = identity.nose_height * along * (0.55 + 0.45 * along)
    height = height * (1.0 - smooth_step((y - tip + 2.5) / 13.5))
    across = x / (identity.nose_half_width * (0.62 + 0.43 * along * along))
    wing_x = 0.72 * identity.nose_half_width
    wing = bump(ellipse(x, y, wing_x, tip + 3.5, 0.5 * identity.nose_half_width, 7.5))
    ball = bump(ellipse(x, y, 0.0, tip + 1.0, 0.62 * identity.nose_half_width, 9.0))
    nose: Floats = height * bump(across * across) + 7.5 * wing + 2.5 * ball
    return nose


def _lips(identity: Identity, expression: Expression, x: Floats, y: Floats) -> Floats:
    t = x / mouth_half_width(identity, expression)
    outer_upper, inner_upper, inner_lower, outer_lower = lip_curves(identity, expression, t)
    from_upper = (2.0 * y - inner_upper - outer_upper) / (1.5 * (inner_upper - outer_upper) + 2.0)
    from_lower = (2.0 * y - inner_lower - outer_lower) / (1.5 * (outer_lower - inner_lower) + 2.0)
    fullness = 3.0 * bump(from_upper * from_upper) + 3.5 * bump(from_lower * from_lower)
    return fullness * bump(t * t / 1.3)
