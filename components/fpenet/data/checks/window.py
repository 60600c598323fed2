"""Windows: a small grey image around a face's points, and its gradient histograms.

A window shows the square about the points (not the face box), enlarged _WINDOW times. Its slope
maps are histograms of gradient directions around every pixel; they depend little on light, contrast
and shifts of a pixel.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpenet.data.crops.geometry import CropBox, cut
from fpenet.data.sample import Floats

Grey = NDArray[np.uint8]
Features = NDArray[np.float32]

WINDOW_PX = 36
_WINDOW = 1.6  # side of the window over the side of the square about the points
_PX = WINDOW_PX / _WINDOW  # window pixels in that side
_BINS = 6  # directions
_CELL = 5  # side in px of a cell of a gradient histogram
_SLACK_PX = 0.1  # a window that leaves the image by less is cut to the image
_OFFSETS = 0.5 * _CELL * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])  # four cells a point


def window(image: Grey, square: Floats) -> Grey:
    """The (WINDOW_PX, WINDOW_PX) window of the face with the ``square`` (centre, side)."""
    x, y, side = (float(value) for value in square)
    box = CropBox(x, y, max(side, 1.0) * _WINDOW)
    left, top = x + 0.5 - box.side / 2, y + 0.5 - box.side / 2
    edges = (left, top, left + box.side, top + box.side)
    height, width = image.shape
    limits = (width, height, width, height)
    inside = tuple(min(max(edge, 0.0), end) for edge, end in zip(edges, limits, strict=True))
    if max(abs(edge - cut_edge) for edge, cut_edge in zip(edges, inside, strict=True)) > _SLACK_PX:
        return cut(image, box, WINDOW_PX)
    size = (WINDOW_PX, WINDOW_PX)
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=inside)
    return np.asarray(small)


def slope_maps(windows: Grey) -> Features:
    """(n, rows, columns, _BINS) maps of (n, rows, columns) windows; mean power 1 in each window."""
    count, height, width = windows.shape
    levels = windows.astype(np.float32)
    across, down = np.zeros_like(levels), np.zeros_like(levels)
    across[:, :, 1:-1] = levels[:, :, 2:] - levels[:, :, :-2]
    down[:, 1:-1] = levels[:, 2:] - levels[:, :-2]
    steep = np.hypot(across, down)
    direction_bins = np.arctan2(down, across) * np.float32(
        _BINS / (2 * np.pi)
    )  # -_BINS / 2 to _BINS / 2
    maps = np.empty((count, height, width, _BINS), np.float32)
    for direction in range(_BINS):
        difference = np.abs(direction_bins - np.float32(direction))
        difference = np.abs(np.minimum(difference, np.float32(_BINS) - difference))
        maps[..., direction] = _summed(steep * np.maximum(np.float32(1) - difference, 0))
    power = maps.sum(axis=3).mean(axis=(1, 2))
    np.sqrt(maps, out=maps)
    maps /= np.sqrt(power)[:, None, None, None] + np.float32(1e-6)
    return maps


def _summed(levels: Features) -> Features:
    """(n, rows, columns) sums over the _CELL x _CELL pixels about each, edges replicated."""
    half, (_, height, width) = _CELL // 2, levels.shape
    padded = np.pad(levels, ((0, 0), (half, half), (half, half)), mode="edge")
    down = padded[:, :height].copy()
    for offset in range(1, _CELL):
        down += padded[:, offset : offset + height]
    total: Features = down[:, :, :width].copy()
    for offset in range(1, _CELL):
        total += down[:, :, offset : offset + width]
    return total


def window_features(maps: Features, points: Floats) -> Features:
    """(n, P * 4 * _BINS) gradient histograms around ``points``.

    Args:
        points: (n, P, 2) from the square's centre, in sides of the square.
    """
    positions = points[:, :, None] * _PX + (WINDOW_PX - 1) / 2 + _OFFSETS  # (n, P, 4, 2)
    cells = np.clip(np.rint(positions), 0, WINDOW_PX - 1).astype(np.intp)
    faces = np.arange(len(points))[:, None, None]
    features: Features = maps[faces, cells[..., 1], cells[..., 0]].reshape(len(points), -1)
    return features
