"""The seal of a stage's folder: what went in, what came out, and the digest of every file.

A folder with a manifest is complete. Every loader calls ``verify`` before any parser sees a byte.
"""

import dataclasses
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_file, digest_json, files_of
from fpenet.provenance.signing import PublicKey, signature_of, verify_file

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one finished stage.

    Attributes:
        stage: its name.
        key: digest of its inputs, parameters, code and tool versions.
        inputs: name of an input -> its content digest.
        params: the sections of params.yaml that it read.
        code: digest of its source files.
        tools: tool -> version.
        files: path below the folder -> SHA-256.
        summary: what the stage says of its result (JSON values).
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
        """Digest of all the files: what a later stage names as its input."""
        return digest_json(dict(self.files))


def tool_versions(tools: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution, "absent" where it is not, and of Python."""
    found = {"python": platform.python_version()}
    for tool in tools:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            found[tool] = "absent"
    return found


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write ``manifest`` into ``folder`` with the digests of all files that lie there now."""
    files = {path.relative_to(folder).as_posix(): digest_file(path) for path in files_of(folder)}
    sealed = dataclasses.replace(manifest, files=files)
    text = json.dumps(dataclasses.asdict(sealed), indent=1, sort_keys=True, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return sealed


def read_manifest(folder: Path) -> Manifest:
    """The manifest of ``folder``, its files not yet checked.

    Raises:
        InputError: no manifest there, or not one of ours.
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
    """The manifest of ``folder`` once every file in it has the digest that was sealed.

    Args:
        trusted: who must have signed the manifest, of a folder that another machine made.

    Raises:
        InputError: naming the first file that is missing, added or changed; or the manifest that
            nobody trusted signed.
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
        found = digest_file(folder / name)
        if found != manifest.files[name]:
            raise InputError(
                f"{folder / name}: SHA-256 is {found[:16]}..., sealed as"
                f" {manifest.files[name][:16]}...; remove the folder and run the stage again"
            )
    return manifest


def digest_given(folder: Path, key: str) -> str:
    """Digest of the files in a folder that a person gave as ``key``; a sealed one is verified.

    Raises:
        InputError: it is not there or empty, naming the key; or a file differs from its seal.
    """
    if (folder / MANIFEST).exists():
        return verify(folder).content
    files = files_of(folder) if folder.is_dir() else []
    if not files:
        raise InputError(
            f"{key}: {folder} is not a folder with files; wanted that of a finished stage or of"
            " imported weights"
        )
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})
