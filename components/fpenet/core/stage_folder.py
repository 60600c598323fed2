"""The folder that a stage writes under another name until it is complete."""

import shutil
from pathlib import Path


def lock_of(out_dir: Path) -> Path:
    """The lock file of the process that writes ``out_dir``; the next one finds it finished."""
    return out_dir.with_name(f".{out_dir.name}.lock")


def partial_folder(out_dir: Path, key: str, resumable: bool) -> Path:
    """The folder to rename at the end: emptied, unless it holds a resumable run of this key."""
    partial = out_dir.parent / f".{out_dir.name}.{key[:16]}.partial"
    if not (resumable and partial.exists()):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    return partial
