"""An object in front of the face, rendered in the image plane, and the points that it covers."""

import numpy as np

from synthface.exact import circle, ramp
from synthface.spec import Floats, Occluder

_FINGERS = ((-0.75, -0.85), (-0.25, -1.1), (0.25, -1.05), (0.75, -0.75))
"""Middle line and tip of each finger, in half widths."""


def _local(thing: Occluder, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coordinates along the occluder's own axes, in half widths."""
    sine, cosine = circle(thing.angle_deg)
    dx, dy = (x - thing.x) / thing.size, (y - thing.y) / thing.size
    return dx * cosine + dy * sine, dy * cosine - dx * sine


def _inside(thing: Occluder, u: Floats, v: Floats) -> Floats:
    """Distance to the outline in half widths: positive inside."""
    if thing.kind == "box":
        box: Floats = np.minimum(1.0 - np.abs(u), 1.3 - np.abs(v))
        return box
    if thing.kind == "mic":
        ball = 0.8 - np.sqrt(u * u + v * v)
        stick = np.minimum(0.28 - np.abs(u), np.minimum(v, 4.0 - v))
        mic: Floats = np.maximum(ball, stick)
        return mic
    hand: Floats = np.minimum(np.minimum(1.0 - np.abs(u), v - 0.25), 1.9 - v)
    for middle, tip in _FINGERS:
        along = np.minimum(np.maximum(v, tip + 0.24), 0.6)
        off = np.sqrt((u - middle) * (u - middle) + (v - along) * (v - along))
        hand = np.maximum(hand, 0.24 - off)
    return hand


def occluder_cover(thing: Occluder, x: Floats, y: Floats) -> Floats:
    """Share of each image point (px) that the occluder covers; the edge is a pixel wide."""
    u, v = _local(thing, x, y)
    return ramp(_inside(thing, u, v) * thing.size, 0.5)


def occluder_grey(thing: Occluder, x: Floats, y: Floats) -> Floats:
    """Displayed grey of the occluder at image points (px)."""
    u, v = _local(thing, x, y)
    if thing.kind == "box":
        line = ramp(0.02 - np.abs(v - np.floor(v * 4.0 + 0.5) / 4.0), 0.02)
        return thing.albedo * (1.0 - 0.12 * u - 0.25 * line)
    edge = np.minimum(np.maximum(_inside(thing, u, v) / 0.24, 0.0), 1.0)
    rounded: Floats = thing.albedo * (0.55 + 0.45 * np.sqrt(edge))
    return rounded
