"""``release.json`` and its signature: what a release holds, by digest, and who released it.

Everything that is fetched or promoted later is checked against this one signed file: the evidence
through the digest of each stage, the artifacts through ``files``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_file, digest_json, files_of
from fpenet.provenance.signing import PublicKey, verify_file

RECORD = "release.json"
_KIND = "release"
ARTIFACTS = ("trainable", "deployable")
"""Folders of the MLflow run that a version of each model stands for."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the release as it is stored: its SHA-256 and its size in bytes.

    Attributes:
        plain_sha256: of what was encrypted; None where the file is stored as it is.
    """

    sha256: str
    size_bytes: int
    plain_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose record was signed by a trusted key.

    Attributes:
        digest: of the content of every stage.
        name: as the model card names its versions, e.g. ``deployable_v3.0``.
        model, version: where it is registered.
        digests: stage -> digest of its content.
        files: path in the run, below ``trainable/`` or ``deployable/`` -> the stored file.
        released_by: the key that signed the record.
        said: all that the record says.
    """

    digest: str
    name: str
    model: str
    version: str
    digests: Mapping[str, str]
    files: Mapping[str, StoredFile]
    released_by: PublicKey
    said: Mapping[str, Any]


def stored_files(
    artifacts: Iterable[tuple[Path, str]], plain: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """What the record says of each file below ``ARTIFACTS``.

    Args:
        artifacts: files and folders, each with the folder of the run that it goes to.
        plain: name in the run -> SHA-256 of what was encrypted.
    """
    found: dict[str, dict[str, Any]] = {}
    for path, folder in artifacts:
        if folder not in ARTIFACTS:
            continue
        inside = files_of(path) if path.is_dir() else [path]
        for file in inside:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            name = f"{folder}/{name}"
            found[name] = {"sha256": digest_file(file), "size_bytes": file.stat().st_size}
            if name in plain:
                found[name]["plain_sha256"] = plain[name]
    return found


def record_text(record: Mapping[str, Any]) -> str:
    """The text of ``release.json``."""
    return json.dumps({"kind": _KIND, **record}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_release(folder: Path, trusted: Sequence[PublicKey]) -> Release:
    """The release whose record and signature lie in ``folder``.

    Raises:
        InputError: naming the file: missing, not signed by a trusted key, changed, or no record.
    """
    path = folder / RECORD
    payload, public = verify_file(path, trusted)
    try:
        said = json.loads(payload)
        if said["kind"] != _KIND:
            raise InputError(f"a signed {said['kind']}, not a release")
        files = {name: StoredFile(**row) for name, row in said["files"].items()}
        release = Release(
            said["release"],
            said["name"],
            said["model"],
            said["version"],
            said["digests"],
            files,
            public,
            said,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not the record of a release: {error}") from None
    if digest_json(dict(release.digests)) != release.digest:
        raise InputError(f"{path}: its digests are not those of release {release.digest[:12]}")
    leaving = [name for name in files if not _inside(name)]
    if leaving:
        raise InputError(f"{path}: names a file outside of the release: {leaving[0]}")
    return release


def _inside(name: str) -> bool:
    parts = name.split("/")
    return parts[0] in ARTIFACTS and len(parts) > 1 and not {"", ".", ".."} & set(parts)
