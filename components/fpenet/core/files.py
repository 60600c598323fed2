"""Files that several processes share: locks and atomic writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file ``path``; when a process dies, its lock is released.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is false.
    """
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(f"{path} is held by another process") from None
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, content: bytes, temporary: str | None = None) -> None:
    """Write ``content`` to ``path`` atomically; flush content and rename to the disk.

    Args:
        temporary: name of the temporary file, in the folder of ``path``. None:
            ``<stem>.writing``, which the next write overwrites, so that killed processes leave at
            most one file; only for files that one process at a time writes.

    Raises:
        OSError: names ``path``; no partial file is left.
    """
    partial = path.with_name(temporary or f"{path.stem.split('.')[0]}.writing")
    try:
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename too
        finally:
            os.close(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
