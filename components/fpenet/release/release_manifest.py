"""The release manifest ``release.json`` and its signature: the digest of every file of a release.

Every later download and promotion is checked against this signed file: the evidence by the digest
of each stage, the artifacts by ``files``.
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
"""The folders of the MLflow run that the versions of the two registered models contain."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file of the release: its SHA-256 and its size in bytes.

    Attributes:
        plain_sha256: SHA-256 of the file before encryption; None where it is not encrypted.
    """

    sha256: str
    size_bytes: int
    plain_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose manifest is signed by a trusted key.

    Attributes:
        digest: of the release, computed from ``digests``.
        name: of the deployable version, e.g. ``deployable_v3.0``.
        model, version: the registered model and the number of the version.
        digests: stage -> digest of its content.
        files: path in the run, below ``trainable/`` or ``deployable/`` -> the stored file.
        released_by: the key that signed the manifest.
        said: the whole content of the manifest.
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
    """The rows of the manifest for the files below ``ARTIFACTS``: path in the run -> its row.

    Args:
        artifacts: files and folders, each with its folder in the run.
        plain: path in the run -> SHA-256 of the file before encryption.
    """
    rows: dict[str, dict[str, Any]] = {}
    for path, folder in artifacts:
        if folder not in ARTIFACTS:
            continue
        inside = files_of(path) if path.is_dir() else [path]
        for file in inside:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            name = f"{folder}/{name}"
            rows[name] = {"sha256": digest_file(file), "size_bytes": file.stat().st_size}
            if name in plain:
                rows[name]["plain_sha256"] = plain[name]
    return rows


def record_text(record: Mapping[str, Any]) -> str:
    """The text of ``release.json``."""
    return json.dumps({"kind": _KIND, **record}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_release(folder: Path, trusted: Sequence[PublicKey]) -> Release:
    """Read the release manifest in ``folder`` and check its signature.

    Raises:
        InputError: the manifest or its signature is missing, no trusted key signed it, or it is
            not a release manifest; the message names the file.
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
        raise InputError(f"{path}: not a release manifest: {error}") from None
    if digest_json(dict(release.digests)) != release.digest:
        raise InputError(f"{path}: its digests are not those of release {release.digest[:12]}")
    outside = [name for name in files if not _inside(name)]
    if outside:
        raise InputError(f"{path}: lists a file outside the release: {outside[0]}")
    return release


def _inside(name: str) -> bool:
    parts = name.split("/")
    return parts[0] in ARTIFACTS and len(parts) > 1 and not {"", ".", ".."} & set(parts)
