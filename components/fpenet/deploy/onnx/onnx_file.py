"""An ONNX file as everything here takes it: the names of its tensors, and no data outside the file.

Input: bytes of unknown origin. Does: walks the protobuf wire format, without a protobuf library (an
edge device has none). Output: the same bytes, or an InputError.
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
"""(N, 3) float32: centre x, centre y and side of what a crop shows, image pixels."""
KEYPOINTS_IMAGE = "keypoints_image"
"""(N, K, 2) float32, image pixels."""

LARGEST_BYTES = 1 << 28

# Message -> field number -> message inside it (onnx.proto); what is not listed holds no tensor.
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
    """The bytes of an ONNX file that holds all of its weights.

    Raises:
        InputError: naming the file: absent, too large, not ONNX, or with data elsewhere.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise InputError(f"{path}: {size} bytes; at most {LARGEST_BYTES} are read")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    refuse_external_data(data, str(path))
    return data


def refuse_external_data(data: bytes, source: str) -> None:
    """Check that no tensor of the ONNX model in ``data`` lies in another file.

    Raises:
        InputError: naming ``source``: a tensor does, or this is not ONNX.
    """
    try:
        seen_graph = _check("model", memoryview(data), 0)
    except _External:
        raise InputError(
            f"{source}: its weights lie in another file; only ONNX files that hold all of their"
            " weights are read"
        ) from None
    except (IndexError, RecursionError):
        seen_graph = False
    if not seen_graph:
        raise InputError(f"{source}: not an ONNX file")


class _External(Exception):
    """A tensor's data lies in another file."""


def _check(message: str, data: memoryview, depth: int) -> bool:
    """Walk one message; whether it has any of the messages that are looked into."""
    if depth > 50:
        raise RecursionError
    found = False
    for number, wire, value in _fields(data):
        if message == "tensor" and (
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
        ):
            raise _External
        inside = _INSIDE[message].get(number)
        if inside is not None and wire == _BYTES:
            assert isinstance(value, memoryview)
            found = True
            _check(inside, value, depth + 1)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of a message; IndexError where it is not one."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise IndexError(wire)
        if at + length > len(data):
            raise IndexError(at)
        yield number, wire, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError(at)
