"""How the crop stage grows, and what it costs beside decoding: 1k, 10k and 100k faces.

The faces of a labelled set, over and over under names of their own (hard links). In the same run
the same images are only decoded, by as many processes of the same kind; the crop stage's rate is
a share of that rate. Each row runs in a process of its own, whose largest resident memory
is printed, and that of its largest worker.

    python -m benchmarks.crops [LABELS] [--faces 1000 10000] [--save]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyarrow as pa

from benchmarks.result_file import run_benchmark
from fpenet.core.child_process import start_process
from fpenet.data.crops.crop_faces import crop_faces
from fpenet.data.images import place_image, read_grey
from fpenet.data.readers import read_labels
from fpenet.data.sample import FaceSample, table_of, write_table
from fpenet.params import Params, load_params

MEASURES = ("fpenet.data.crops.crop_faces",)
ALL = 1_250_000
"""Faces that the model card trained on."""
_BATCH = 512
_DECODED = 20_480  # images that are only decoded


def repeat(count: int, params: Params, folder: Path) -> None:
    """Write validate/ and split/ of ``count`` faces, a tenth of them judged."""
    labelled = read_labels(Path(params.data.labels), params.data)
    given = labelled.samples
    samples = []
    for number in range(count):
        one = given[number % len(given)]
        image = f"images/{number // 1000:04d}/{number:07d}{Path(one.image).suffix}"
        place_image(labelled.root / one.image, folder / image)
        samples.append(
            FaceSample(image, one.image_size, one.face_box, one.points, one.visible, 0, one.subject)
        )
    for name in ("validate", "split"):
        (folder / name).mkdir()
    write_table(
        table_of(samples),
        folder / "validate/samples.parquet",
        name="repeated",
        root=str(folder),
        num_keypoints=str(labelled.num_keypoints),
    )
    parts = ["train" if number % 10 else "kpi" for number in range(count)]
    images = [sample.image for sample in samples]
    write_table(pa.table({"image": images, "part": parts}), folder / "split/parts.parquet")
    (folder / "images.txt").write_text("\n".join(images))


def decode(folder: str, first: str, step: str) -> None:
    """Run in a process: after a line of input, decode every ``step``-th batch of the images."""
    images = (Path(folder) / "images.txt").read_text().split("\n")[:_DECODED]
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(int(first) * _BATCH, len(images), int(step) * _BATCH):
        for image in images[start : start + _BATCH]:
            read_grey(Path(folder) / image)
    print("done", flush=True)


def decode_only(folder: Path) -> float:
    """Seconds to decode the first images, with as many processes as the crop stage has."""
    count = len(os.sched_getaffinity(0))
    entry = "benchmarks.crops:decode"
    processes = [start_process(entry, str(folder), str(n), str(count)) for n in range(count)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        print("go", file=process.stdin, flush=True)
    for process in processes:
        process.communicate()
    return time.perf_counter() - began


def peak_mb(pid: int) -> float:
    """Largest resident memory of a process so far; rusage would count its parent's before exec."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0  # a process that has ended


@contextmanager
def watched_children() -> Iterator[list[float]]:
    """The largest resident memory of any child of this process, while it runs."""
    most, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            for child in psutil.Process().children():
                with suppress(OSError):
                    most[0] = max(most[0], peak_mb(child.pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def measure_one(count: int, labels: str, folder: Path) -> None:
    """Print the numbers of one size as JSON."""
    params = load_params(Path("params.yaml"), None, {"data.labels": labels})
    out_dir = folder / "crop"
    out_dir.mkdir()
    before = decode_only(folder)
    began = time.perf_counter()
    with watched_children() as worker:
        crop_faces(
            validate_dir=folder / "validate",
            split_dir=folder / "split",
            crop=params.crop,
            out_dir=out_dir,
        )
    seconds = time.perf_counter() - began
    after = decode_only(folder)  # once more, for what else the machine does changes
    said = {
        "rate": count / seconds,
        "decode_rate": min(count, _DECODED) / ((before + after) / 2),
        "parent_mb": peak_mb(os.getpid()),
        "worker_mb": worker[0],
    }
    print(json.dumps(said))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="?", default="data")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    run_benchmark(parser, measure, arguments)


def measure(options: argparse.Namespace) -> None:
    """Measure each size in a process of its own; print the table."""
    if options.one:
        measure_one(options.faces[0], options.labels, options.one)
        return
    print(
        f"crops of {options.labels}, {len(os.sched_getaffinity(0))} processes\n"
        f"{'faces':>8}{'crop':>10}{'faces/s':>9}{'decode only':>17}{'share':>8}"
        f"{'parent':>10}{'worker':>10}{f'for {ALL:,}':>16}"
    )
    for count in options.faces:
        place = Path(options.labels).resolve().parent  # hard links need the same file system
        with tempfile.TemporaryDirectory(prefix=".bench-crops-", dir=_writable(place)) as name:
            params = load_params(Path("params.yaml"), None, {"data.labels": options.labels})
            repeat(count, params, Path(name))
            command = [sys.executable, "-m", "benchmarks.crops", options.labels]
            command += ["--faces", str(count), "--one", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        said = json.loads(done.stdout.splitlines()[-1])
        rate, decode_rate = said["rate"], said["decode_rate"]
        print(
            f"{count:>8}{count / rate:>8.1f} s{rate:>9.0f}{decode_rate:>15.0f}/s"
            f"{rate / decode_rate:>8.0%}{said['parent_mb']:>7.0f} MB"
            f"{said['worker_mb']:>7.0f} MB{ALL / rate / 60:>12.0f} min",
            flush=True,
        )


def _writable(place: Path) -> Path | None:
    return place if os.access(place, os.W_OK) else None


if __name__ == "__main__":
    main()
