"""Manifest of a stage's folder: inputs, parameters, summary, and the digest of every file.

A folder with a manifest is complete. Every loader calls ``verify`` before it parses a file.
"""

import dataclasses
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_file, digest_json, files_of
from fpenet.provenance.signing import PublicKey, signature_of, verify_file

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Record of one finished stage.

    Attributes:
        stage: name of the stage.
        key: digest of its inputs, parameters, code and tool versions.
        inputs: name of an input -> its content digest.
        params: the sections of params.yaml that it read.
        code: digest of its source files.
        tools: tool -> version.
        files: path below the folder -> SHA-256.
        summary: summary that the stage function returned (JSON values).
    """

    stage: str
    key: str
    inputs: Mapping[str, str]
    params: Mapping[str, Any]
    code: str
    tools: Mapping[str, str]
    files: Mapping[str, str]
    summary: Mapping[str, Any]

    @property
    def content(self) -> str:
        """Digest of all files: later stages store it as the digest of this input."""
        return digest_json(dict(self.files))


def tool_versions(tools: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution ("absent" if not installed), and of Python."""
    versions = {"python": platform.python_version()}
    return versions | {tool: _tool_version(tool) for tool in tools}


@cache  # a search of all folders of sys.path
def _tool_version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:
        return "absent"


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write ``manifest`` into ``folder`` with the digests of all files in it."""
    files = {path.relative_to(folder).as_posix(): digest_file(path) for path in files_of(folder)}
    sealed = dataclasses.replace(manifest, files=files)
    text = json.dumps(dataclasses.asdict(sealed), indent=1, sort_keys=True, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return sealed


def read_manifest(folder: Path) -> Manifest:
    """The manifest of ``folder``; its files are not verified.

    Raises:
        InputError: there is no manifest, or it has another format.
    """
    path = folder / MANIFEST
    try:
        return _parse(path, path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the folder is not a finished stage") from None


def _parse(path: Path, data: bytes) -> Manifest:
    try:
        return Manifest(**json.loads(data))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not a manifest: {error}") from None


def verify(folder: Path, trusted: Sequence[PublicKey] | None = None) -> Manifest:
    """The manifest of ``folder``, after the digest of every file was verified.

    Args:
        trusted: keys, one of which must have signed the manifest; for a folder from another
            machine.

    Raises:
        InputError: names the first file that is missing, added or changed, or a manifest without a
            signature of a trusted key.
    """
    path = folder / MANIFEST
    if trusted is None:
        manifest = read_manifest(folder)
    else:
        manifest = _parse(path, verify_file(path, trusted)[0])
    present = {file.relative_to(folder).as_posix() for file in files_of(folder)}
    present -= {MANIFEST, signature_of(path).name}
    for name in sorted(present | set(manifest.files)):
        if name not in present:
            raise InputError(f"{folder / name}: missing; the manifest lists it")
        if name not in manifest.files:
            raise InputError(f"{folder / name}: not in the manifest of this folder")
        actual = digest_file(folder / name)
        if actual != manifest.files[name]:
            raise InputError(
                f"{folder / name}: SHA-256 is {actual[:16]}..., sealed as"
                f" {manifest.files[name][:16]}...; remove the folder and run the stage again"
            )
    return manifest


def digest_folder(folder: Path, key: str) -> str:
    """Digest of the files in the folder of the params key ``key``; verified if it has a manifest.

    Raises:
        InputError: the folder is missing or empty (names the key), or a file differs from the
            manifest.
    """
    if (folder / MANIFEST).exists():
        return verify(folder).content
    files = files_of(folder) if folder.is_dir() else []
    if not files:
        raise InputError(
            f"{key}: {folder} is not a folder with files; name the folder of a finished stage or"
            " of imported weights"
        )
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})
