"""Boxes for FPENet and points from it, in a DeepStream pipeline: NumPy alone, Python 3.6 or newer.

``square_faces`` goes into a probe before nvinfer (or nvdspreprocess), ``face_points`` into one
behind it; both take the ``pyds`` module. nvinfer scales an object's rectangle to 80 x 80, keeping
its shape, from the upper left corner, and rounds rectangles to even pixels: so ``face_rect`` gives
even ones that lie in the frame, and ``points_in_frame`` is the exact inverse of that scaling. (What
lies outside the frame is black there, where training repeated the edge.)
"""

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

CROP_PX = 80
KEYPOINTS, CONFIDENCE = "keypoints", "confidence"


class Rect(NamedTuple):
    """A part of a frame, in its pixels; all four are even."""

    left: int
    top: int
    width: int
    height: int


def face_rect(
    box: "tuple[float, float, float, float]",
    frame_width: int,
    frame_height: int,
    box_scale: float,
) -> Rect:
    """What of the frame the network is to see of a face.

    The square about the middle of the box, ``box_scale`` times its longer side, as in training;
    where it leaves the frame only the part inside is left, which nvinfer does not distort.

    Args:
        box: left, top, width, height of the face as ``rect_params`` has them: edges of pixels.

    >>> face_rect((100.0, 60.0, 80.0, 100.0), 640, 480, 1.2)
    Rect(left=80, top=50, width=120, height=120)
    >>> face_rect((600.0, 0.0, 80.0, 100.0), 640, 480, 1.2)
    Rect(left=580, top=0, width=60, height=110)
    """
    x, y, width, height = box
    side = 2 * max(round(max(width, height) * box_scale / 2), 1)
    left = 2 * round((x + width / 2 - side / 2) / 2)
    top = 2 * round((y + height / 2 - side / 2) / 2)
    first_x, first_y = max(left, 0), max(top, 0)
    last_x, last_y = min(left + side, frame_width), min(top + side, frame_height)
    return Rect(
        first_x,
        first_y,
        max(last_x - first_x, 0) // 2 * 2,
        max(last_y - first_y, 0) // 2 * 2,
    )


def points_in_frame(keypoints: "np.ndarray[Any, Any]", rect: Rect) -> "np.ndarray[Any, Any]":
    """(..., 2) pixels of the 80 x 80 crop to pixels of the frame, pixel centres at integers.

    >>> points_in_frame(np.array([[39.5, 0.0]]), Rect(80, 50, 160, 160))
    array([[159.5,  50.5]])
    """
    step = max(rect.width, rect.height) / CROP_PX
    corner = np.array([rect.left, rect.top], np.float64)
    return (np.asarray(keypoints, np.float64) + 0.5) * step - 0.5 + corner


def square_faces(pyds: Any, frame: Any, width: int, height: int, box_scale: float) -> None:
    """Give each object of the frame the rectangle that FPENet is to see.

    Args:
        pyds: the module.
        frame: NvDsFrameMeta.
        width, height: of the frame behind nvstreammux, pixels.
        box_scale: of the bundle's model.json.
    """
    for face in _items(frame.obj_meta_list, pyds.NvDsObjectMeta):
        rect = face.rect_params
        box = (rect.left, rect.top, rect.width, rect.height)
        found = face_rect(box, width, height, box_scale)
        rect.left, rect.top, rect.width, rect.height = map(float, found)


def face_points(
    pyds: Any, frame: Any, num_keypoints: int, engine_id: int = 2
) -> "Iterator[tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]]":
    """Each face of the frame with its points.

    Args:
        frame: NvDsFrameMeta, behind nvinfer with ``output-tensor-meta=1``.
        engine_id: ``gie-unique-id`` of FPENet.

    Yields:
        NvDsObjectMeta, (K, 2) pixels of the frame, (K,) confidence.
    """
    for face in _items(frame.obj_meta_list, pyds.NvDsObjectMeta):
        for user in _items(face.obj_user_meta_list, pyds.NvDsUserMeta):
            kind = pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META
            if user.base_meta.meta_type != kind:
                continue
            meta = pyds.NvDsInferTensorMeta.cast(user.user_meta_data)
            if meta.unique_id != engine_id:
                continue
            tensors = {}
            for number in range(meta.num_output_layers):
                layer = pyds.get_nvds_LayerInfo(meta, number)
                tensors[layer.layerName] = layer.buffer
            keypoints = _read(pyds, tensors[KEYPOINTS], (num_keypoints, 2))
            confidence = _read(pyds, tensors[CONFIDENCE], (num_keypoints,))
            box = face.rect_params
            rect = Rect(int(box.left), int(box.top), int(box.width), int(box.height))
            yield face, points_in_frame(keypoints, rect), confidence


def _items(node: Any, kind: Any) -> "Iterator[Any]":
    """The values of one of DeepStream's linked lists."""
    while node is not None:
        yield kind.cast(node.data)
        node = node.next


def _read(pyds: Any, buffer: Any, shape: "tuple[int, ...]") -> "np.ndarray[Any, Any]":
    """A copy of a float32 tensor, which is nvinfer's own memory."""
    pointer = ctypes.cast(pyds.get_ptr(buffer), ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(pointer, shape=shape).copy()
