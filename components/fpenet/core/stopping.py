"""How SIGTERM stops a long stage between two steps.

A preempted machine gets SIGTERM and a grace time. The stage notes the signal, finishes its step,
saves, and then ends; a second SIGTERM in the meantime changes nothing.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fpenet.core.errors import Resumable


@contextmanager
def deferred_sigterm() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM instead of dying of it; yields what says whether it came.

    At the end the handler from before is back, and gets the signal if it is one of Python's (a
    Prefect run ends its own way). Outside the main thread, where Python hears no signal, nothing
    is ever noted.

    Raises:
        Resumable: SIGTERM came, and there was no handler before.
    """
    came = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        came.set()

    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
    if came.is_set():
        if callable(before):
            signal.raise_signal(signal.SIGTERM)
        raise Resumable("stopped by SIGTERM; all is saved, the same command goes on from there")
