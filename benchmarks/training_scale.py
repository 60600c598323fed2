"""How a training grows with its faces: seconds and memory of one epoch of 1k, 4k and 16k faces.

The faces are those of the embedded set, again and again, in a crop store on disk. Each size trains
in a process of its own. Memory is the largest private memory that was seen: the pages of the crop
store, which the system takes back when it needs them, do not count. A face's time is printed as
a ratio to that of the first size.

    python -m benchmarks.training_scale [--net nano] [--faces 1000 4000 16000] [--save]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.result_file import run_benchmark
from benchmarks.training import embedded_crops
from fpenet.data.crops.store import CropStore
from fpenet.model.train import train_on
from fpenet.params import load_params

MEASURES = ("fpenet.model.train",)


def private_mb() -> float:
    """Private memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise ValueError("/proc/self/status has no RssAnon: this needs Linux 4.5 or newer")


def grown(store: CropStore, count: int, folder: Path) -> CropStore:
    """``count`` faces to train on, memory-mapped; nobody is watched."""
    rows = np.resize(store.rows("train"), count)
    crops = np.lib.format.open_memmap(
        folder / "crops.npy", "w+", np.uint8, (count, *store.crops.shape[1:])
    )
    for first in range(0, count, 1000):
        crops[first : first + 1000] = store.crops[rows[first : first + 1000]]
    crops.flush()
    return replace(
        store,
        crops=np.lib.format.open_memmap(folder / "crops.npy", "r"),
        table=store.table.take(pa.array(rows)),
        points_margin=store.points_margin[rows],
        visibility=store.visibility[rows],
    )


def measure_one(net: str, count: int) -> None:
    """Print seconds and memory of one size as JSON."""
    overrides = {"train.net": net, "train.epochs": 1, "train.max_minutes": 1000.0}
    params = load_params(Path("params.yaml"), None, overrides)
    most, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            most = max(most, private_mb())

    with tempfile.TemporaryDirectory() as scratch:
        store = grown(embedded_crops(params), count, Path(scratch))
        threading.Thread(target=watch, daemon=True).start()
        began = time.perf_counter()
        train_on(store, params.train, Path(scratch))
        seconds = time.perf_counter() - began
        ended.set()
    print(json.dumps({"seconds": seconds, "memory_mb": most}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="nano")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Train each size in a process of its own; print the table."""
    if options.measure:
        measure_one(options.net, options.measure)
        return
    print(f"one epoch of {options.net}")
    print(f"{'faces':>8}{'epoch':>11}{'a face':>13}{'of the first':>14}{'memory':>13}")
    command = [sys.executable, "-m", "benchmarks.training_scale", "--net", options.net]
    first = 0.0
    for count in options.faces:
        words = [*command, "--measure", str(count)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        face_ms = 1e3 * found["seconds"] / count
        first = first or face_ms
        print(
            f"{count:>8}{found['seconds']:>9.1f} s{face_ms:>10.2f} ms{face_ms / first:>13.2f}x"
            f"{found['memory_mb']:>10.0f} MB"
        )


if __name__ == "__main__":
    main()
