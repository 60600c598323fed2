"""The child process that queries one engine: whatever the engine does, it does to this alone.

Standard input: a line of JSON, the crops, the engine. Standard output: float32 points, then
confidence. It has no credentials, writes no file, and ends when it takes too much memory or time.
"""

import json
import math
import os
import resource
import sys
from typing import Any, BinaryIO

import numpy as np

CANNOT_RUN = 3
"""Exit status when the engine cannot run on this machine; standard output then says why."""
_SIDE = 80


def main() -> None:
    """Answer the request on standard input."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints is no part of the answer
    request = json.loads(sys.stdin.buffer.readline())
    crops = np.frombuffer(sys.stdin.buffer.read(request["crops"] * _SIDE * _SIDE), np.uint8)
    engine = sys.stdin.buffer.read()
    _limit(request)
    try:
        _answer(request, crops.reshape(-1, 1, _SIDE, _SIDE), engine, answer)
    except (ValueError, MemoryError) as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _limit(request: dict[str, Any]) -> None:
    """No more memory or time than is granted, no file, no core dump."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CPU: math.ceil(request["seconds"]),
    }
    if request["memory_mb"] is not None:
        limits[resource.RLIMIT_AS] = request["memory_mb"] << 20
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def _answer(request: dict[str, Any], crops: Any, engine: bytes, answer: BinaryIO) -> None:
    from components.deploy.engine import RUNTIMES
    from components.deploy.targets import Pending
    from components.kpi.predictions import predict_all

    runtime: Any = request["runtime"]
    predict = RUNTIMES[runtime].load(engine, request["source"], 1)
    if isinstance(predict, Pending):
        answer.write(predict.reason.encode())
        answer.close()
        sys.exit(CANNOT_RUN)
    for said in predict_all(predict, crops, request["batch"]):
        answer.write(np.ascontiguousarray(said, np.float32).tobytes())
    answer.close()
