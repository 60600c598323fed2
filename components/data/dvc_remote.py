"""DVC and the data set: its S3 remote from params, and whether the faces are those of the pointer.

DVC trusts what it has hashed once: a bit that flips in its cache is checked out as it is, and
``dvc status`` calls it clean. So the stage validate reads the faces and compares them itself.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from components.params import StorageParams
from components.provenance.digest import files_of
from components.yaml_tree import read_yaml

REMOTE = "storage"


def configure_remote(storage: StorageParams, project: Path) -> str:
    """Make ``s3://bucket/prefix`` the default remote, in .dvc/config.local; returns its URL.

    With ``verify``, so that ``dvc pull`` hashes what it got.

    Raises:
        ValueError: no bucket, or no DVC project.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    if storage.bucket is None:
        raise ValueError("storage.bucket is None: name the bucket in params.yaml")
    url = f"s3://{storage.bucket}/{storage.prefix}"
    remote: dict[str, Any] = {"url": url, "verify": True}
    if storage.endpoint is not None:
        remote["endpointurl"] = storage.endpoint
    try:
        with Repo(str(project)) as repo, repo.config.edit("local") as config:
            config["remote"][REMOTE] = remote
            config["core"]["remote"] = REMOTE
    except NotDvcRepoError:
        raise ValueError(f"{project}: not a DVC project (no .dvc/ there)") from None
    return url


def check_pointer(labels: Path) -> None:
    """Hold a labelled set to the DVC pointer beside its folder, ``<folder>.dvc``, if there is one.

    Raises:
        ValueError: their bytes differ from it, or it is no pointer to a folder.
    """
    root = (labels if labels.is_dir() else labels.parent).absolute()
    pointer = root.parent / f"{root.name}.dvc"
    if not pointer.is_file():
        return
    wanted = _recorded(pointer, root.name)
    if (found := dvc_digest(root)) != wanted:
        raise ValueError(
            f"{root}: MD5 is {found}, but {pointer} says {wanted}; `rm -r {root} .dvc/cache` and"
            f" `dvc pull` bring the recorded faces back, `dvc add {root}` records these"
        )


def dvc_digest(folder: Path) -> str:
    """The MD5 that DVC 3 gives a folder: of the JSON list of its files' MD5 and relative paths."""
    files = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in files_of(folder)
    ]
    listing = json.dumps(sorted(files, key=lambda file: file["relpath"]), sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _recorded(pointer: Path, name: str) -> str:
    outs = read_yaml(pointer).get("outs")
    for out in outs if isinstance(outs, list) else []:
        if isinstance(out, dict) and out.get("path") == name and "md5" in out:
            return str(out["md5"])
    raise ValueError(f"{pointer}: has no md5 of {name}")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
