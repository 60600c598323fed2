"""Value noise: smooth random grey patterns from a small table of seeded numbers."""

from functools import cache

import numpy as np

from synthface.rng import uniforms
from synthface.spec import Floats

_SIDE = 64


@cache
def _table() -> Floats:
    table = (2.0 * uniforms(_SIDE * _SIDE, 7001) - 1.0).astype(np.float32)
    table.setflags(write=False)
    return table


def value_noise(x: Floats, y: Floats, shift: int = 0) -> Floats:
    """Smooth noise in [-1, 1] with structures about 1 unit wide; its period is 64 units."""
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    left = (column.astype(np.int64) + shift) & (_SIDE - 1)
    right = (left + 1) & (_SIDE - 1)
    upper = (row.astype(np.int64) & (_SIDE - 1)) * _SIDE
    lower = ((row.astype(np.int64) + 1) & (_SIDE - 1)) * _SIDE
    table = _table()
    above = table[upper + left] + u * (table[upper + right] - table[upper + left])
    below = table[lower + left] + u * (table[lower + right] - table[lower + left])
    return above + v * (below - above)
