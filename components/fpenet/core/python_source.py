"""Our Python source files: where a module is, and its syntax tree."""

import ast
import contextlib
import threading
from pathlib import Path

SOURCE_ROOT = Path(__file__).resolve().parents[2]
"""The folder of our packages: ``components/`` of a checkout, or site-packages."""
_PARSING = threading.Lock()
_MOST_TRIES = 100


def source_of(module: str, root: Path = SOURCE_ROOT) -> Path:
    """The source file of a module or package below ``root``.

    Raises:
        ModuleNotFoundError: there is none.
    """
    stem = root.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    raise ModuleNotFoundError(module)


def parse_python(path: Path) -> ast.Module:
    """The syntax tree of a source file.

    Python 3.11 raises SystemError when two threads make syntax trees at the same time: every file
    of ours is parsed here, under one lock, and again where a thread of another library did so.
    """
    source = path.read_bytes()
    for _ in range(_MOST_TRIES):
        with _PARSING, contextlib.suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)
