"""Shading of a surface under Multi-PIE's 20 illuminations, which have at most one flash each."""

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
"""Illumination -> (yaw, elevation) of the flash in degrees. 1-13 are at the 13 level cameras from
-90 to +90 (7 is frontal), 14 and 15 at the overhead cameras, 16-18 above; 0 and 19 have no flash.
"""


def flash_direction(illumination: int) -> tuple[float, float, float] | None:
    """Unit direction toward the flash in the head frame; None where there is no flash.

    The right cheek of the subject is visible from a camera at +yaw, so x is negative there.
    """
    if illumination not in FLASHES:
        return None
    yaw, elevation = FLASHES[illumination]
    (sin_yaw, cos_yaw), (sin_up, cos_up) = circle(yaw), circle(elevation)
    return -sin_yaw * cos_up, -sin_up, cos_yaw * cos_up


def room_light(seed: int) -> tuple[float, float, float]:
    """Direction of the room light, head frame; the length of the vector is its strength."""
    rng = SeededRng(seed, 5)
    strength = rng.between(0.15, 0.7)
    (sin_yaw, cos_yaw) = circle(rng.between(-75.0, 75.0))
    (sin_up, cos_up) = circle(rng.between(5.0, 65.0))
    return -sin_yaw * cos_up * strength, -sin_up * strength, cos_yaw * cos_up * strength


def shade(
    albedo: Floats,
    normal: tuple[Floats, Floats, Floats],
    toward_camera: tuple[float, float, float],
    illumination: int,
    gloss: Floats,
    room_direction: tuple[float, float, float],
    visibility: tuple[Floats, Floats],
) -> Floats:
    """(M,) displayed grey, 1 is white, of (M,) albedos under the room light and the flash.

    Args:
        normal: components of (M,) unit normals, head frame.
        toward_camera: unit direction, head frame.
        gloss: (M,) strength of the highlight.
        room_direction: see ``room_light``.
        visibility: (M,) visible share of the room light, and of the flash (``light_visibility``).
    """
    nx, ny, nz = normal
    room_share, flash_share = visibility
    wx, wy, wz = room_direction
    room = 0.3 - 0.16 * ny + 0.1 * nz
    room = room + np.maximum(nx * wx + ny * wy + nz * wz + 0.1, 0.0)
    room = room * room_share
    flash = flash_direction(illumination)
    if flash is None:
        without_flash: Floats = albedo * np.sqrt(np.maximum(1.25 * room, 0.015))
        return without_flash
    # Subsurface scattering: light reaches the skin slightly beyond the edge of a shadow.
    facing = (nx * flash[0] + ny * flash[1] + nz * flash[2] + 0.18) / 1.18
    facing = np.maximum(facing, 0.0) * flash_share
    hx, hy, hz = (f + c for f, c in zip(flash, toward_camera, strict=True))
    length = math.sqrt(hx * hx + hy * hy + hz * hz)
    shine = np.maximum(nx * (hx / length) + ny * (hy / length) + nz * (hz / length), 0.0)
    for _ in range(4):
        shine = shine * shine
    light = 0.55 * room + 0.95 * facing
    # The square root is the display's gamma.
    grey: Floats = np.sqrt(albedo * albedo * np.maximum(light, 0.02) + gloss * shine * facing)
    return grey
