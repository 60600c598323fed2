"""The drawn lines of a face: brows, lids and lips as functions of x on the frontal head, in mm.

Labels and colours both read these curves, so a label lies on its line by construction. All are
symmetric: ``x`` is the distance |x| from the midline.
"""

import numpy as np

from synthface.exact import bump
from synthface.spec import Expression, Floats, Identity

INNER_CORNER = 0.9
"""Where the inner lips meet, as a share of the mouth's half width."""
NEUTRAL = Expression()


def eye_parameter(who: Identity, x: Floats) -> Floats:
    """-1 at the inner eye corner, +1 at the outer one."""
    return (x - who.eye_x) / who.eye_half_width


def eye_axis(who: Identity, t: Floats) -> Floats:
    """y of the straight line through both corners of an eye."""
    return -who.eye_tilt * t


def upper_lid(who: Identity, how: Expression, t: Floats) -> Floats:
    """y of the edge of the upper lid; highest a little toward the nose."""
    inside = np.maximum(1.0 - t * t, 0.0)
    return eye_axis(who, t) - 0.62 * who.eye_height * how.eye_open * inside * (1.0 - 0.2 * t)


def lower_lid(who: Identity, how: Expression, t: Floats) -> Floats:
    """y of the edge of the lower lid; lowest a little toward the temple."""
    inside = np.maximum(1.0 - t * t, 0.0)
    return eye_axis(who, t) + 0.38 * who.eye_height * how.eye_open * inside * (1.0 + 0.25 * t)


def lid_crease(who: Identity, how: Expression, t: Floats) -> Floats:
    """y of the fold above the upper lid."""
    inside = np.maximum(1.0 - t * t, 0.0)
    return upper_lid(who, how, t) - 1.6 - 2.0 * inside


def iris_y(who: Identity) -> float:
    """Height of a straight-looking iris: midway between the neutral lids."""
    return -0.12 * who.eye_height


def brow_parameter(who: Identity, x: Floats) -> Floats:
    """-1 at the inner end of a brow, +1 at the outer one."""
    return (x - who.eye_x - 2.0) / who.brow_half_width


def brow_line(who: Identity, how: Expression, t: Floats) -> Floats:
    """y of the middle line of a brow."""
    frown = how.brow_frown * 0.5 * (1.0 - t)
    arch = who.brow_arch * (1.0 - (t - 0.2) * (t - 0.2))
    return who.brow_y - how.brow_raise + frown - arch + 3.0


def brow_half_thickness(who: Identity, t: Floats) -> Floats:
    """Half the height of a brow, thinner toward the temple."""
    end: Floats = np.minimum(4.0 * np.maximum(1.06 - t, 0.0), 1.0)
    return who.brow_thickness * (0.75 - 0.35 * t) * end


def mouth_half_width(who: Identity, how: Expression) -> float:
    """From the midline to the outer lip corner, mm."""
    return who.mouth_half_width + how.mouth_widen


def lip_curves(who: Identity, how: Expression, t: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """y of the lips' edges from above: outer upper, inner upper, inner lower, outer lower.

    ``t`` is 0 at the midline and 1 at the outer corner; the inner edges meet at ``INNER_CORNER``.
    """
    square = np.minimum(t * t, 1.0)
    seam = who.mouth_y - how.corner_raise * square
    inner = np.maximum(1.0 - square / (INNER_CORNER * INNER_CORNER), 0.0)
    gap = how.mouth_open * inner * (1.0 + 0.6 * square)
    inner_upper = seam - 0.12 * gap - how.lip_raise * inner * 0.7
    inner_lower = seam + 0.88 * gap - how.lip_raise * inner * 0.4
    outer = 1.0 - square
    bow = 0.24 * bump(square / 0.09)
    stretch = 1.0 - 0.012 * (how.mouth_open * 0.5 + how.corner_raise)
    above = stretch * who.upper_lip * (outer * (1.0 + 0.5 * square) - bow)
    below = stretch * who.lower_lip * outer * (1.0 + 0.6 * square)
    return inner_upper - above, inner_upper, inner_lower, inner_lower + below
