"""Shards: decode and crop in several processes; the bytes do not depend on their number.

Input: ``faces.parquet``, a row group a shard, and ``tight.parquet``. Does: each shard is decoded,
cut and written at its place in ``crops.npy`` and ``tight.npy``; then it is logged with its digest.
Output: the two arrays. A run that was killed goes on: a logged shard whose bytes are still those of
its digest is not made again. Files are written, not mapped, so that resident memory stays flat.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fpenet.core.child_process import start_process
from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.data.crops.geometry import CropBox, Grey, cut
from fpenet.data.crops.store import CROP_PX
from fpenet.data.images import read_grey
from fpenet.data.rejected import Refusal
from fpenet.data.sample import numbers_of, read_table

LOG = "shards.jsonl"
LONGEST_SHARD_SECONDS = 1800.0
"""Within which the next shard must come; a slow disk needs seconds."""
_BOX = ["center_x", "center_y", "side"]


@dataclass(frozen=True)
class Shards:
    """The shards of a crop folder whose tables are written."""

    crop_dir: Path
    root: Path

    @cached_property
    def faces(self) -> pq.ParquetFile:
        """One row group a shard."""
        return pq.ParquetFile(self.crop_dir / "faces.parquet", pre_buffer=False)

    @cached_property
    def tight(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(M,) rows of the faces with a tight crop, ascending, and (M, 3) its box."""
        table = read_table(self.crop_dir / "tight.parquet")[0]
        boxes = np.stack([numbers_of(table, name) for name in _BOX], axis=1)
        return numbers_of(table, "row"), boxes

    def __len__(self) -> int:
        return int(self.faces.num_row_groups)

    def rows(self, shard: int) -> range:
        """The faces of a shard."""
        groups = self.faces.metadata
        start = shard * groups.row_group(0).num_rows  # only the last may have fewer
        return range(start, start + groups.row_group(shard).num_rows)

    def make(self, shard: int) -> str:
        """Decode, cut and write one shard; returns the digest of its bytes.

        Raises:
            InputError: naming the image that cannot be used.
        """
        rows = self.rows(shard)
        table = self.faces.read_row_group(shard, columns=["image", *_BOX])
        boxes = np.stack([numbers_of(table, name) for name in _BOX], axis=1)
        places, tight_boxes = self.tight
        first, last = np.searchsorted(places, (rows.start, rows.stop))
        px = _open(self.crop_dir / "crops.npy").shape[1]
        margins = np.empty((len(rows), px, px), np.uint8)
        tights = np.empty((last - first, CROP_PX, CROP_PX), np.uint8)
        next_tight = first
        for index, image in enumerate(table["image"].to_pylist()):
            try:
                grey = read_grey(self.root / image)
            except Refusal as refusal:
                raise InputError(f"{self.root / image}: {refusal.detail}") from None
            x, y, side = boxes[index].tolist()
            margins[index] = cut(grey, CropBox(x, y, side * px / CROP_PX), px)
            if next_tight < last and places[next_tight] == rows.start + index:
                tight = CropBox(*tight_boxes[next_tight].tolist())
                tights[next_tight - first] = cut(grey, tight, CROP_PX)
                next_tight += 1
        _write(self.crop_dir / "crops.npy", rows.start, margins)
        _write(self.crop_dir / "tight.npy", int(first), tights)
        return _digest(margins, tights)

    def written(self, shard: int) -> str:
        """The digest of the bytes that lie at a shard's place."""
        rows = self.rows(shard)
        first, last = np.searchsorted(self.tight[0], (rows.start, rows.stop))
        margins = _open(self.crop_dir / "crops.npy")[rows.start : rows.stop]
        return _digest(margins, _open(self.crop_dir / "tight.npy")[first:last])


def allocate(path: Path, count: int, px: int) -> None:
    """Create a ``.npy`` file of ``count`` grey squares, unless it exists."""
    if not path.exists():
        unfinished = path.with_name(path.name + ".new")  # a run killed here leaves no short file
        np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(count, px, px))
        unfinished.replace(path)


