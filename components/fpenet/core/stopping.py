"""Stop a long stage between two steps when SIGTERM arrives.

A preempted machine gets SIGTERM and a grace period. The stage records the signal, finishes its
current step, saves its state and ends; a second SIGTERM has no further effect.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fpenet.core.errors import Resumable


@contextmanager
def deferred_sigterm() -> Iterator[Callable[[], bool]]:
    """Record SIGTERM instead of ending the process; yields a function that returns whether it came.

    On exit the previous handler is restored. If it is a Python function (as in a Prefect run), the
    signal is raised again for it. Outside the main thread Python delivers no signals, so the
    function always returns False.

    Raises:
        Resumable: SIGTERM arrived, and there was no previous handler.
    """
    received = threading.Event()

    def record(_number: int, _frame: FrameType | None) -> None:
        received.set()

    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return
    previous = signal.signal(signal.SIGTERM, record)
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, previous)
    if received.is_set():
        if callable(previous):
            signal.raise_signal(signal.SIGTERM)
        raise Resumable("stopped by SIGTERM; the state is saved, the same command resumes it")
