"""Jaw points by the labelling convention: where the jaw is hidden, they are on the visible contour.

Source: the convention of iBUG's 68 points (300-W), whose contour follows the visible edge of the
face.
"""

from collections.abc import Callable

import numpy as np

from synthface.geometry.surface import cut_plane, front_depth
from synthface.spec import Bools, Expression, Floats, Identity

_INNERMOST = 0.35
"""Share of the half width; closer to the midline the contour of the face is the nose."""
_STEPS = 48
_NARROWEST_MM = 15.0
"""A cut with a smaller half width belongs to the chin, whose points are not moved."""

ImageX = Callable[[Floats, Floats, Floats], Floats]
"""Head frame points to their image x before roll."""


def moved_to_contour(
    identity: Identity, expression: Expression, jaw: Floats, hidden: Bools, image_x: ImageX
) -> tuple[Floats, Bools]:
    """The jaw points, with hidden points moved to the contour at their height.

    Args:
        jaw: (17, 3) head frame, mm.
        hidden: (17,) whether a point is on the far side of the head.

    Returns:
        (17, 3) the points, and (17,) whether a point was moved.
    """
    points, is_moved = jaw.copy(), np.zeros(len(jaw), np.bool_)
    share = _INNERMOST + (1.0 - _INNERMOST) * np.arange(_STEPS + 1) / _STEPS
    half = cut_plane(identity, expression, jaw[:, 1])[0]
    indices = np.nonzero(hidden & (half > _NARROWEST_MM))[0]
    side = np.where(jaw[indices, 0] > 0.0, 1.0, -1.0)[:, None]
    x = side * half[indices, None] * share
    y = np.repeat(jaw[indices, 1:2], len(share), axis=1)
    z = front_depth(identity, expression, x, y)
    outward = side * image_x(x, y, z)
    best = np.argmax(outward, axis=1)
    for row, (k, column) in enumerate(zip(indices, best, strict=True)):
        if column > 0:
            points[k] = x[row, column], y[row, column], z[row, column]
            is_moved[k] = True
    return points, is_moved
