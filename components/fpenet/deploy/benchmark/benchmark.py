"""Stage benchmark: latency and throughput of every engine that runs on this machine.

Input: crop, train, evaluate and build folders. Does: warm-up, then timed calls from uint8 crops to
points; on a GPU also without copies and with a CUDA graph, TensorRT's by trtexec. Output:
``benchmark.json``, one row a target, precision and batch; ``modes.json``; ``machine.json``, clocks
and throttling before and after; ``benchmark.md``, one table of all engines, those that cannot run
here too.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.store import open_crops
from fpenet.deploy.benchmark.machine_state import machine_state, throttling
from fpenet.deploy.benchmark.trtexec_times import Mode, mode_of, time_engine, trtexec
from fpenet.deploy.engines.runtimes import RUNTIMES
from fpenet.deploy.engines.targets import TARGETS, Pending, target_named
from fpenet.kpi.predictions import Predict
from fpenet.params import BenchmarkParams
from fpenet.provenance.digest import digest_bytes


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


def timed(
    name: tuple[str, str],
    predict: Predict,
    faces: NDArray[np.uint8],
    size: int,
    benchmark: BenchmarkParams,
) -> Timing:
    """The times of one engine at one batch size, after its warm-up."""
    runs = benchmark.timed_runs
    times = time_calls(predict, faces, size, benchmark.warmup_runs, runs)
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Timing(*name, size, p50, p90, p99, size / p50 * 1e3, benchmark.threads, runs)


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
        p50 at batch 1 by engine, which engines were not timed, and what held the machine down.

    Raises:
        InputError: an engine file is not the one that was built, or trtexec refuses it.
    """
    store = open_crops(crop_dir)
    faces = store.images(store.rows(store.judged_part)[:256])
    engines = [
        row
        for row in json.loads((build_dir / "engines.json").read_text(encoding="utf-8"))
        if benchmark.targets is None or row["target"] in benchmark.targets
    ]
    before = machine_state()
    timings: list[Timing] = []
    modes: list[Mode] = []
    absent: list[str] = []
    total = (len(engines) + 1) * len(benchmark.batch_sizes)
    trained, predict = _trained(train_dir, benchmark.threads)
    for index, (row, opened) in enumerate([(trained, predict), *((row, None) for row in engines)]):
        name = row["target"], row["precision"]
        predict = opened or _opened(row, build_dir, benchmark.threads)
        if predict is None:
            absent.append("/".join(name))
            continue
        for number, size in enumerate(sizes_of(row, benchmark.batch_sizes)):
            timings.append(timed(name, predict, faces, size, benchmark))
            done = index * len(benchmark.batch_sizes) + number + 1
            report(done, total, "timings", p50_ms=timings[-1].p50_ms)
        modes += _modes_of(row, train_dir, build_dir, faces, benchmark)
    report(total, total, "timings")
    after = machine_state()
    kpi = json.loads((evaluate_dir / "kpi.json").read_text(encoding="utf-8"))
    rows, own = ([asdict(row) for row in found] for found in (timings, modes))
    _write_json(out_dir / "benchmark.json", rows)
    _write_json(out_dir / "modes.json", own)
    slow = throttling(before, after)
    _write_json(out_dir / "machine.json", {"before": before, "after": after, "held_down": slow})
    text = benchmark_table(engines, kpi, rows, own, trained)
    (out_dir / "benchmark.md").write_text(text, encoding="utf-8")
    return {
        "p50_ms": {f"{t.target}/{t.precision}": t.p50_ms for t in timings if t.batch_size == 1},
        "not_timed": absent,
        "held_down": slow,
        "note": "engines that cannot run on this machine are not timed" if absent else None,
    }


def _trained(train_dir: Path, threads: int) -> tuple[dict[str, Any], Predict | None]:
    """The trained net as a row of ``engines.json``, and ready to run where torch is."""
    row = {
        "target": "torch",
        "precision": "fp32",
        "runtime": "torch",
        "size_bytes": (train_dir / "model.safetensors").stat().st_size,
        "status": "trained",
    }
    if find_spec("torch") is None:
        return row | {"status": "torch is not installed here"}, None
    from fpenet.model.nets.net_times import cpu_predict

    return row, cpu_predict(train_dir, threads)


