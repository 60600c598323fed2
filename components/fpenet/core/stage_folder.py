"""The folder that a stage writes: by one process at a time, under another name until complete."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(out_dir: Path) -> Iterator[None]:
    """Let one process at a time write ``out_dir``; the next one finds it finished."""
    with (out_dir.parent / f".{out_dir.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def partial_folder(out_dir: Path, key: str, resumable: bool) -> Path:
    """The folder to rename at the end: emptied, unless it holds a resumable run of this key."""
    partial = out_dir.parent / f".{out_dir.name}.{key[:16]}.partial"
    if not (resumable and partial.exists()):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    return partial
