"""Waits that end: a guard against what never comes, not a measure of speed."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 120.0
Value = TypeVar("Value")


def wait_for(seen: Callable[[], Value], what: str, seconds: float = LONGEST_SECONDS) -> Value:
    """What ``seen()`` returns, as soon as it is true.

    Raises:
        TimeoutError: naming ``what`` did not come within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not (value := seen()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
    return value


def join(thread: threading.Thread, seconds: float = LONGEST_SECONDS) -> None:
    """Wait until the thread has ended.

    Raises:
        TimeoutError: it runs after ``seconds``.
    """
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"thread {thread.name}: runs after {seconds:g} s")
