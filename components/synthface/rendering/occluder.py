"""The occluder, rendered in the image plane: its coverage and its grey at image points."""

import numpy as np

from synthface.exact import circle, ramp
from synthface.spec import Floats, Occluder

_FINGERS = ((-0.75, -0.85), (-0.25, -1.1), (0.25, -1.05), (0.75, -0.75))
"""Centre line and tip of each finger, in half widths."""


def _local(occluder: Occluder, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coordinates along the axes of the occluder, in half widths."""
    sine, cosine = circle(occluder.angle_deg)
    dx, dy = (x - occluder.x) / occluder.size, (y - occluder.y) / occluder.size
    return dx * cosine + dy * sine, dy * cosine - dx * sine


def _inside(occluder: Occluder, u: Floats, v: Floats) -> Floats:
    """Signed distance to the contour in half widths, positive inside."""
    if occluder.kind == "box":
        box: Floats = np.minimum(1.0 - np.abs(u), 1.3 - np.abs(v))
        return box
    if occluder.kind == "mic":
        ball = 0.8 - np.sqrt(u * u + v * v)
        stick = np.minimum(0.28 - np.abs(u), np.minimum(v, 4.0 - v))
        mic: Floats = np.maximum(ball, stick)
        return mic
    hand: Floats = np.minimum(np.minimum(1.0 - np.abs(u), v - 0.25), 1.9 - v)
    for middle, tip in _FINGERS:
        along = np.minimum(np.maximum(v, tip + 0.24), 0.6)
        distance = np.sqrt((u - middle) * (u - middle) + (v - along) * (v - along))
        hand = np.maximum(hand, 0.24 - distance)
    return hand


def occluder_coverage(occluder: Occluder, x: Floats, y: Floats) -> Floats:
    """Covered share of each image point (px); the soft edge is one pixel wide."""
    u, v = _local(occluder, x, y)
    return ramp(_inside(occluder, u, v) * occluder.size, 0.5)


def occluder_grey(occluder: Occluder, x: Floats, y: Floats) -> Floats:
    """Displayed grey of the occluder at image points (px)."""
    u, v = _local(occluder, x, y)
    if occluder.kind == "box":
        line = ramp(0.02 - np.abs(v - np.floor(v * 4.0 + 0.5) / 4.0), 0.02)
        return occluder.albedo * (1.0 - 0.12 * u - 0.25 * line)
    edge = np.minimum(np.maximum(_inside(occluder, u, v) / 0.24, 0.0), 1.0)
    rounded: Floats = occluder.albedo * (0.55 + 0.45 * np.sqrt(edge))
    return rounded
