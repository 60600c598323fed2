"""SHA-256 of bytes, files, folders, JSON values and source code, as lower-case hex."""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from fpenet.core.python_source import SOURCE_ROOT, parse_python, source_of

PACKAGES = ("fpenet", "synthface")


def digest_bytes(data: bytes) -> str:
    """SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of the file's content."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else digest_bytes(file.read())
        )


def canonical_json(value: Any) -> bytes:
    """``value`` as the JSON text that is digested and signed: sorted keys, no spaces, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def digest_json(value: Any) -> str:
    """SHA-256 of ``value`` as canonical JSON."""
    return digest_bytes(canonical_json(value))


def files_of(folder: Path) -> list[Path]:
    """Every regular file below ``folder``, sorted by its relative path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digest_files(folder: Path, files: Iterable[Path]) -> str:
    """One digest of the names (relative to ``folder``) and contents of ``files``."""
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


def digest_dataset(path: Path) -> str:
    """Digest of a labelled set: of a folder, or of the folder that contains the label file."""
    folder = path if path.is_dir() else path.parent
    return digest_files(folder, files_of(folder))


@cache
def digest_code(module: str) -> str:
    """Digest of a module of ``PACKAGES`` and of all modules of ``PACKAGES`` that it imports."""
    sources: dict[str, str] = {}
    pending = [source_of(module, SOURCE_ROOT)]
    while pending:
        path = pending.pop()
        name = path.relative_to(SOURCE_ROOT).as_posix()
        if name not in sources:
            sources[name], imported = _source(path, SOURCE_ROOT)
            pending += imported
    return digest_json(sources)


@cache  # most stages import the same files
def _source(path: Path, root: Path) -> tuple[str, list[Path]]:
    """The digest of a source file, and the files below ``root`` that it imports, sorted."""
    return digest_file(path), sorted(imported_files(path, root))


def imported_files(path: Path, root: Path | None = None) -> set[Path]:
    """Files of ``PACKAGES`` that the source file ``path`` imports, also inside functions.

    Args:
        root: the folder of ``PACKAGES``; None: SOURCE_ROOT.
    """
    root = root or SOURCE_ROOT
    files: set[Path] = set()
    for node in ast.walk(parse_python(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in PACKAGES:
                try:
                    files.add(source_of(name, root))
                except ModuleNotFoundError:
                    continue  # an attribute of the module, not a module
    return files
