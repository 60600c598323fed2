"""Boxes for FPENet and points from it, in a DeepStream pipeline: NumPy alone, Python 3.6 or newer.

Call ``square_faces`` in a probe before nvinfer (or nvdspreprocess) and ``face_points`` in a probe
after it; both take the ``pyds`` module. nvinfer scales an object's rectangle to 80 x 80 from the
upper left corner, without changing its aspect ratio, and rounds rectangles to even pixels. So
``face_rect`` returns even rectangles inside the frame, and ``points_in_frame`` is the exact inverse
of that scaling. Pixels outside the frame are black in DeepStream; in training they repeat the edge.
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
    """The part of the frame that is the network's input for one face.

    As in training it is the square about the centre of the box, with ``box_scale`` times the longer
    side of the box. It is cut to the frame; nvinfer does not distort the remaining part.

    Args:
        box: left, top, width, height of the face as in ``rect_params``: edges of pixels.

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
    """Points (..., 2) in pixels of the 80 x 80 crop, in pixels of the frame (centres at integers).

    >>> points_in_frame(np.array([[39.5, 0.0]]), Rect(80, 50, 160, 160))
    array([[159.5,  50.5]])
    """
    step = max(rect.width, rect.height) / CROP_PX
    corner = np.array([rect.left, rect.top], np.float64)
    return (np.asarray(keypoints, np.float64) + 0.5) * step - 0.5 + corner


def square_faces(pyds: Any, frame: Any, width: int, height: int, box_scale: float) -> None:
    """Replace the rectangle of each object of the frame by FPENet's input rectangle.

    Args:
        pyds: the module.
        frame: NvDsFrameMeta.
        width, height: size of the frame after nvstreammux, pixels.
        box_scale: ``box_scale`` in the bundle's model.json.
    """
    for face in _items(frame.obj_meta_list, pyds.NvDsObjectMeta):
        rect = face.rect_params
        box = (rect.left, rect.top, rect.width, rect.height)
        square = face_rect(box, width, height, box_scale)
        rect.left, rect.top, rect.width, rect.height = map(float, square)


def face_points(
    pyds: Any, frame: Any, num_keypoints: int, engine_id: int = 2
) -> "Iterator[tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]]":
    """Each face of the frame with its points.

    Args:
        frame: NvDsFrameMeta, after nvinfer with ``output-tensor-meta=1``.
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
    """A copy of a float32 tensor whose memory belongs to nvinfer."""
    pointer = ctypes.cast(pyds.get_ptr(buffer), ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(pointer, shape=shape).copy()
