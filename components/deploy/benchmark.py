"""Stage benchmark: latency and throughput of every engine that runs on this machine.

Input: crop and build folders. Does: warm-up, then timed calls from uint8 crops to points. Output:
``benchmark.json``, one row a target, precision and batch; engines that cannot run here are absent.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.crop_store import open_crops
from components.deploy.engine import RUNTIMES
from components.deploy.targets import Pending
from components.kpi.predictions import Predict
from components.params import BenchmarkParams
from components.progress import report
from components.provenance.digest import digest_bytes

FEWEST_RUNS = 50
"""Of a batch larger than 1, which is timed on as many faces as batch 1 but at least this often."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One engine at one batch size: percentiles of a call's time, and faces a second at p50."""

    target: str
    precision: str
    batch_size: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    faces_per_second: float
    threads: int
    runs: int


def time_calls(
    predict: Predict, faces: NDArray[np.uint8], batch_size: int, warmup_runs: int, runs: int
) -> NDArray[np.float64]:
    """(runs,) milliseconds of each call on ``batch_size`` faces, taken in turn from ``faces``."""
    times = np.empty(runs)
    for run in range(-warmup_runs, runs):
        start = run * batch_size
        batch = faces[np.arange(start, start + batch_size) % len(faces)]
        before = time.perf_counter_ns()
        predict(batch)
        if run >= 0:
            times[run] = (time.perf_counter_ns() - before) / 1e6
    return times


def benchmark_engines(
    *, crop_dir: Path, build_dir: Path, benchmark: BenchmarkParams, out_dir: Path
) -> dict[str, Any]:
    """Time every engine that can run here.

    Returns:
        p50 at batch 1 by engine, and which engines were not timed.

    Raises:
        ValueError: an engine file is not the one that was built.
    """
    store = open_crops(crop_dir)
    faces = store.images(store.rows(store.judged_part)[:256])
    engines = json.loads((build_dir / "engines.json").read_text(encoding="utf-8"))
    timings: list[Timing] = []
    absent: list[str] = []
    total = len(engines) * len(benchmark.batch_sizes)
    for index, engine in enumerate(engines):
        predict = _opened(engine, build_dir, benchmark.threads)
        if predict is None:
            absent.append(f"{engine['target']}/{engine['precision']}")
            continue
        for number, size in enumerate(benchmark.batch_sizes):
            runs = benchmark.timed_runs
            if size > 1:
                runs = min(runs, max(FEWEST_RUNS, runs // size))
            times = time_calls(predict, faces, size, min(benchmark.warmup_runs, runs), runs)
            p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
            timings.append(
                Timing(
                    engine["target"], engine["precision"], size, p50, p90, p99,
                    size / p50 * 1e3, benchmark.threads, runs,
                )
            )  # fmt: skip
            report(index * len(benchmark.batch_sizes) + number + 1, total, "timings", p50_ms=p50)
    report(total, total, "timings")
    text = json.dumps([asdict(timing) for timing in timings], indent=1, allow_nan=False)
    (out_dir / "benchmark.json").write_text(text + "\n", encoding="utf-8")
    return {
        "p50_ms": {f"{t.target}/{t.precision}": t.p50_ms for t in timings if t.batch_size == 1},
        "not_timed": absent,
        "note": "engines that cannot run on this machine are not timed" if absent else None,
    }


def _opened(engine: dict[str, Any], build_dir: Path, threads: int) -> Predict | None:
    """The engine, once its file has the digest that was written when it was built."""
    if engine["status"] != "ready":
        return None
    path = build_dir / engine["file"]
    data = path.read_bytes()
    if digest_bytes(data) != engine["sha256"]:
        raise ValueError(f"{path}: is not the engine that was built; run the build stage again")
    predict = RUNTIMES[engine["runtime"]].load(data, str(path), threads)
    return None if isinstance(predict, Pending) else predict
