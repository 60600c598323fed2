"""Run a function of this package in a child process that exchanges lines of text with its parent.

The process ends when its standard input closes, so it also ends when the parent is killed.
"""

import subprocess
import sys

from fpenet.core.python_source import SOURCE_ROOT


def start_process(entry: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start ``module:function`` with ``arguments``; its standard input and output are pipes.

    It runs in a separate session, so Ctrl-C in the terminal does not reach it. It stops when its
    standard input closes.
    """
    module, function = entry.split(":")
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE_ROOT)!r});"
        f" from {module} import {function}; {function}(*sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
