"""Stage benchmark: latency and throughput of every engine that runs on this machine.

Input: crop, train, evaluate and build folders. Does: warm-up, then timed calls from uint8 crops to
points; on a GPU also without copies and with a CUDA graph (trtexec times TensorRT engines). Output:
``benchmark.json``, one row for each target, precision and batch; ``modes.json``; ``machine.json``,
clocks and throttling before and after the calls; ``benchmark.md``, one table of all engines,
including engines that cannot run here.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.engine_id import EngineId
from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.store import open_crops
from fpenet.deploy.benchmark.benchmark_table import TimedModel, benchmark_table
from fpenet.deploy.benchmark.machine_state import MACHINE, MachineReport, machine_state, throttling
from fpenet.deploy.benchmark.timings import (
    MODES,
    TIMINGS,
    Mode,
    ModeTable,
    Timing,
    TimingTable,
)
from fpenet.deploy.benchmark.trtexec_times import mode_of, time_engine, trtexec
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineTable
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import Pending
from fpenet.kpi.predictions import Predict
from fpenet.kpi.report import KpiReport
from fpenet.params import BenchmarkParams
from fpenet.provenance.digest import digest_bytes


def time_calls(
    predict: Predict, faces: NDArray[np.uint8], batch_size: int, warmup_runs: int, runs: int
) -> NDArray[np.float64]:
    """(runs,) milliseconds of each call; each call takes the next ``batch_size`` of ``faces``."""
    times = np.empty(runs)
    for run in range(-warmup_runs, runs):
        start = run * batch_size
        batch = faces[np.arange(start, start + batch_size) % len(faces)]
        before = time.perf_counter_ns()
        predict(batch)
        if run >= 0:
            times[run] = (time.perf_counter_ns() - before) / 1e6
    return times


def timed(
    engine_id: EngineId,
    predict: Predict,
    faces: NDArray[np.uint8],
    size: int,
    benchmark: BenchmarkParams,
) -> Timing:
    """The times of one engine at one batch size, after its warm-up."""
    runs = benchmark.timed_runs
    times = time_calls(predict, faces, size, benchmark.warmup_runs, runs)
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Timing(
        engine_id.target,
        engine_id.precision,
        size,
        p50,
        p90,
        p99,
        size / p50 * 1e3,
        benchmark.threads,
        runs,
    )


def benchmark_engines(
    *,
    crop_dir: Path,
    train_dir: Path,
    evaluate_dir: Path,
    build_dir: Path,
    benchmark: BenchmarkParams,
    out_dir: Path,
) -> dict[str, Any]:
    """Time every engine that can run here, and the trained net.

    Returns:
        p50 at batch 1 by engine, the engines that were not timed, and why the machine was slow.

    Raises:
        InputError: the digest of an engine file differs from ``engines.json``, or trtexec fails.
    """
    store = open_crops(crop_dir)
    faces = store.images(store.rows(store.judged_part)[:256])
    models = [
        TimedModel.of_engine(engine)
        for engine in EngineTable.read(build_dir / ENGINES).engines
        if benchmark.targets is None or engine.target in benchmark.targets
    ]
    before = machine_state()
    timings: list[Timing] = []
    modes: list[Mode] = []
    absent: list[str] = []
    total = (len(models) + 1) * len(benchmark.batch_sizes)
    kpi = KpiReport.read(evaluate_dir / "kpi.json")
    trained, torch_predict = _trained(train_dir, kpi.metrics, benchmark.threads)
    for index, model in enumerate([trained, *models]):
        predict = (
            torch_predict
            if model.engine is None
            else _opened(model.engine, build_dir, benchmark.threads)
        )
        if predict is None:
            absent.append(str(model.id))
            continue
        for number, size in enumerate(model.sizes(benchmark.batch_sizes)):
            timings.append(timed(model.id, predict, faces, size, benchmark))
            done = index * len(benchmark.batch_sizes) + number + 1
            report(done, total, "timings", p50_ms=timings[-1].p50_ms)
        modes += _modes_of(model, train_dir, build_dir, faces, benchmark)
    report(total, total, "timings")
    after = machine_state()
    TimingTable(tuple(timings)).write(out_dir / TIMINGS)
    ModeTable(tuple(modes)).write(out_dir / MODES)
    slow = throttling(before, after)
    MachineReport(before, after, tuple(slow)).write(out_dir / MACHINE)
    text = benchmark_table([trained, *models], kpi.normaliser, timings, modes)
    (out_dir / "benchmark.md").write_text(text, encoding="utf-8")
    return {
        "p50_ms": {str(t.id): t.p50_ms for t in timings if t.batch_size == 1},
        "not_timed": absent,
        "held_down": slow,
        "note": "engines that cannot run on this machine are not timed" if absent else None,
    }


def _trained(
    train_dir: Path, metrics: Mapping[str, float | None], threads: int
) -> tuple[TimedModel, Predict | None]:
    """The trained net as a row of the table, and its predict function where torch is installed."""
    size = (train_dir / "model.safetensors").stat().st_size
    row = TimedModel(EngineId("torch", "fp32"), "torch", "trained", size, metrics)
    if find_spec("torch") is None:
        return replace(row, status="torch is not installed here"), None
    from fpenet.model.nets.net_times import cpu_predict

    return row, cpu_predict(train_dir, threads)


def _modes_of(
    model: TimedModel,
    train_dir: Path,
    build_dir: Path,
    faces: NDArray[np.uint8],
    benchmark: BenchmarkParams,
) -> list[Mode]:
    """Times with and without copies and CUDA graph; empty for an engine that needs no GPU."""
    sizes, runs = model.sizes(benchmark.batch_sizes), benchmark.timed_runs
    engine = model.engine
    if engine is None:
        from fpenet.model.nets.net_times import gpu_times

        fp16 = EngineId(model.id.target, "fp16")
        return [
            mode_of(fp16, size, (copies, graph), times, "torch, CUDA events")
            for size, copies, graph, times in gpu_times(
                train_dir, faces, sizes, benchmark.warmup_runs, runs
            )
        ]
    program = trtexec()
    if not RUNTIMES[engine.runtime].trtexec or program is None or engine.file is None:
        return []
    return time_engine(program, build_dir / engine.file, engine.id, sizes, runs)


def _opened(engine: Engine, build_dir: Path, threads: int) -> Predict | None:
    """The predict function of an engine whose digest is that of ``engines.json``.

    None where the engine cannot run here.
    """
    if not engine.ready or engine.file is None:
        return None
    path = build_dir / engine.file
    engine_bytes = path.read_bytes()
    if digest_bytes(engine_bytes) != engine.sha256:
        raise InputError(
            f"{path}: its digest is not that of engines.json; run the build stage again"
        )
    predict = RUNTIMES[engine.runtime].load(engine_bytes, str(path), threads)
    return None if isinstance(predict, Pending) else predict
