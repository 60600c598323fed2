"""The curves of brows, lids and lips as functions of x on the frontal head, in mm.

Labels and albedo are computed from the same curves, so a label is exactly on its curve. All curves
are symmetric: ``x`` is the distance |x| from the midline.
"""

import numpy as np

from synthface.exact import bump
from synthface.spec import Expression, Floats, Identity

INNER_CORNER = 0.9
"""Position where the inner lip edges meet, as a share of the mouth's half width."""
NEUTRAL = Expression()


def eye_parameter(identity: Identity, x: Floats) -> Floats:
    """-1 at the inner eye corner, +1 at the outer eye corner."""
    return (x - identity.eye_x) / identity.eye_half_width


def eye_axis(identity: Identity, t: Floats) -> Floats:
    """y of the straight line through both corners of an eye."""
    return -identity.eye_tilt * t


def upper_lid(identity: Identity, expression: Expression, t: Floats) -> Floats:
    """y of the edge of the upper lid; its highest point is slightly toward the nose."""
    inside = np.maximum(1.0 - t * t, 0.0)
    return eye_axis(identity, t) - 0.62 * identity.eye_height * expression.eye_open * inside * (
        1.0 - 0.2 * t
    )


def lower_lid(identity: Identity, expression: Expression, t: Floats) -> Floats:
    """y of the edge of the lower lid; its lowest point is slightly toward the temple."""
    inside = np.maximum(1.0 - t * t, 0.0)
    return eye_axis(identity, t) + 0.38 * identity.eye_height * expression.eye_open * inside * (
        1.0 + 0.25 * t
    )


def lid_crease(identity: Identity, expression: Expression, t: Floats) -> Floats:
    """y of the fold above the upper lid."""
    inside = np.maximum(1.0 - t * t, 0.0)
    return upper_lid(identity, expression, t) - 1.6 - 2.0 * inside


def iris_y(identity: Identity) -> float:
    """y of the iris for a straight gaze: halfway between the neutral lids."""
    return -0.12 * identity.eye_height


def brow_parameter(identity: Identity, x: Floats) -> Floats:
    """-1 at the inner end of a brow, +1 at the outer end."""
    return (x - identity.eye_x - 2.0) / identity.brow_half_width


def brow_line(identity: Identity, expression: Expression, t: Floats) -> Floats:
    """y of the middle line of a brow."""
    frown = expression.brow_frown * 0.5 * (1.0 - t)
    arch = identity.brow_arch * (1.0 - (t - 0.2) * (t - 0.2))
    return identity.brow_y - expression.brow_raise + frown - arch + 3.0


def brow_half_thickness(identity: Identity, t: Floats) -> Floats:
    """Half the height of a brow, thinner toward the temple."""
    end: Floats = np.minimum(4.0 * np.maximum(1.06 - t, 0.0), 1.0)
    return identity.brow_thickness * (0.75 - 0.35 * t) * end


def mouth_half_width(identity: Identity, expression: Expression) -> float:
    """Distance from the midline to the outer lip corner, mm."""
    return identity.mouth_half_width + expression.mouth_widen


def lip_curves(
    identity: Identity, expression: Expression, t: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """y of the lips' edges from above: outer upper, inner upper, inner lower, outer lower.

    ``t`` is 0 at the midline and 1 at the outer corner; the inner edges meet at ``INNER_CORNER``.
    """
    square = np.minimum(t * t, 1.0)
    seam = identity.mouth_y - expression.corner_raise * square
    inner = np.maximum(1.0 - square / (INNER_CORNER * INNER_CORNER), 0.0)
    gap = expression.mouth_open * inner * (1.0 + 0.6 * square)
    inner_upper = seam - 0.12 * gap - expression.lip_raise * inner * 0.7
    inner_lower = seam + 0.88 * gap - expression.lip_raise * inner * 0.4
    outer = 1.0 - square
    bow = 0.24 * bump(square / 0.09)
    stretch = 1.0 - 0.012 * (expression.mouth_open * 0.5 + expression.corner_raise)
    above = stretch * identity.upper_lip * (outer * (1.0 + 0.5 * square) - bow)
    below = stretch * identity.lower_lip * outer * (1.0 + 0.6 * square)
    return inner_upper - above, inner_upper, inner_lower, inner_lower + below
