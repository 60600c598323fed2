"""How fast faces are rendered, how that grows with processes, and beside writing the PNGs alone.

Each round, in the same run: the same data set from one process and from two, and the images of it
encoded and written again by one process, which no renderer can undercut. Medians of the rounds;
the start of the processes counts.

    python -m benchmarks.synthetic_speed [--subjects 20] [--faces 10] [--rounds 3] [--save]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result_file import run_benchmark
from fpenet.data.images import read_grey
from synthface import render_dataset
from synthface.png import encode_png

MEASURES = ("synthface.dataset",)
WORKERS = {"one process": 1, "two processes": 2}


def rendered(folder: Path, workers: int, subjects: int, faces: int) -> float:
    """Seconds to render a data set into the new ``folder``."""
    folder.mkdir()
    began = time.perf_counter()
    render_dataset(folder, seed=35, subjects=subjects, faces_per_subject=faces, workers=workers)
    return time.perf_counter() - began


def written(images: Sequence[Path]) -> float:
    """Seconds to encode and write ``images``, which are read before."""
    total = 0.0
    for path in images:
        image = read_grey(path)
        began = time.perf_counter()
        path.with_suffix(".again").write_bytes(encode_png(image))
        total += time.perf_counter() - began
    return total


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--subjects", type=int, default=20, help="beside the 23 KPI subjects")
    parser.add_argument("--faces", type=int, default=10, help="of each subject")
    parser.add_argument("--rounds", type=int, default=3)
    run_benchmark(parser, measure, arguments)


def measure(options: argparse.Namespace) -> None:
    """Render in rounds; print the table."""
    count = (options.subjects + 23) * options.faces
    seconds: dict[str, list[float]] = {way: [] for way in (*WORKERS, "PNG alone")}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            for way, workers in WORKERS.items():
                folder = Path(name, way)
                seconds[way].append(rendered(folder, workers, options.subjects, options.faces))
            seconds["PNG alone"].append(written(sorted(folder.rglob("*.png"))))
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    print(f"{count} images of 640x480, medians of {options.rounds} rounds")
    one = medians["one process"]
    for way, median in medians.items():
        print(f"{way:14}{median:7.1f} s{count / median:8.1f} images/s{one / median:7.2f}x")


if __name__ == "__main__":
    main()