def sizes_of(row: dict[str, Any], batch_sizes: Sequence[int]) -> list[int]:
    """The batches that an engine takes: TensorRT's no larger ones than its profile has.

    >>> sizes_of({"runtime": "tensorrt", "target": "orin-nx"}, [1, 8, 32])
    [1, 8]
    """
    if row["runtime"] != "tensorrt":
        return list(batch_sizes)
    return [size for size in batch_sizes if size <= target_named(row["target"]).batch[2]]


def _modes_of(
    row: dict[str, Any],
    train_dir: Path,
    build_dir: Path,
    faces: NDArray[np.uint8],
    benchmark: BenchmarkParams,
) -> list[Mode]:
    """With and without copies and CUDA graph, where a GPU is what runs the engine."""
    name = row["target"], row["precision"]
    if row["runtime"] == "torch":
        from fpenet.model.nets.net_times import gpu_times

        how = sizes_of(row, benchmark.batch_sizes), benchmark.warmup_runs, benchmark.timed_runs
        return [
            mode_of((row["target"], "fp16"), size, (copies, graph), times, "torch, CUDA events")
            for size, copies, graph, times in gpu_times(train_dir, faces, *how)
        ]
    program = trtexec()
    if row["runtime"] != "tensorrt" or program is None:
        return []
    sizes = sizes_of(row, benchmark.batch_sizes)
    return time_engine(program, build_dir / row["file"], name, sizes, benchmark.timed_runs)


def _opened(engine: dict[str, Any], build_dir: Path, threads: int) -> Predict | None:
    """The engine, once its file has the digest that was written when it was built."""
    if engine["status"] != "ready":
        return None
    path = build_dir / engine["file"]
    data = path.read_bytes()
    if digest_bytes(data) != engine["sha256"]:
        raise InputError(f"{path}: is not the engine that was built; run the build stage again")
    predict = RUNTIMES[engine["runtime"]].load(data, str(path), threads)
    return None if isinstance(predict, Pending) else predict


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


HEADER = (
    "target",
    "precision",
    "runtime",
    "MB",
    "NME",
    "px of 80",
    "p50, ms",
    "p99, ms",
    "faces/s (batch)",
    "card, ms",
    "card, FPS",
    "status",
)
NOTHING = "–"


def benchmark_table(
    engines: Sequence[Mapping[str, Any]],
    kpi: Mapping[str, Any],
    timings: Sequence[Mapping[str, Any]],
    modes: Sequence[Mapping[str, Any]],
    torch: Mapping[str, Any],
) -> str:
    """The table.

    Args:
        kpi: ``kpi.json`` of the trained net.
        timings: rows of ``benchmark.json``.
        modes: of ``modes.json``; with copies and without a CUDA graph they are what the card timed.
        torch: size and status of the trained net, as a row of ``engines.json``.
    """
    normaliser = kpi["normaliser"]
    lines = [_line(HEADER), "|---" * len(HEADER) + "|"]
    for engine in [dict(torch) | {"metrics": kpi["metrics"]}, *engines]:
        metrics = engine["metrics"] or {}
        nme, px = metrics.get(f"nme_{normaliser}/all"), metrics.get("crop_px/all")
        own = [row for row in timings if _name(row) == _name(engine)]
        own = own or [row for row in modes if _name(row) == _name(engine) and _as_card(row)]
        first = next((row for row in own if row["batch_size"] == 1), None)
        best = max(own, key=lambda row: float(row["faces_per_second"]), default=None)
        target = TARGETS.get(engine["target"])
        card = target.card if target and engine["precision"] == "fp16" else None
        lines.append(
            _line(
                (
                    engine["target"],
                    engine["precision"],
                    engine["runtime"],
                    NOTHING if not engine["size_bytes"] else f"{engine['size_bytes'] / 1e6:.2f}",
                    NOTHING if nme is None else f"{nme:.2%}",
                    NOTHING if px is None else f"{px:.3f}",
                    NOTHING if first is None else f"{first['p50_ms']:.3f}",
                    NOTHING if first is None else f"{first['p99_ms']:.3f}",
                    NOTHING
                    if best is None
                    else f"{best['faces_per_second']:,.0f} ({best['batch_size']})",
                    NOTHING if card is None or not card.latency_ms else f"{card.latency_ms:g}",
                    NOTHING if card is None or not card.fps else f"{card.fps:g}",
                    engine["status"],
                )
            )
        )
    return "\n".join(lines) + "\n"


def _name(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["target"], row["precision"]


def _as_card(row: Mapping[str, Any]) -> bool:
    return bool(row["copies"] and not row["cuda_graph"])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