def fill_store(crop_dir: Path, root: Path, workers: int | None = None) -> None:
    """Make every shard of ``crop_dir`` that is not there yet; the log ends in their order.

    Args:
        root: the folder of the images.
        workers: number of processes; None: one for each processor that this process may use.

    Raises:
        InputError: naming the first image that cannot be used; finished shards stay.
        TimeoutError: no process made a shard within LONGEST_SHARD_SECONDS; as above.
    """
    shards = Shards(crop_dir, root)
    log = crop_dir / LOG
    kept = {n: digest for n, digest in _logged(log) if shards.written(n) == digest}
    _rewrite(log, kept)
    done = kept.keys()
    todo = [shard for shard in range(len(shards)) if shard not in done]
    finished = sum(len(shards.rows(shard)) for shard in done)
    count = min(workers or len(os.sched_getaffinity(0)), len(todo))
    made = _made_here(shards, todo) if count <= 1 else _made_by_processes(shards, todo, count)
    with log.open("a", encoding="utf-8") as lines, closing(made):
        for shard, digest in made:
            lines.write(json.dumps([shard, digest]) + "\n")
            lines.flush()
            finished += len(shards.rows(shard))
            report(finished, shards.faces.metadata.num_rows, "faces")
    _rewrite(log, dict(sorted(_logged(log))))


Made = Generator[tuple[int, str], None, None]


def _made_here(shards: Shards, todo: Sequence[int]) -> Made:
    for shard in todo:
        yield shard, shards.make(shard)


def _made_by_processes(shards: Shards, todo: Sequence[int], count: int) -> Made:
    """Shard and digest as they are made; each process has one shard at a time."""
    left, lock = iter(todo), threading.Lock()
    results: SimpleQueue[tuple[int, str] | Exception] = SimpleQueue()
    folders = (str(shards.crop_dir.resolve()), str(shards.root))

    def feed(process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            with lock:
                shard = next(left, None)
            if shard is None:
                return
            try:
                print(shard, file=process.stdin, flush=True)
                answer = json.loads(process.stdout.readline() or "null")
            except BrokenPipeError:
                answer = None
            if answer is None:
                status = process.wait()
                results.put(RuntimeError(f"a process that cuts crops ended with status {status}"))
                return
            if "error" in answer:
                results.put(InputError(answer["error"]))
                return
            results.put((shard, answer["digest"]))

    with ExitStack() as stack:
        for _ in range(count):
            process = start_process("fpenet.data.crops.shards:serve", *folders)
            stack.callback(_end, process)
            threading.Thread(target=feed, args=(process,), daemon=True).start()
        for _ in todo:
            try:
                result = results.get(timeout=LONGEST_SHARD_SECONDS)
            except Empty:
                raise TimeoutError(
                    f"{shards.crop_dir}: no crops came within {LONGEST_SHARD_SECONDS:g} s;"
                    " finished parts are kept, and the same command resumes the run"
                ) from None
            if isinstance(result, Exception):
                raise result
            yield result


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def serve(crop_dir: str, root: str) -> None:
    """Entry point of a worker process: make each shard whose number is a line of stdin."""
    shards = Shards(Path(crop_dir), Path(root))
    for line in sys.stdin:
        try:
            answer = {"digest": shards.make(int(line))}
        except InputError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


def _logged(log: Path) -> Iterator[tuple[int, str]]:
    """Shard and digest of each line of the log; truncated lines are skipped."""
    if not log.exists():
        return
    for line in log.read_bytes().split(b"\n"):
        with suppress(ValueError):
            shard, digest = json.loads(line)
            yield shard, digest


def _rewrite(log: Path, digests: Mapping[int, str]) -> None:
    """Rewrite the log without truncated or wrong lines, so that the next line starts cleanly."""
    fresh = log.with_name(log.name + ".new")
    lines = [json.dumps([shard, digest]) + "\n" for shard, digest in digests.items()]
    fresh.write_text("".join(lines), "utf-8")
    fresh.replace(log)


def _open(path: Path) -> Grey:
    squares: Grey = np.load(path, mmap_mode="r", allow_pickle=False)
    return squares


def _write(path: Path, place: int, squares: Grey) -> None:
    """Write ``squares`` from the index ``place`` of the array on."""
    array = _open(path)
    offset = array.offset + place * int(np.prod(array.shape[1:]))  # type: ignore[attr-defined]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(squares.data)


def _digest(*arrays: Grey) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
