"""Jaw points by the labelling convention: where the jaw is hidden, they are on the visible outline.

Source: the convention of iBUG's 68 points (300-W), whose contour follows the face's visible edge.
"""

from collections.abc import Callable

import numpy as np

from synthface.head.surface import cut_plane, front_depth
from synthface.spec import Bools, Expression, Floats, Identity

_INNERMOST = 0.35
"""Of the half width: further in, the outline of the face is the nose."""
_STEPS = 48
_NARROWEST_MM = 15.0
"""Half width below which a cut is the chin's, whose points stay."""

Across = Callable[[Floats, Floats, Floats], Floats]
"""Head frame points to how far right they are in the image, before roll."""


def on_outline(
    identity: Identity, expression: Expression, jaw: Floats, hidden: Bools, across: Across
) -> tuple[Floats, Bools]:
    """Move the hidden points of the jaw to the outline at their height.

    Args:
        jaw: (17, 3) head frame, mm.
        hidden: (17,) whether they are turned away.

    Returns:
        (17, 3) the points, and (17,) whether there is such an outline.
    """
    moved, found = jaw.copy(), np.zeros(len(jaw), np.bool_)
    share = _INNERMOST + (1.0 - _INNERMOST) * np.arange(_STEPS + 1) / _STEPS
    half = cut_plane(identity, expression, jaw[:, 1])[0]
    turned = np.nonzero(hidden & (half > _NARROWEST_MM))[0]
    side = np.where(jaw[turned, 0] > 0.0, 1.0, -1.0)[:, None]
    x = side * half[turned, None] * share
    y = np.repeat(jaw[turned, 1:2], len(share), axis=1)
    z = front_depth(identity, expression, x, y)
    out = side * across(x, y, z)
    best = np.argmax(out, axis=1)
    for row, (k, column) in enumerate(zip(turned, best, strict=True)):
        if column > 0:
            moved[k] = x[row, column], y[row, column], z[row, column]
            found[k] = True
    return moved, found
