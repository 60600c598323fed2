"""Our Python source files: where a module is, and its syntax tree."""

import ast
import threading
from pathlib import Path

SOURCE_ROOT = Path(__file__).resolve().parents[2]
"""The folder of our packages: ``components/`` of a checkout, or site-packages."""
_PARSING = threading.Lock()


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

    Python 3.11's parser raises SystemError when two threads parse at the same time: every file of
    ours is parsed here, under one lock.
    """
    with _PARSING:
        return ast.parse(path.read_bytes())
