"""What judging costs: the KPI of 10,000 faces, its intervals, and an engine's evaluation.

The predictions of the first table are given. In the second one a fresh ``small`` net runs in ONNX
Runtime, in rounds: bare, batch after batch of crops that lie in memory; through the pass of the
judge, from the crop store's file; and through the whole evaluation (KPI, intervals, slices,
robustness, trembling). A rate is faces that the engine was shown over wall time, printed as a
share of the bare one; the seconds of the first table, as a share of the whole report's.

    python -m benchmarks.kpi [--faces 10000] [--engine-faces 2000] [--rounds 3] [--save]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.result_file import run_benchmark
from fpenet.data.crops.store import CropStore
from fpenet.data.sample import fixed_lists
from fpenet.deploy.engines.onnxruntime_engine import open_engine
from fpenet.deploy.onnx.export import export_onnx
from fpenet.keypoints import scheme_for
from fpenet.kpi.bootstrap import Resamples
from fpenet.kpi.evaluate import errors_of, evaluate_model, judge
from fpenet.kpi.metric_table import metric_table
from fpenet.kpi.metrics import regions_of
from fpenet.kpi.predictions import Predict, Predictions, predict_all, predict_judged
from fpenet.model.checkpoint import fold, save_net
from fpenet.model.nets.net_description import NetDescription
from fpenet.model.nets.recombinator import build_net
from fpenet.params import ExportParams, load_params

MEASURES = ("fpenet.kpi.evaluate",)
KEYPOINTS = 68
FACES_A_PERSON = 10


def crops_of(count: int, folder: Path) -> CropStore:
    """A store of ``count`` judged faces of noise, with Multi-PIE's attributes; crops on disk."""
    chance = np.random.default_rng(0)
    points = chance.uniform(10, 70, (count, KEYPOINTS, 2))
    side = chance.uniform(100, 300, count)
    number = np.arange(count)
    crops = np.lib.format.open_memmap(
        folder / "crops.npy", "w+", dtype=np.uint8, shape=(count, 112, 112)
    )
    crops[:] = chance.integers(0, 256, crops.shape, dtype=np.uint8)
    crops.flush()
    table = pa.table(
        {
            "points": fixed_lists(
                ((points - 39.5) * (side / 80)[:, None, None]).reshape(count, -1)
            ),
            "subject": [f"{n // FACES_A_PERSON:05d}" for n in number],
            "part": ["kpi"] * count,
            "side": side,
            "box_width": side / 1.2,
            "box_height": side / 1.2,
            "occlusion_level": pa.array(chance.integers(0, 6, count), pa.int8()),
            "attr_yaw": chance.integers(-6, 7, count) * 15.0,
            "attr_illumination": [f"{n % 20:02d}" for n in chance.integers(0, 20, count)],
            "attr_expression": [("neutral", "smile", "scream")[n % 3] for n in number],
            "attr_session": [f"{n % 4}" for n in number],
        }
    )
    center = np.zeros(count)
    return CropStore(
        np.load(folder / "crops.npy", mmap_mode="r"),
        table,
        (points + 16).astype(np.float32),
        chance.random((count, KEYPOINTS)) < 0.9,
        chance.integers(0, 256, (count, 80, 80), dtype=np.uint8),
        pa.table({"row": number, "center_x": center, "center_y": center, "side": side * 0.9}),
        "multi_pie",
        1.2,
    )


def guesses(store: CropStore) -> Predictions:
    """Predictions some pixels off, without an engine."""
    chance = np.random.default_rng(1)
    rows = store.rows("kpi")
    points, tight = store.points_crop(rows), store.tight_faces().points_crop
    off, tight_off = (chance.normal(0, 2, points.shape).astype(np.float32) for _ in range(2))
    confidence = chance.random(points.shape[:2]).astype(np.float32)
    return Predictions(points + off, confidence, tight + tight_off, rows, "0" * 64)


def engine_of(folder: Path, export: ExportParams) -> Predict:
    """A fresh ``small`` net as the CPU target runs it."""
    (folder / "train").mkdir()
    (folder / "export").mkdir()
    torch.manual_seed(0)
    net = fold(build_net("small", KEYPOINTS, batch_norm=True), "small", KEYPOINTS)
    about = NetDescription("small", KEYPOINTS, dataset="noise", box_scale=1.2)
    save_net(net, about, folder / "train")
    export_onnx(train_dir=folder / "train", export=export, out_dir=folder / "export")
    return open_engine(folder / "export/opset17/fp32_cpu.onnx")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=10_000)
    parser.add_argument("--engine-faces", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Time the judge alone and with an engine; print both tables."""
    params = load_params(Path("params.yaml"), None, {"export.opsets": [17]})
    how = params.evaluate
    regions = regions_of(scheme_for(KEYPOINTS), how)
    with tempfile.TemporaryDirectory() as name:
        store = crops_of(options.faces, Path(name))
        found = guesses(store)
        cells = metric_table(errors_of(store, found), regions)
        people = store.subjects(found.rows)
        slices = len(judge(store, found, how).slices)
        works: dict[str, Callable[[], object]] = {
            "every number, predictions given": lambda: metric_table(
                errors_of(store, found), regions
            ).means(),
            f"their intervals, {how.interval.resamples} resamples": lambda: Resamples.of(
                people, how.interval
            ).intervals(cells),
            f"the whole report, with {slices} slices and their intervals": lambda: judge(
                store, found, how, 4.0
            ),
        }
        print(
            f"{options.faces} faces of {len(set(people))} people, {KEYPOINTS} keypoints, two crops,"
            f" {len(cells.metrics)} metrics"
        )
        took = {
            words: statistics.median(seconds(work) for _ in range(options.rounds))
            for words, work in works.items()
        }
        whole = list(took.values())[-1]
        for words, taken in took.items():
            print(f"  {words:<58}{taken:>7.2f} s{taken / whole:>7.0%}")

    with tempfile.TemporaryDirectory() as name:
        store = crops_of(options.engine_faces, Path(name))
        engine = engine_of(Path(name), params.export)
        images = np.concatenate([store.images(store.rows("kpi")), store.tight_faces().images])
        shown = 0

        def counted(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal shown
            shown += len(batch)
            return engine(batch)

        works = {
            "bare": lambda: predict_all(counted, images, how.batch_size),
            "the judge's pass": lambda: predict_judged(counted, store, how.batch_size),
            "the whole evaluation": lambda: evaluate_model(counted, store, how, 4.0),
        }
        rates: dict[str, list[float]] = {words: [] for words in works}
        for _ in range(options.rounds):
            for words, work in works.items():
                shown = 0
                taken = seconds(work)
                rates[words].append(shown / taken)
    print(f"\n{options.engine_faces} faces, `small` in ONNX Runtime, batch {how.batch_size}")
    median = {words: statistics.median(own) for words, own in rates.items()}
    for words, rate in median.items():
        print(f"  {words:<30}{rate:>7.0f} faces/s{rate / median['bare']:>7.0%}")


if __name__ == "__main__":
    main()
