"""Faults in a stage that are not bad input: bugs, and faults of the machine."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fpenet.params import SplitParams


def _mix_shapes() -> None:
    np.zeros((2, 3)) @ np.zeros((2, 3))


def _read_wrong_column() -> None:
    pa.array(["x"]).cast(pa.int64())


def _fill_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _miss_key() -> None:
    dict[str, int]()["subject"]


FAULTS: dict[str, tuple[int, Callable[[], None], str]] = {
    "numpy shape": (101, _mix_shapes, "ValueError: matmul: Input operand 1 has a mismatch"),
    "pyarrow": (102, _read_wrong_column, "ArrowInvalid: Failed to parse string: 'x'"),
    "full disk": (103, _fill_disk, "[Errno 28] No space left on device"),
    "key": (104, _miss_key, "KeyError: 'subject'"),
}
"""Name -> the number that selects the fault, the function that raises it, the start of its line."""


def split(*, split: SplitParams, out_dir: Path, **_inputs: Any) -> dict[str, Any]:
    """A stage function that raises the fault with the number ``split.seed``, if there is one."""
    for number, fail, _line in FAULTS.values():
        if number == split.seed:
            fail()
    (out_dir / "done.json").write_text("{}")
    return {}
