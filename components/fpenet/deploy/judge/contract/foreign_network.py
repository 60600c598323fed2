"""A network in an ONNX file of unknown origin: its tensors, and a run on one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.deploy.onnx.onnx_file import read_onnx

DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
"""ONNX Runtime's name of an input type -> the type of the array."""
MOST = 1 << 16
"""Largest batch where the file has no limit."""


@dataclass(frozen=True, slots=True)
class TensorShape:
    """Name, type and shape of an input or output; a dimension that is not fixed is text or None."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True, slots=True)
class ForeignNetwork:
    """A network that ONNX Runtime has loaded.

    Attributes:
        metadata: the file's own key-value pairs.
    """

    path: Path
    session: Any
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    metadata: Mapping[str, str]

    def input_named(self, name: str | None) -> TensorShape:
        """The input ``name``; None: the only one.

        Raises:
            InputError: no such input, it has a type that crops cannot have, or there are others.
        """
        fits = [row for row in self.inputs if name in (None, row.name)]
        listed = "; ".join(map(str, self.inputs))
        if not fits:
            raise InputError(f"{self.path}: input.name is {name}; its inputs are {listed}")
        if len(self.inputs) != 1:
            raise InputError(f"{self.path}: its inputs are {listed}; there must be one")
        if fits[0].type not in DTYPES:
            raise InputError(f"{self.path}: its input is {listed}; the type must be of {[*DTYPES]}")
        return fits[0]

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the input has; None: any."""
        shape = self.inputs[0].shape
        first = shape[0] if shape else None
        return first if isinstance(first, int) and first > 0 else None

    def run(
        self, tensor: NDArray[Any], names: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The outputs ``names`` (None: all) of the network for its only input.

        Raises:
            InputError: ONNX Runtime cannot run it.
        """
        names = [row.name for row in self.outputs] if names is None else list(names)
        try:
            arrays = self.session.run(names, {self.inputs[0].name: tensor})
        except Exception as error:  # ONNX Runtime's errors have no common base class but Exception
            raise InputError(
                f"{self.path}: ONNX Runtime cannot run it on {tensor.dtype} {tensor.shape}:"
                f" {' '.join(str(error).split())[:300]}"
            ) from None
        return dict(zip(names, arrays, strict=True))


def open_network(path: Path) -> ForeignNetwork:
    """Load an ONNX file.

    Raises:
        InputError: the file is not ONNX, has weights in another file, or ONNX Runtime refuses it.
    """
    data = read_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a failed run is reported by ``run``
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class but Exception
        raise InputError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} refuses it:"
            f" {' '.join(str(error).split())[:300]}"
        ) from None
    inputs, outputs = (
        tuple(TensorShape(row.name, row.type, tuple(row.shape)) for row in rows)
        for rows in (session.get_inputs(), session.get_outputs())
    )
    return ForeignNetwork(
        path, session, inputs, outputs, session.get_modelmeta().custom_metadata_map
    )


def padded(tensor: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """``tensor`` (N, ...) with its last row repeated up to the fixed batch size."""
    if not batch or len(tensor) >= batch:
        return tensor
    return np.concatenate([tensor, np.repeat(tensor[-1:], batch - len(tensor), axis=0)])
