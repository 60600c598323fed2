"""Crops in the frame of a contract: from uint8 crops to the input tensor of the model.

Frame: a crop of ``size`` (width, height) is the middle of a square of S = max(width, height)
pixels, whose side is ``crop_scale`` times the longer side of the face box.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.data.crops.store import CROP_PX
from fpenet.params.contract import ContractInput

Crops = NDArray[np.uint8]


def square_px(size: tuple[int, int]) -> int:
    """Side of the square whose middle the crop is."""
    return max(size)


def first_pixel(size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (x, y) of the square that is the crop's first.

    >>> first_pixel((112, 112)), first_pixel((96, 128))
    ((0, 0), (16, 0))
    """
    side = square_px(size)
    return (side - size[0]) // 2, (side - size[1]) // 2


def to_tensor(crops: Crops, tensor: ContractInput, dtype: Any) -> NDArray[Any]:
    """The input tensor of crops (N, height, width, C), whose three channels are red, green, blue.

    Returns:
        (N, C, height, width) or (N, height, width, C) of ``dtype``, (level - mean) * scale.
    """
    if tensor.order == "bgr":
        crops = crops[..., ::-1]
    levels: NDArray[Any] = crops
    if set(tensor.mean) != {0.0} or set(tensor.scale) != {1.0}:
        mean, scale = (np.array(row, np.float32) for row in (tensor.mean, tensor.scale))
        levels = (crops.astype(np.float32) - mean) * scale
    if tensor.layout == "nchw":
        levels = np.moveaxis(levels, 3, 1)
    return np.ascontiguousarray(levels, dtype)


def to_crop_px(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Points (N, K, 2) in pixels of the 80x80 crop of the same square.

    Args:
        points: pixels of the crop of ``size``, pixel centres at integers.

    >>> to_crop_px(np.array([[[55.5, 55.5], [-0.5, 111.5]]]), (112, 112))
    array([[[39.5, 39.5],
            [-0.5, 79.5]]])
    """
    side = square_px(size)
    in_square = points + np.array(first_pixel(size))
    in_crop: NDArray[np.float64] = (in_square - (side - 1) / 2) * (CROP_PX / side)
    return in_crop + (CROP_PX - 1) / 2
