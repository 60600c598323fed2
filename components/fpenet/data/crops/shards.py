"""Shards: decode and crop in several processes; the bytes do not depend on their number.

Input: ``faces.parquet``, with one row group for each shard, and ``tight.parquet``. Does: decodes
and crops each shard, writes it to its rows of ``crops.npy`` and ``tight.npy``, and logs it with its
digest. Output: the two arrays. A killed run is resumed: a logged shard whose bytes still have its
digest is not computed again. Files are written, not mapped, so that resident memory is constant.
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
"""Time limit for the next shard; a slow disk needs seconds."""
_BOX = ["center_x", "center_y", "side"]


@dataclass(frozen=True)
class Shards:
    """The shards of a crop folder; its tables exist already."""

    crop_dir: Path
    root: Path

    @cached_property
    def faces(self) -> pq.ParquetFile:
        """The table of faces, with one row group for each shard."""
        return pq.ParquetFile(self.crop_dir / "faces.parquet", pre_buffer=False)

    @cached_property
    def tight(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(M,) rows of the faces with a tight crop, ascending, and (M, 3) boxes of these crops."""
        table = read_table(self.crop_dir / "tight.parquet")[0]
        boxes = np.stack([numbers_of(table, name) for name in _BOX], axis=1)
        return numbers_of(table, "row"), boxes

    def __len__(self) -> int:
        return int(self.faces.num_row_groups)

    def rows(self, shard: int) -> range:
        """The faces of a shard."""
        groups = self.faces.metadata
        start = shard * groups.row_group(0).num_rows  # only the last shard may have fewer rows
        return range(start, start + groups.row_group(shard).num_rows)

    def make(self, shard: int) -> str:
        """Decode, crop and write one shard; returns the digest of its bytes.

        Raises:
            InputError: an image cannot be used; the message names it.
        """
        rows = self.rows(shard)
        table = self.faces.read_row_group(shard, columns=["image", "turn", *_BOX])
        boxes = np.stack([numbers_of(table, name) for name in _BOX], axis=1)
        tight_rows, tight_boxes = self.tight
        first, last = np.searchsorted(tight_rows, (rows.start, rows.stop))
        px = _open(self.crop_dir / "crops.npy").shape[1]
        margins = np.empty((len(rows), px, px), np.uint8)
        tights = np.empty((last - first, CROP_PX, CROP_PX), np.uint8)
        next_tight = first
        turns = table["turn"].to_pylist()
        for index, image in enumerate(table["image"].to_pylist()):
            try:
                grey = read_grey(self.root / image, turn=turns[index])
            except Refusal as refusal:
                raise InputError(f"{self.root / image}: {refusal.detail}") from None
            x, y, side = boxes[index].tolist()
            margins[index] = cut(grey, CropBox(x, y, side * px / CROP_PX), px)
            if next_tight < last and tight_rows[next_tight] == rows.start + index:
                tight = CropBox(*tight_boxes[next_tight].tolist())
                tights[next_tight - first] = cut(grey, tight, CROP_PX)
                next_tight += 1
        _write(self.crop_dir / "crops.npy", rows.start, margins)
        _write(self.crop_dir / "tight.npy", int(first), tights)
        return _digest(margins, tights)

    def written(self, shard: int) -> str:
        """The digest of the present bytes of a shard."""
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
    """Make every missing shard of ``crop_dir``; the final log is in the order of the shards.

    Args:
        root: the folder of the images.
        workers: number of processes; None: one for each processor that this process may use.

    Raises:
        InputError: an image cannot be used; the message names it, and finished shards stay.
        TimeoutError: no shard was finished within LONGEST_SHARD_SECONDS; finished shards stay.
    """
    shards = Shards(crop_dir, root)
    log = crop_dir / LOG
    complete = {n: digest for n, digest in _logged(log) if shards.written(n) == digest}
    _rewrite(log, complete)
    done = complete.keys()
    todo = [shard for shard in range(len(shards)) if shard not in done]
    finished = sum(len(shards.rows(shard)) for shard in done)
    count = min(workers or len(os.sched_getaffinity(0)), len(todo))
    results = _make_here(shards, todo) if count <= 1 else _make_in_processes(shards, todo, count)
    with log.open("a", encoding="utf-8") as lines, closing(results):
        for shard, digest in results:
            lines.write(json.dumps([shard, digest]) + "\n")
            lines.flush()
            finished += len(shards.rows(shard))
            report(finished, shards.faces.metadata.num_rows, "faces")
    _rewrite(log, dict(sorted(_logged(log))))


Digests = Generator[tuple[int, str], None, None]
"""Number and digest of each finished shard."""


def _make_here(shards: Shards, todo: Sequence[int]) -> Digests:
    for shard in todo:
        yield shard, shards.make(shard)


def _make_in_processes(shards: Shards, todo: Sequence[int], count: int) -> Digests:
    """Number and digest of the shards in the order of their completion.

    Each process makes one shard at a time.
    """
    pending, lock = iter(todo), threading.Lock()
    results: SimpleQueue[tuple[int, str] | Exception] = SimpleQueue()
    folders = (str(shards.crop_dir.resolve()), str(shards.root))

    def feed(process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            with lock:
                shard = next(pending, None)
            if shard is None:
                return
            try:
                print(shard, file=process.stdin, flush=True)
                reply = json.loads(process.stdout.readline() or "null")
            except BrokenPipeError:
                reply = None
            if reply is None:
                status = process.wait()
                results.put(RuntimeError(f"a process that cuts crops ended with status {status}"))
                return
            if "error" in reply:
                results.put(InputError(reply["error"]))
                return
            results.put((shard, reply["digest"]))

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
                    f"{shards.crop_dir}: no shard was finished in {LONGEST_SHARD_SECONDS:g} s;"
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
            reply = {"digest": shards.make(int(line))}
        except InputError as error:
            reply = {"error": str(error)}
        print(json.dumps(reply), flush=True)


def _logged(log: Path) -> Iterator[tuple[int, str]]:
    """Shard and digest of each line of the log; truncated lines are skipped."""
    if not log.exists():
        return
    for line in log.read_bytes().split(b"\n"):
        with suppress(ValueError):
            shard, digest = json.loads(line)
            yield shard, digest


def _rewrite(log: Path, digests: Mapping[int, str]) -> None:
    """Rewrite the log without truncated or wrong lines, so that a new line can be appended."""
    new_log = log.with_name(log.name + ".new")
    lines = [json.dumps([shard, digest]) + "\n" for shard, digest in digests.items()]
    new_log.write_text("".join(lines), "utf-8")
    new_log.replace(log)


def _open(path: Path) -> Grey:
    squares: Grey = np.load(path, mmap_mode="r", allow_pickle=False)
    return squares


def _write(path: Path, first: int, squares: Grey) -> None:
    """Write ``squares`` into the array, from its index ``first`` on."""
    array = _open(path)
    offset = array.offset + first * int(np.prod(array.shape[1:]))  # type: ignore[attr-defined]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(squares.data)


def _digest(*arrays: Grey) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
