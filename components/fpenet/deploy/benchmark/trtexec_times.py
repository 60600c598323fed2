"""How long an engine takes on its own device, as NVIDIA's trtexec measures it.

Input: an engine file. Does: one trtexec run a batch, with and without copies, with and without a
CUDA graph. Output: percentiles of its own times, and the command line, which says how they came to
be: the model card's numbers are trtexec's, batch 1, FP16, at a Jetson's MAX-N.
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

WHERE_JETPACK_PUTS_IT = "/usr/src/tensorrt/bin"
WARMUP_MS = 500
LONGEST_SECONDS = 600.0


def trtexec() -> str | None:
    """Where trtexec is; None where it is not on this machine."""
    return shutil.which("trtexec") or shutil.which("trtexec", path=WHERE_JETPACK_PUTS_IT)


def options(engine: str, batch: int, copies: bool, graph: bool, runs: int, times: str) -> list[str]:
    """Flags of trtexec 8.2 and later.

    >>> options("a.engine", 1, copies=False, graph=True, runs=1000, times="t.json")[-2:]
    ['--noDataTransfers', '--useCudaGraph']
    """
    found = [
        f"--loadEngine={engine}",
        f"--shapes={INPUT}:{batch}x1x80x80",
        f"--warmUp={WARMUP_MS}",
        "--duration=0",
        f"--iterations={runs}",
        "--useSpinWait",
        f"--exportTimes={times}",
    ]
    found += [] if copies else ["--noDataTransfers"]
    return found + (["--useCudaGraph"] if graph else [])


def read_times(path: Path, copies: bool) -> NDArray[np.float64]:
    """(runs,) milliseconds out of ``--exportTimes``: of a face's way with copies, or of computing.

    Raises:
        InputError: the file has no such times.
    """
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        times = np.array([row["latencyMs" if copies else "computeMs"] for row in rows], float)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name}: not the times of trtexec: {error!r}") from None
    if times.size == 0 or not (times > 0).all():
        raise InputError(f"{path.name}: {times.size} times, not all of them positive")
    return times


def mode_of(
    engine: EngineId,
    batch: int,
    copies_and_graph: tuple[bool, bool],
    times: NDArray[np.float64],
    command: str,
) -> Mode:
    """The percentiles of (runs,) milliseconds."""
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Mode(
        engine.target,
        engine.precision,
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
    program: str, engine: Path, engine_id: EngineId, batches: Sequence[int], runs: int
) -> list[Mode]:
    """Every mode of an engine.

    Raises:
        InputError: trtexec refuses, with its last words.
    """
    modes = []
    with tempfile.TemporaryDirectory(prefix="fpenet-trtexec-") as scratch:
        times = Path(scratch) / "times.json"
        for batch in batches:
            for copies, graph in ((True, False), (True, True), (False, False), (False, True)):
                flags = options(str(engine), batch, copies, graph, runs, str(times))
                _run([program, *flags])
                found = read_times(times, copies)
                times.unlink()
                said = options(engine.name, batch, copies, graph, runs, times.name)
                command = " ".join(["trtexec", *said])
                modes.append(mode_of(engine_id, batch, (copies, graph), found, command))
    return modes


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
    )
    if done.returncode != 0:
        last = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise InputError(f"trtexec ended with {done.returncode}: {' '.join(last[-2:])[:400]}")
