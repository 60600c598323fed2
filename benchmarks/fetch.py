"""Labels on S3 to a folder here: ``fpenet fetch``, and boto3's own download_file for comparison.

Both read from one server on loopback, in turn, with as many threads. Ours lists, checks, hashes and
links as well; a second fetch of ours has only the list to get and the files here to hash.

    python -m benchmarks.fetch [LABELS] [--repeats 3] [--save]
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.result_file import run_benchmark
from fpenet.data.sources.s3_labels import fetch_labels
from fpenet.provenance.digest import digest_dataset, files_of
from fpenet.provenance.object_store import CONNECTIONS, s3_client
from tests.s3_server import S3Server, served

MEASURES = ("fpenet.data.sources.s3_labels",)
BUCKET = "bench"
PREFIX = "faces/"


def timed(labels: Path, server: S3Server, into: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, ``repeats`` times in turn."""
    files = files_of(labels)
    names = [path.relative_to(labels).as_posix() for path in files]
    client = s3_client(server.endpoint)
    client.create_bucket(Bucket=BUCKET)
    for name, path in zip(names, files, strict=True):
        client.upload_file(str(path), BUCKET, PREFIX + name)
    digest = digest_dataset(labels)

    def plain() -> Path:
        for folder in {Path(name).parent for name in names}:
            (into / "plain" / folder).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for name in names:
                pool.submit(client.download_file, BUCKET, PREFIX + name, into / "plain" / name)
        return into / "plain"

    def ours() -> Path:
        return fetch_labels(f"s3://{BUCKET}/{PREFIX}", into / "ours", server.endpoint)

    ways: dict[str, Callable[[], Path]] = {"download_file": plain, "fetch": ours, "again": ours}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            start = time.perf_counter()
            folder = run()
            seconds[way].append(time.perf_counter() - start)
            if digest_dataset(folder) != digest:
                raise RuntimeError(f"{way}: other bytes than {labels}")
        shutil.rmtree(into)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a way: median seconds, MB/s, and the ratio to download_file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("labels", nargs="?", type=Path, default=Path("data"))
    parser.add_argument("--repeats", type=int, default=3)
    run_benchmark(parser, measure, arguments)


def measure(options: argparse.Namespace) -> None:
    """Fetch from a server on loopback, each way; print the table."""
    sizes = [path.stat().st_size for path in files_of(options.labels)]
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        os.environ |= server.environment
        seconds = timed(options.labels, server, Path(folder, "into"), options.repeats)
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    print(f"{options.labels}: {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB")
    for way, median in medians.items():
        ratio = median / medians["download_file"]
        print(f"{way:14} {median:6.2f} s {sum(sizes) / 1e6 / median:6.0f} MB/s {ratio:5.2f}x")


if __name__ == "__main__":
    main()
