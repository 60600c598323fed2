"""Multi-PIE's 20 illuminations, with at most one lamp each, and the shading of a surface."""

import math

import numpy as np

from synthface.exact import circle
from synthface.rng import SeededRng
from synthface.spec import Floats

FLASHES: dict[int, tuple[float, float]] = {
    **{number: (15.0 * (number - 7), 6.0) for number in range(1, 14)},
    14: (-45.0, 40.0),
    15: (45.0, 40.0),
    16: (-25.0, 55.0),
    17: (0.0, 60.0),
    18: (25.0, 55.0),
}
"""Illumination -> (yaw, elevation) of the flash in degrees. 1-13 stand by the 13 level cameras from
-90 to +90 (7 is frontal), 14 and 15 by the overhead ones, 16-18 above; 0 and 19 have none.
"""


def lamp(illumination: int) -> tuple[float, float, float] | None:
    """Unit direction toward the flash in the head frame, or None without one.

    A camera at +yaw sees the subject's right cheek, so it stands on the side of negative x.
    """
    if illumination not in FLASHES:
        return None
    yaw, elevation = FLASHES[illumination]
    (sin_yaw, cos_yaw), (sin_up, cos_up) = circle(yaw), circle(elevation)
    return -sin_yaw * cos_up, -sin_up, cos_yaw * cos_up


def light_window(seed: int) -> tuple[float, float, float]:
    """Direction of the room's light, head frame; the length of the vector is the strength."""
    rng = SeededRng(seed, 5)
    strength = rng.between(0.15, 0.7)
    (sin_yaw, cos_yaw) = circle(rng.between(-75.0, 75.0))
    (sin_up, cos_up) = circle(rng.between(5.0, 65.0))
    return -sin_yaw * cos_up * strength, -sin_up * strength, cos_yaw * cos_up * strength


def lit(
    albedo: Floats,
    normal: tuple[Floats, Floats, Floats],
    toward_camera: tuple[float, float, float],
    illumination: int,
    gloss: Floats,
    window: tuple[float, float, float],
    reached: tuple[Floats, Floats],
) -> Floats:
    """(M,) displayed grey, 1 is white, of (M,) albedos under the room's light and the flash.

    Args:
        normal: components of (M,) unit normals, head frame.
        toward_camera: unit direction, head frame.
        gloss: (M,) strength of the highlight.
        window: direction that the room's light comes from, head frame; its length is the strength.
        reached: (M,) share of the room's light, and of the flash, that gets there.
    """
    nx, ny, nz = normal
    openness, reach = reached
    room = 0.3 - 0.16 * ny + 0.1 * nz
    room = room + np.maximum(nx * window[0] + ny * window[1] + nz * window[2] + 0.1, 0.0)
    room = room * openness
    flash = lamp(illumination)
    if flash is None:
        evenly: Floats = albedo * np.sqrt(np.maximum(1.25 * room, 0.015))
        return evenly
    # Light enters skin and leaves it a little farther on: it wraps around an edge.
    facing = (nx * flash[0] + ny * flash[1] + nz * flash[2] + 0.18) / 1.18
    facing = np.maximum(facing, 0.0) * reach
    hx, hy, hz = (f + c for f, c in zip(flash, toward_camera, strict=True))
    length = math.sqrt(hx * hx + hy * hy + hz * hz)
    shine = np.maximum(nx * (hx / length) + ny * (hy / length) + nz * (hz / length), 0.0)
    for _ in range(4):
        shine = shine * shine
    light = 0.55 * room + 0.95 * facing
    # The square root is the display's gamma.
    grey: Floats = np.sqrt(albedo * albedo * np.maximum(light, 0.02) + gloss * shine * facing)
    return grey
