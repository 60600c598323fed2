"""Multi-PIE's twenty illuminations as one lamp each, and what they do to a surface."""

import math

import numpy as np

from components.data.synthetic.exact import circle
from components.data.synthetic.spec import Floats

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


def lit(
    albedo: Floats,
    normal: tuple[Floats, Floats, Floats],
    toward_camera: tuple[float, float, float],
    illumination: int,
    gloss: Floats,
) -> Floats:
    """(M,) displayed grey, 1 is white, of (M,) albedos under ambient light and the flash.

    Args:
        normal: components of (M,) unit normals, head frame.
        toward_camera: unit direction, head frame.
        gloss: (M,) strength of the highlight.
    """
    nx, ny, nz = normal
    room = 0.5 - 0.16 * ny + 0.12 * nz
    flash = lamp(illumination)
    if flash is None:
        evenly: Floats = albedo * np.sqrt(np.maximum(1.25 * room + 0.12 * nz, 0.02))
        return evenly
    facing = np.maximum(nx * flash[0] + ny * flash[1] + nz * flash[2], 0.0)
    hx, hy, hz = (f + c for f, c in zip(flash, toward_camera, strict=True))
    length = math.sqrt(hx * hx + hy * hy + hz * hz)
    shine = np.maximum(nx * (hx / length) + ny * (hy / length) + nz * (hz / length), 0.0)
    for _ in range(4):
        shine = shine * shine
    light = 0.5 * room + 0.82 * facing
    # The square root is the display's gamma.
    grey: Floats = np.sqrt(albedo * albedo * np.maximum(light, 0.02) + gloss * shine * facing)
    return grey
