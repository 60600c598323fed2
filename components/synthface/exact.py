"""Arithmetic with bit-identical results on every CPU.

NumPy chooses its loops by the features of the CPU, so the results of exp, sin, pow, dot and sum
differ in the last bit. The results of + - * / sqrt and comparisons are defined by IEEE 754. Array
code of this package uses only these.
"""

import math

import numpy as np

from synthface.spec import Floats


def circle(angle_deg: float) -> tuple[float, float]:
    """(sin, cos) of an angle, rounded to 9 decimals, so that all C libraries give equal numbers."""
    radians = math.radians(angle_deg)
    return round(math.sin(radians), 9), round(math.cos(radians), 9)


def bump(squared_distance: Floats) -> Floats:
    """A smooth bump function of a squared distance: 1 at distance 0, 0 from distance 1 on."""
    inside = 1.0 - np.minimum(squared_distance, 1.0)
    return inside * inside


def ellipse(x: Floats, y: Floats, x0: float, y0: float, rx: float, ry: float) -> Floats:
    """Squared distance from (x0, y0) in units of the radii: 1 on the ellipse."""
    u, v = (x - x0) / rx, (y - y0) / ry
    return u * u + v * v


def smooth_step(value: Floats) -> Floats:
    """The smoothstep function: 0 below 0, 1 above 1, smooth between."""
    t = np.minimum(np.maximum(value, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def ramp(distance: Floats, softness: float = 0.45) -> Floats:
    """Coverage of a soft edge: 0 where distance < -softness, 1 where > softness, linear between."""
    coverage: Floats = np.minimum(np.maximum(0.5 + distance / (2.0 * softness), 0.0), 1.0)
    return coverage


def mix(base: Floats, over: Floats | float, coverage: Floats) -> Floats:
    """Linear interpolation from ``base`` (coverage 0) to ``over`` (coverage 1)."""
    return base + (over - base) * coverage


def unit(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """The components scaled to length 1."""
    length = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-12)
    return x / length, y / length, z / length
