"""The temporary folder that a stage writes into, and its lock file."""

import shutil
from pathlib import Path


def lock_of(out_dir: Path) -> Path:
    """The lock file that a process holds while it writes ``out_dir``."""
    return out_dir.with_name(f".{out_dir.name}.lock")


def partial_folder(out_dir: Path, key: str, resumable: bool) -> Path:
    """The temporary folder, renamed when complete; emptied first, except for a resumable run of
    the same key."""
    partial = out_dir.parent / f".{out_dir.name}.{key[:16]}.partial"
    if not (resumable and partial.exists()):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    return partial
