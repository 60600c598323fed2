"""Whether labelled faces are those of the DVC pointer beside them; asked before a stage reads them.

DVC trusts what it has hashed once: a bit that flips in its cache is checked out as it is, and
``dvc status`` calls it clean. Faces that it does see to differ, ``dvc repro`` takes as the new
version and writes the pointer anew. So the faces are held to the pointer, and the pointer to git.
"""

import hashlib
import json
import subprocess
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import read_yaml
from fpenet.provenance.digest import files_of


def check_pointer(labels: Path) -> None:
    """Hold a labelled set to ``<folder>.dvc`` beside its folder or a folder that it lies in.

    Raises:
        InputError: its bytes differ from the pointer, the pointer from what git has staged or
            committed, or it does not name the folder.
    """
    root = (labels if labels.is_dir() else labels.parent).absolute()
    for folder in (root, *root.parents):
        pointer = folder.parent / f"{folder.name}.dvc"
        if folder.name and pointer.is_file():
            _check(folder, pointer)
            return


def _check(folder: Path, pointer: Path) -> None:
    wanted = _recorded(pointer, folder.name)
    again = (
        f"`rm -r {folder}`, `mv .dvc/cache .dvc/tmp/broken` and `dvc pull {pointer.name}` bring the"
        " recorded faces back"
    )
    if _differs_from_git(pointer):
        raise InputError(
            f"{pointer}: differs from what git has; `git add {pointer.name}` accepts these faces,"
            f" or `git checkout {pointer.name}`, {again}"
        )
    files = _files(folder)
    listing = json.dumps(files, sort_keys=True)
    found = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    if found != wanted:
        first = _first(pointer, wanted, files)
        raise InputError(
            f"{folder}: MD5 is {found}, but {pointer} says {wanted}{first};"
            f" {again}, or `dvc add {folder.name}` and `git add {pointer.name}` record these"
        )


def _files(folder: Path) -> list[dict[str, str]]:
    """What DVC 3 makes the MD5 of a folder of: MD5 and relative path of each file, by the path."""
    names = sorted((path.relative_to(folder).as_posix(), path) for path in files_of(folder))
    return [{"md5": _md5(path), "relpath": name} for name, path in names]


def _first(pointer: Path, expected: str, files: list[dict[str, str]]) -> str:
    """The first file that differs, if the recorded list is in DVC's cache."""
    place = Path(".dvc/cache/files/md5", expected[:2], expected[2:])
    for project in pointer.parents:
        if (project / place).is_file():
            try:
                listed = json.loads((project / place).read_bytes())
                pairs = {(file["relpath"], file["md5"]) for file in listed}
            except (ValueError, KeyError, TypeError):
                return f" (and {place} is broken)"
            odd = sorted(pairs ^ {(file["relpath"], file["md5"]) for file in files})
            return f" (first: {odd[0][0]})" if odd else f" (and {place} is broken)"
    return ""


def _recorded(pointer: Path, name: str) -> str:
    outs = read_yaml(pointer).get("outs")
    for out in outs if isinstance(outs, list) else []:
        if isinstance(out, dict) and out.get("path") == name and out.get("hash") == "md5":
            return str(out.get("md5"))
    raise InputError(f"{pointer}: has no md5 of {name}; `dvc add {name}` writes it")


def _differs_from_git(pointer: Path) -> bool:
    """Whether the pointer is in git with another content; False without git."""
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
