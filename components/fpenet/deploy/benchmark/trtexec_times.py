"""Times of an engine on its device, measured by NVIDIA's trtexec.

Input: an engine file. Does: runs trtexec for each batch size, with and without copies, with and
without a CUDA graph. Output: percentiles of the times, and the command line of each run. The times
in NVIDIA's model card are trtexec's too: batch 1, FP16, a Jetson in power mode MAX-N.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.engine_id import EngineId
from fpenet.core.errors import InputError
from fpenet.deploy.benchmark.timings import Mode
from fpenet.deploy.onnx.onnx_file import INPUT

JETPACK_FOLDER = "/usr/src/tensorrt/bin"
WARMUP_MS = 500
LONGEST_SECONDS = 600.0


def trtexec() -> str | None:
    """Path of trtexec; None where it is not on this machine."""
    return shutil.which("trtexec") or shutil.which("trtexec", path=JETPACK_FOLDER)


def options(
    engine_path: str, batch: int, copies: bool, graph: bool, runs: int, times: str
) -> list[str]:
    """Flags of trtexec 8.2 and later.

    >>> options("a.engine", 1, copies=False, graph=True, runs=1000, times="t.json")[-2:]
    ['--noDataTransfers', '--useCudaGraph']
    """
    flags = [
        f"--loadEngine={engine_path}",
        f"--shapes={INPUT}:{batch}x1x80x80",
        f"--warmUp={WARMUP_MS}",
        "--duration=0",
        f"--iterations={runs}",
        "--useSpinWait",
        f"--exportTimes={times}",
    ]
    flags += [] if copies else ["--noDataTransfers"]
    return flags + (["--useCudaGraph"] if graph else [])


def read_times(path: Path, copies: bool) -> NDArray[np.float64]:
    """(runs,) milliseconds from a file of ``--exportTimes``.

    Args:
        copies: take the time with copies to and from the device, else the time of computing.

    Raises:
        InputError: the file has no such times.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        times = np.array([row["latencyMs" if copies else "computeMs"] for row in rows], float)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name}: not a times file of trtexec: {error!r}") from None
    if times.size == 0 or not (times > 0).all():
        raise InputError(f"{path.name}: {times.size} times, not all of them positive")
    return times


def mode_of(
    engine_id: EngineId,
    batch: int,
    copies_and_graph: tuple[bool, bool],
    times: NDArray[np.float64],
    command: str,
) -> Mode:
    """A row of ``modes.json`` from ``times``, (runs,) milliseconds."""
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Mode(
        engine_id.target,
        engine_id.precision,
        batch,
        *copies_and_graph,
        p50,
        p90,
        p99,
        batch / p50 * 1e3,
        times.size,
        command,
    )


def time_engine(
    program: str, engine_path: Path, engine_id: EngineId, batches: Sequence[int], runs: int
) -> list[Mode]:
    """Every mode of an engine.

    Raises:
        InputError: trtexec fails; the message ends with its last output lines.
    """
    modes = []
    with tempfile.TemporaryDirectory(prefix="fpenet-trtexec-") as scratch:
        times = Path(scratch) / "times.json"
        for batch in batches:
            for copies, graph in ((True, False), (True, True), (False, False), (False, True)):
                flags = options(str(engine_path), batch, copies, graph, runs, str(times))
                _run([program, *flags])
                milliseconds = read_times(times, copies)
                times.unlink()
                shown = options(engine_path.name, batch, copies, graph, runs, times.name)
                command = " ".join(["trtexec", *shown])
                modes.append(mode_of(engine_id, batch, (copies, graph), milliseconds, command))
    return modes


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
    )
    if done.returncode != 0:
        last = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise InputError(f"trtexec ended with {done.returncode}: {' '.join(last[-2:])[:400]}")
