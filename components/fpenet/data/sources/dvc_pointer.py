"""Verify labelled faces against their DVC pointer file, before a stage reads them.

DVC hashes a file only once: it checks out a corrupted file of its cache unchanged, and
``dvc status`` reports it as clean. If DVC notices a difference, ``dvc repro`` accepts it as a new
version and rewrites the pointer. Therefore the faces are compared with the pointer, and the pointer
with git.
"""

import hashlib
import json
import subprocess
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import read_yaml
from fpenet.provenance.digest import files_of


def check_pointer(labels: Path) -> None:
    """Compare a labelled set with ``<folder>.dvc`` of its folder or of a parent folder, if any.

    Raises:
        InputError: its bytes differ from the pointer, the pointer differs from the version in git
            (staged or committed), or the pointer does not name the folder.
    """
    root = (labels if labels.is_dir() else labels.parent).absolute()
    for folder in (root, *root.parents):
        pointer = folder.parent / f"{folder.name}.dvc"
        if folder.name and pointer.is_file():
            _check(folder, pointer)
            return


def _check(folder: Path, pointer: Path) -> None:
    recorded = _recorded(pointer, folder.name)
    restore = (
        f"`rm -r {folder}`, `mv .dvc/cache .dvc/tmp/broken` and `dvc pull {pointer.name}` bring the"
        " recorded faces back"
    )
    if _differs_from_git(pointer):
        raise InputError(
            f"{pointer}: differs from its version in git; `git add {pointer.name}` accepts these"
            f" faces, or `git checkout {pointer.name}`, {restore}"
        )
    files = _files(folder)
    listing = json.dumps(files, sort_keys=True)
    actual = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    if actual != recorded:
        first = _first(pointer, recorded, files)
        raise InputError(
            f"{folder}: MD5 is {actual}, but {pointer} has {recorded}{first};"
            f" {restore}, or `dvc add {folder.name}` and `git add {pointer.name}` record these"
        )


def _files(folder: Path) -> list[dict[str, str]]:
    """The list from which DVC 3 computes a folder's MD5: MD5 and path of each file, by path."""
    names = sorted((path.relative_to(folder).as_posix(), path) for path in files_of(folder))
    return [{"md5": _md5(path), "relpath": name} for name, path in names]


def _first(pointer: Path, expected: str, files: list[dict[str, str]]) -> str:
    """The first file that differs, if the recorded list is in DVC's cache."""
    entry = Path(".dvc/cache/files/md5", expected[:2], expected[2:])
    for project in pointer.parents:
        if (project / entry).is_file():
            try:
                listed = json.loads((project / entry).read_bytes())
                pairs = {(file["relpath"], file["md5"]) for file in listed}
            except (ValueError, KeyError, TypeError):
                return f" (and {entry} is broken)"
            different = sorted(pairs ^ {(file["relpath"], file["md5"]) for file in files})
            return f" (first: {different[0][0]})" if different else f" (and {entry} is broken)"
    return ""


def _recorded(pointer: Path, name: str) -> str:
    outs = read_yaml(pointer).get("outs")
    for out in outs if isinstance(outs, list) else []:
        if isinstance(out, dict) and out.get("path") == name and out.get("hash") == "md5":
            return str(out.get("md5"))
    raise InputError(f"{pointer}: has no md5 of {name}; `dvc add {name}` writes it")


def _differs_from_git(pointer: Path) -> bool:
    """Whether the pointer's version in git is different; False without git."""
    command = ["git", "diff", "--quiet", "--", pointer.name]
    try:
        done = subprocess.run(command, cwd=pointer.parent, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 1


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
