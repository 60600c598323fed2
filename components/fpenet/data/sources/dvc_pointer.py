"""Verify labelled faces against their DVC pointer file, before a stage reads them.

DVC hashes a file only once: it checks out a corrupted file of its cache unchanged, and
``dvc status`` reports it as clean. If DVC notices a difference, ``dvc repro`` accepts it as a new
version and rewrites the pointer. Therefore the faces are compared with the pointer, and the pointer
with git. Files that .dvcignore names are no part of the faces.

A message names only commands that delete nothing.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import read_yaml
from fpenet.data.sources.dvc_project import cached_object, files_not_ignored, project_of
from fpenet.provenance.digest import files_of

_MOST_NAMED = 3  # broken files of the cache


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
    if _differs_from_git(pointer):
        raise InputError(
            f"{pointer}: differs from its version in git; `git add {pointer.name}` accepts these"
            f" faces, or `git checkout {pointer.name}`, {_put_aside(folder)} and"
            f" `dvc checkout {pointer.name}` bring the recorded faces back"
        )
    sums = {path: _md5(path) for path in files_of(folder)}
    if _folder_md5(folder, sums) == recorded:
        return
    project = project_of(pointer.parent)
    if project is not None and find_spec("dvc") is not None:
        kept = set(files_not_ignored(project, folder))
        sums = {path: md5 for path, md5 in sums.items() if path in kept}
    actual = _folder_md5(folder, sums)
    if actual != recorded:
        first, restore = _difference(folder, pointer, project, recorded, sums)
        raise InputError(
            f"{folder}: MD5 is {actual}, but {pointer} has {recorded}{first};"
            f" `dvc add {folder.name}` and `git add {pointer.name}` record these faces, or"
            f" {_put_aside(folder)}{restore} bring the recorded faces back"
        )


def _put_aside(folder: Path) -> str:
    return f"`mv {folder} {folder}.kept`"


def _folder_md5(folder: Path, sums: Mapping[Path, str]) -> str:
    """The MD5 of a folder as DVC 3 computes it, from the MD5 and the path of each file."""
    listing = json.dumps(_listing(folder, sums), sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _listing(folder: Path, sums: Mapping[Path, str]) -> list[dict[str, str]]:
    names = sorted((path.relative_to(folder).as_posix(), md5) for path, md5 in sums.items())
    return [{"md5": md5, "relpath": name} for name, md5 in names]


def _difference(
    folder: Path, pointer: Path, project: Path | None, recorded: str, sums: Mapping[Path, str]
) -> tuple[str, str]:
    """The first file that differs, and the commands that restore the recorded files.

    The cache is asked for every file that differs: a command is named only for what is broken or
    missing there, and none that deletes.
    """
    pull = f" and `dvc pull {pointer.name}`"
    if project is None:
        return "", pull
    listed = cached_object(project, recorded)
    if not listed.is_file():
        return "", pull
    broken = f" (and {listed} is broken)", f", `mv {listed} {listed}.broken`{pull}"
    if _md5(listed) != recorded.removesuffix(".dir"):
        return broken
    try:
        pairs = {(file["relpath"], file["md5"]) for file in json.loads(listed.read_bytes())}
    except (ValueError, KeyError, TypeError):
        return broken
    actual = {(file["relpath"], file["md5"]) for file in _listing(folder, sums)}
    first = f" (first: {min(pairs ^ actual)[0]})"
    objects = [(cached_object(project, md5), md5) for _, md5 in sorted(pairs - actual)]
    bad = [path for path, md5 in objects if path.is_file() and _md5(path) != md5]
    moves = "".join(f", `mv {path} {path}.broken`" for path in bad[:_MOST_NAMED])
    if len(bad) > _MOST_NAMED:
        moves += f", the same for {len(bad) - _MOST_NAMED} more broken files of the cache"
    if not bad and all(path.is_file() for path, _ in objects):
        return first, f" and `dvc checkout {pointer.name}`"
    return first, f"{moves}{pull}"


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
