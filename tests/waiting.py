"""Waits with a time limit, so that no test waits forever; they do not measure speed."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 120.0
Value = TypeVar("Value")


def wait_for(
    condition: Callable[[], Value | None], what: str, seconds: float = LONGEST_SECONDS
) -> Value:
    """Call ``condition`` until its value is true; returns the value.

    Args:
        what: description of the condition, for the error.

    Raises:
        TimeoutError: the value is not true within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
    return value


def join(thread: threading.Thread, seconds: float = LONGEST_SECONDS) -> None:
    """Wait until the thread has ended.

    Raises:
        TimeoutError: it still runs after ``seconds``.
    """
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"thread {thread.name}: still runs after {seconds:g} s")
