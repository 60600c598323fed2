"""The skin as a surface: its depth z at any (x, y) of the head frame, in mm.

A horizontal cut of the head is two half ellipses that share the half width a(y): the front one
reaches f(y) before, the back one r(y) behind, the plane z = c(y). Nose, sockets, brow ridge,
cheeks, chin and lips stand out from that shell. The jaw line is the curve (a(y), y, c(y)): the
outline of a frontal head, from the ear to the chin.
"""

import numpy as np

from synthface.exact import bump, ellipse, smooth_step
from synthface.head.curves import lip_curves, mouth_half_width
from synthface.spec import Expression, Floats, Identity

WIDEST_Y = -25.0
"""Where the head is widest."""
VERTEX_Y = -120.0
"""Top of the head."""


def chin_y(who: Identity, how: Expression) -> float:
    """Height of the chin's lowest point."""
    return who.chin_y + how.jaw_drop


def cut_plane(who: Identity, how: Expression, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """(a, c, f, r) of the horizontal cuts at ``y``, each of its shape."""
    chin = chin_y(who, how)
    above = np.minimum(np.maximum((WIDEST_Y - y) / (WIDEST_Y - VERTEX_Y), 0.0), 1.0)
    below = np.minimum(np.maximum((y - WIDEST_Y) / (chin - WIDEST_Y), 0.0), 1.0)
    dome = np.sqrt(1.0 - above * above * above)
    square = below * below
    round_jaw = np.sqrt(1.0 - square)
    square_jaw = np.sqrt(np.sqrt(1.0 - square * square))
    width = who.jaw_squareness * square_jaw + (1.0 - who.jaw_squareness) * round_jaw
    centre = 58.0 * smooth_step((y - 18.0) / (chin - 18.0))
    front = (90.0 - 0.75 * centre) * np.sqrt(np.sqrt(1.0 - square * square * square))
    back = (95.0 - 0.9 * centre) * round_jaw
    width = width * (1.0 + 0.09 * who.fullness * smooth_step((y - 5.0) / 55.0))
    return who.face_half_width * dome * width, centre, dome * front, dome * back


def front_depth(who: Identity, how: Expression, x: Floats, y: Floats) -> Floats:
    """z of the front half of the skin at (x, y); beyond the outline, the outline's z."""
    a, c, f, _ = cut_plane(who, how, y)
    across = np.minimum(np.abs(x) / np.maximum(a, 1e-6), 1.0)
    shell = np.sqrt(1.0 - across * across)
    # The relief fades out toward the outline, so that the jaw line stays the outline.
    fade = np.minimum(2.0 * shell, 1.0)
    depth: Floats = c + f * shell + relief(who, how, np.abs(x), y) * fade
    return depth


def relief(who: Identity, how: Expression, x: Floats, y: Floats) -> Floats:
    """What stands out from (+) or sinks into (-) the shell at ``x`` = |x|."""
    eye_x, cheek_y = who.eye_x, 32.0 - 4.0 * how.cheek_raise
    total: Floats = (
        _nose(who, how, x, y)
        + _lips(who, how, x, y)
        - 11.0 * bump(ellipse(x, y, eye_x - 3.0, -2.0, 27.0, 18.0))
        + 6.0 * bump(ellipse(x, y, eye_x, 0.0, who.eye_half_width + 2.0, 10.0))
        + 5.0 * bump(ellipse(x, y, eye_x - 4.0, who.brow_y - 2.0, 38.0, 12.0))
        + (5.0 + 4.0 * how.cheek_raise) * bump(ellipse(x, y, 40.0, cheek_y, 26.0, 22.0))
        + 6.0 * bump(ellipse(x, y, 0.0, chin_y(who, how) - 15.0, 21.0, 14.0))
        + 5.0 * who.fullness * bump(ellipse(x, y, 41.0, 58.0, 30.0, 34.0))
    )
    return total


def nose_tip_y(who: Identity, how: Expression) -> float:
    """Height of the nose's tip."""
    return who.nose_tip_y - how.nose_wrinkle


def _nose(who: Identity, how: Expression, x: Floats, y: Floats) -> Floats:
    tip = nose_tip_y(who, how)
    along = np.minimum(np.maximum((y + 12.0) / (tip + 12.0), 0.0), 1.0)
    height = who.nose_height * along * (0.55 + 0.45 * along)
    height = height * (1.0 - smooth_step((y - tip + 2.5) / 13.5))
    aside = x / (who.nose_half_width * (0.62 + 0.43 * along * along))
    wing_x = 0.72 * who.nose_half_width
    wing = bump(ellipse(x, y, wing_x, tip + 3.5, 0.5 * who.nose_half_width, 7.5))
    ball = bump(ellipse(x, y, 0.0, tip + 1.0, 0.62 * who.nose_half_width, 9.0))
    nose: Floats = height * bump(aside * aside) + 7.5 * wing + 2.5 * ball
    return nose


def _lips(who: Identity, how: Expression, x: Floats, y: Floats) -> Floats:
    t = x / mouth_half_width(who, how)
    outer_upper, inner_upper, inner_lower, outer_lower = lip_curves(who, how, t)
    from_upper = (2.0 * y - inner_upper - outer_upper) / (1.5 * (inner_upper - outer_upper) + 2.0)
    from_lower = (2.0 * y - inner_lower - outer_lower) / (1.5 * (outer_lower - inner_lower) + 2.0)
    fullness = 3.0 * bump(from_upper * from_upper) + 3.5 * bump(from_lower * from_lower)
    return fullness * bump(t * t / 1.3)
