"""Memory of a training on a CPU: what one step frees, the next one uses.

Each step asks for the same hundreds of megabytes and frees them. The C library gives large blocks
back to the system, which hands them out anew page by page, wiped: 23,000 page faults a step of
``small``, up to a third of its time.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_ALL = 2**30
_USUAL_MMAP, _USUAL_TRIM = 32 * 2**20, 64 * 2**20  # the largest that glibc comes to by itself


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory in this process, and give it back at the end; only glibc can."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_TRIM_THRESHOLD, _ALL)
    libc.mallopt(_MMAP_THRESHOLD, _ALL)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        libc.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        libc.malloc_trim(0)
