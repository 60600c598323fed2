"""Neck, shirt and long hair as tubes through elliptic rings (mm)."""

import itertools
from functools import cache

import numpy as np

from synthface.exact import circle
from synthface.spec import Floats

Ring = tuple[float, float, float, float]
"""y, half width, centre z, half depth."""

NECK_RINGS = (
    (40.0, 50.0, -26.0, 52.0),
    (90.0, 51.0, -24.0, 56.0),
    (125.0, 54.0, -26.0, 58.0),
    (150.0, 60.0, -28.0, 62.0),
    (175.0, 84.0, -30.0, 66.0),
    (230.0, 120.0, -34.0, 70.0),
)
SHIRT_RINGS = (
    (138.0, 74.0, -38.0, 62.0),
    (150.0, 96.0, -36.0, 74.0),
    (165.0, 138.0, -34.0, 82.0),
    (185.0, 176.0, -32.0, 90.0),
    (230.0, 205.0, -30.0, 100.0),
    (330.0, 215.0, -30.0, 110.0),
)
LONG_HAIR_RINGS = (
    (-105.0, 30.0, -24.0, 30.0),
    (-80.0, 64.0, -26.0, 44.0),
    (-30.0, 82.0, -28.0, 52.0),
    (40.0, 89.0, -28.0, 54.0),
    (110.0, 96.0, -30.0, 56.0),
    (175.0, 82.0, -26.0, 62.0),
)


@cache
def tube(rings: tuple[Ring, ...]) -> Floats:
    """(3, rows, columns) surface through the elliptic ``rings``."""
    around = np.array([circle(-180.0 + 10.0 * column) for column in range(37)])
    steps = 3
    surface = []
    for upper, lower in itertools.pairwise(rings):
        last = steps + 1 if lower is rings[-1] else steps
        for step in range(last):
            share = step / steps
            y, width, z, depth = (u + share * (v - u) for u, v in zip(upper, lower, strict=True))
            ring_y = np.full(len(around), y)
            surface.append(np.stack([width * around[:, 0], ring_y, z + depth * around[:, 1]]))
    return np.stack(surface, axis=1)
