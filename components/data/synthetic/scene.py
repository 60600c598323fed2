"""What is not the head: the room behind it and the camera's own blur and noise."""

import numpy as np
from numpy.typing import NDArray

from components.data.synthetic.chance import Draws, noise_bytes, uniforms
from components.data.synthetic.spec import IMAGE_HEIGHT, IMAGE_WIDTH, Floats

_CELL_PX = 40


def backdrop(seed: int) -> Floats:
    """(480, 640) float32 displayed grey of a room: soft patches, a few upright panels."""
    rows, columns = IMAGE_HEIGHT // _CELL_PX + 1, IMAGE_WIDTH // _CELL_PX + 1
    draws = Draws(seed, 1)
    base = draws.between(0.25, 0.65)
    patches = base + 0.07 * (uniforms(rows * columns, seed, 2).reshape(rows, columns) - 0.5)
    patches = patches.astype(np.float32)
    room = _stretched(np.ascontiguousarray(_stretched(patches).T))
    room = np.ascontiguousarray(room.T)
    for _ in range(draws.index(5)):
        left = draws.index(IMAGE_WIDTH)
        width = 10 + draws.index(130)
        room[:, left : left + width] += draws.between(-0.16, 0.16)
    return room


def _stretched(grid: Floats) -> Floats:
    """(R, C) values at cell corners, straight lines between them down the rows: (40 (R - 1), C)."""
    share = (np.arange(_CELL_PX, dtype=np.float32) / _CELL_PX)[None, :, None]
    upper, lower = grid[:-1, None, :], grid[1:, None, :]
    return (upper + (lower - upper) * share).reshape(-1, grid.shape[1])


def photograph(grey: Floats, seed: int, shot: int = 0) -> NDArray[np.uint8]:
    """(480, 640) image of displayed ``grey`` (1 is white), slightly blurred, a level of noise.

    Args:
        shot: no two of one seed have the same noise.
    """
    # Sixteenths of a grey level: 4080 times the blur's 16 is the most that 16 bits hold.
    fine = (np.minimum(np.maximum(grey, 0.0), 1.0) * 4080.0 + 0.5).astype(np.uint16)
    tall = np.concatenate([fine[:1], fine, fine[-1:]])
    fine = tall[:-2] + 2 * tall[1:-1] + tall[2:]
    broad = np.concatenate([fine[:, :1], fine, fine[:, -1:]], axis=1)
    fine = broad[:, :-2] + 2 * broad[:, 1:-1] + broad[:, 2:]
    level = ((fine >> 4) + 8) >> 4
    noise = noise_bytes(grey.size, seed, 3, shot).reshape(grey.shape)
    level = level + (noise >= 224) + 1 - (noise < 32)
    image: NDArray[np.uint8] = (np.minimum(np.maximum(level, 1), 256) - 1).astype(np.uint8)
    return image
