"""SHA-256 of bytes, files, folders, JSON values and source code, as lower-case hex."""

import ast
import hashlib
import json
import os
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


def files_of(folder: Path, follow_links: bool = False) -> list[Path]:
    """Every regular file below ``folder``, sorted by its relative path.

    Args:
        follow_links: also those below links to folders; each folder once.
    """
    if not follow_links:
        return sorted(path for path in folder.rglob("*") if path.is_file())
    files: list[Path] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        files += (path for name in names if (path := Path(parent, name)).is_file())
    return sorted(files)


def digest_files(folder: Path, files: Iterable[Path]) -> str:
    """One digest of the names (relative to ``folder``) and contents of ``files``."""
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


def digest_dataset(path: Path, images: Path | None = None, follow_links: bool = False) -> str:
    """Digest of a labelled set: of a folder, or of the folder that contains the label file.

    Args:
        images: the folder of the images, where they are outside of that folder.
        follow_links: files below links to folders are part of the set.
    """
    folder = path if path.is_dir() else path.parent
    labels = digest_files(folder, files_of(folder, follow_links))
    if images is None:
        return labels
    return digest_json([labels, digest_files(images, files_of(images, follow_links))])


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
