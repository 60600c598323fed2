"""Head, ears, neck, shirt and hair as one triangle mesh in the head frame, mm."""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from synthface.exact import circle, smooth_step, unit
from synthface.geometry.body import LONG_HAIR_RINGS, NECK_RINGS, SHIRT_RINGS, tube
from synthface.geometry.ear import ear_surface
from synthface.geometry.surface import VERTEX_Y, WIDEST_Y, chin_y, cut_plane, front_depth
from synthface.spec import Expression, Floats, Identity

SKIN, EAR, NECK, SHIRT, HAIR = range(5)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles of all parts.

    Attributes:
        vertices: (3, V) x, y, z.
        normals: (3, V) unit, outward.
        texture: (3, V) texture coordinates: the head frame without hair, or (u, v, n) of an ear.
        part: (V,) SKIN, EAR, NECK, SHIRT or HAIR.
        triangles: (3, T) vertex indices.
    """

    vertices: Floats
    normals: Floats
    texture: Floats
    part: NDArray[np.int64]
    triangles: NDArray[np.int64]


def build_mesh(identity: Identity, expression: Expression) -> Mesh:
    """The mesh of one head with all parts."""
    skin, bare = _skin(identity, expression)
    ears = [_ear(identity, side) for side in (-1.0, 1.0)]
    grids = [
        (SKIN, skin, bare),
        *((EAR, surface, texture) for surface, texture in ears),
        *((kind, tube, tube) for kind, tube in _tubes(identity.long_hair)),
    ]
    vertices, normals, textures, part, triangles = [], [], [], [], []
    start = 0
    for kind, surface, texture in grids:
        _, rows, columns = surface.shape
        vertices.append(surface.reshape(3, -1))
        normals.append(_grid_normals(surface).reshape(3, -1))
        textures.append(texture.reshape(3, -1))
        part.append(np.full(rows * columns, kind))
        triangles.append(_grid_triangles(rows, columns) + start)
        start += rows * columns
    return Mesh(
        np.concatenate(vertices, axis=1),
        np.concatenate(normals, axis=1),
        np.concatenate(textures, axis=1),
        np.concatenate(part),
        np.concatenate(triangles, axis=1),
    )


def hairline(identity: Identity, z: Floats) -> Floats:
    """y of the hairline at depth ``z``; skin above it is covered by hair."""
    front = identity.hairline_y
    knots = (
        (78.0, front),
        (58.0, front + 8.0),
        (34.0, -34.0),
        (14.0, 4.0),
        (5.0, 6.0),
        (-8.0, 50.0),
    )
    line = np.full_like(z, front)
    for (z_high, y_high), (z_low, y_low) in itertools.pairwise(knots):
        share = np.minimum(np.maximum((z_high - z) / (z_high - z_low), 0.0), 1.0)
        line = line + (y_low - y_high) * share
    return line


def _skin(identity: Identity, expression: Expression) -> tuple[Floats, Floats]:
    """(3, rows, columns) closed skin surface with the thickness of the hair, and without it."""
    sin_rows, (sin_columns, cos_columns) = _row_sines(), _column_circle()
    below = chin_y(identity, expression) - WIDEST_Y
    y = WIDEST_Y + sin_rows * np.where(sin_rows < 0.0, WIDEST_Y - VERTEX_Y, below)
    a, c, _, back = (column[:, None] for column in cut_plane(identity, expression, y))
    x = a * sin_columns
    grid_y = np.repeat(y[:, None], x.shape[1], axis=1)
    z = np.where(
        cos_columns >= 0.0, front_depth(identity, expression, x, grid_y), c + back * cos_columns
    )
    bare = np.stack([x, grid_y, z])
    lift = identity.hair_thickness * smooth_step((hairline(identity, z) - grid_y) / 14.0)
    lift = lift * (1.0 - 0.8 * smooth_step((grid_y + 45.0) / 40.0))  # flat near the ears
    out = unit(x, np.minimum(grid_y - WIDEST_Y, 0.0), z)
    return bare + lift * np.stack(out), bare


@cache
def _row_sines() -> Floats:
    """Heights from the vertex (-1) past the widest cut (0) to the chin (1), denser at the nose."""
    return np.array(
        [circle(angle)[0] for angle in _angles((-90, 16), (0, 14), (21, 18), (36, 34), (90, 0))]
    )


@cache
def _column_circle() -> tuple[Floats, Floats]:
    """(sin, cos) around a cut: ear to ear across the face, denser at the nose, then the back."""
    angles = _angles((-90, 26), (-16, 24), (16, 26), (90, 24), (270, 0))
    sines, cosines = zip(*(circle(angle) for angle in angles), strict=True)
    return np.array(sines), np.array(cosines)


def _angles(*stops: tuple[int, int]) -> list[float]:
    """Degrees from the first stop to the last; a stop is (degrees, steps to the next stop)."""
    angles = [
        start + (stop - start) * step / steps
        for (start, steps), (stop, _) in itertools.pairwise(stops)
        for step in range(steps)
    ]
    return [*angles, float(stops[-1][0])]


def _ear(identity: Identity, side: float) -> tuple[Floats, Floats]:
    """(3, rows, columns) surface of an ear, and its (u, v, n)."""
    coordinates = _ear_coordinates(side)
    u, v, n = coordinates
    # The rim is higher than the hollow inside it.
    hollow = np.where(n > 0.0, 1.0 - 0.9 * (1.0 - u * u - v * v), 1.0)
    return ear_surface(identity, side, u, v, n * hollow), coordinates


@cache
def _ear_coordinates(side: float) -> Floats:
    """(3, rows, columns) of u, v, n on a sphere."""
    sines, cosines = np.array([circle(-360.0 * side * column / 28) for column in range(29)]).T
    down, wide = np.array([circle(-90.0 + 180.0 * row / 18) for row in range(19)]).T
    v = np.repeat(down[:, None], len(sines), axis=1)
    return np.stack([wide[:, None] * cosines, v, wide[:, None] * sines])


def _tubes(long_hair: bool) -> list[tuple[int, Floats]]:
    parts = [(NECK, tube(NECK_RINGS)), (SHIRT, tube(SHIRT_RINGS))]
    return [*parts, (HAIR, tube(LONG_HAIR_RINGS))] if long_hair else parts


def _grid_normals(surface: Floats) -> Floats:
    """(3, rows, columns) unit normals of a closed grid: its last column equals its first."""
    ring = np.concatenate([surface[:, :, -2:-1], surface, surface[:, :, 1:2]], axis=2)
    ax, ay, az = ring[:, :, 2:] - ring[:, :, :-2]
    tall = np.concatenate([surface[:, :1], surface, surface[:, -1:]], axis=1)
    dx, dy, dz = tall[:, 2:] - tall[:, :-2]
    return np.stack(unit(ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx))


@cache
def _grid_triangles(rows: int, columns: int) -> NDArray[np.int64]:
    """(3, 2 * (rows - 1) * (columns - 1)) vertex indices of a grid's triangles."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    first = np.stack([corner, corner + 1, corner + columns])
    second = np.stack([corner + 1, corner + columns + 1, corner + columns])
    return np.concatenate([first, second], axis=1)
