"""ONNX files: the names of their tensors, and the check that all weights are in the file.

Input: bytes of unknown origin. Does: parses the protobuf wire format without a protobuf library,
because an edge device has none. Output: the same bytes, or an InputError.
"""

from collections.abc import Iterator
from pathlib import Path

from fpenet.core.errors import InputError

INPUT = "input_face_images"
"""(N, 1, 80, 80) float32, grey levels 0..255."""
KEYPOINTS = "keypoints"
"""(N, K, 2) float32, pixels of the 80x80 crop."""
CONFIDENCE = "confidence"
"""(N, K) float32, 0 to 1."""
IMAGE = "image"
"""(H, W, 1) grey or (H, W, 3) BGR, uint8."""
BOXES = "boxes"
"""(N, 4) float32, N at least 1: x, y, width, height of the faces, image pixels."""
SQUARES = "squares"
"""(N, 3) float32: centre x, centre y and side of the square of a crop, image pixels."""
KEYPOINTS_IMAGE = "keypoints_image"
"""(N, K, 2) float32, image pixels."""

LARGEST_BYTES = 1 << 28

# Message -> field number -> message inside it (onnx.proto); fields not listed contain no tensor.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_onnx(path: Path) -> bytes:
    """The bytes of an ONNX file that contains all of its weights.

    Raises:
        InputError: the file is absent, too large, not ONNX, or has weights in another file; the
            message names it.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise InputError(f"{path}: {size} bytes; at most {LARGEST_BYTES} are allowed")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    refuse_external_data(data, str(path))
    return data


def refuse_external_data(data: bytes, source: str) -> None:
    """Check that every tensor of the ONNX model in ``data`` has its values there.

    Raises:
        InputError: a tensor is in another file, or ``data`` is not ONNX; the message names
            ``source``.
    """
    try:
        has_graph = _check("model", memoryview(data), 0)
    except _External:
        raise InputError(
            f"{source}: its weights are in another file; only ONNX files that contain all of their"
            " weights are allowed"
        ) from None
    except (IndexError, RecursionError):
        has_graph = False
    if not has_graph:
        raise InputError(f"{source}: not an ONNX file")


class _External(Exception):
    """The values of a tensor are in another file."""


def _check(message: str, data: memoryview, depth: int) -> bool:
    """Check one message and the messages of ``_INSIDE`` in it; returns whether it has any."""
    if depth > 50:
        raise RecursionError
    has_inner = False
    for number, wire, value in _fields(data):
        if message == "tensor" and (
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
        ):
            raise _External
        inside = _INSIDE[message].get(number)
        if inside is not None and wire == _BYTES:
            assert isinstance(value, memoryview)
            has_inner = True
            _check(inside, value, depth + 1)
    return has_inner


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of a message; IndexError where the bytes are no message."""
    offset = 0
    while offset < len(data):
        key, offset = _varint(data, offset)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, offset = _varint(data, offset)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, offset = _varint(data, offset)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise IndexError(wire)
        if offset + length > len(data):
            raise IndexError(offset)
        yield number, wire, data[offset : offset + length]
        offset += length


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise IndexError(offset)
