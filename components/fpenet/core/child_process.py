"""A function of this package in a process of its own, which speaks lines with the one that made it.

It ends when its standard input does, so it outlives nobody, even one that was killed.
"""

import subprocess
import sys

from fpenet.provenance.digest import SOURCE_ROOT


def start_process(entry: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start ``module:function`` with ``arguments``; its standard input and output are pipes.

    It is no child of the terminal: an interrupt reaches it through its standard input only.
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
