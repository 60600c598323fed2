"""The text of a TensorRT calibration cache: a header, then ``tensor: scale`` lines.

The header has the exact TensorRT version; TensorRT rejects a cache of another version. The scale is
amax / 127 as the 8 hex digits of a big-endian FP32.
"""

import struct
from collections.abc import Mapping

from fpenet.core.errors import InputError


def write_cache(version_number: int, scales: Mapping[str, float]) -> str:
    """The text of the cache.

    Args:
        version_number: see ``targets.tensorrt_number``.
        scales: tensor -> step of signed INT8.

    Raises:
        InputError: the name of a tensor cannot be written in a cache.

    >>> write_cache(8502, {"input": 1.0})
    'TRT-8502-EntropyCalibration2\\ninput: 3f800000\\n'
    """
    lines = [f"TRT-{version_number}-EntropyCalibration2"]
    for name, scale in scales.items():
        if not name.isprintable() or " " in name or ":" in name:
            raise InputError(
                f"tensor {name!r}: a name in a calibration cache has no space and no colon"
            )
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join(lines) + "\n"


def read_cache(text: str) -> tuple[int, dict[str, float]]:
    """Version number and tensor -> scale of a calibration cache.

    Raises:
        InputError: ``text`` is not a calibration cache.
    """
    header, *lines = text.splitlines() or [""]
    try:
        product, number, method = header.split("-")
        if (product, method) != ("TRT", "EntropyCalibration2"):
            raise InputError(header)
        pairs = (line.rsplit(": ", 1) for line in lines)
        scales = {name: struct.unpack(">f", bytes.fromhex(code))[0] for name, code in pairs}
        return int(number), scales
    except (ValueError, struct.error):
        raise InputError(f"not a calibration cache: it begins {header[:60]!r}") from None
