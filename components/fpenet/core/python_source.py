"""Parse Python source files, one at a time."""

import ast
import threading
from pathlib import Path

_PARSING = threading.Lock()


def parse_python(path: Path) -> ast.Module:
    """The syntax tree of a source file.

    Python 3.11's parser raises SystemError when two threads parse at the same time: every file of
    ours is parsed here, under one lock.
    """
    with _PARSING:
        return ast.parse(path.read_bytes())
