"""Encryption and decryption of the weights of a release with the model key.

Three folders of the MLflow run contain weights and are encrypted: ``trainable``, ``deployable`` and
``onnx``. Evidence, report, model card and digests are not encrypted.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_file, files_of
from fpenet.provenance.encryption import (
    CIPHER,
    SALT_BYTES,
    VARIABLE,
    ModelKey,
    current_model_key,
    decrypt_file,
    encrypt_file,
    is_encrypted,
)

PLAIN = "none"
ENCRYPTION_TAG = "fpenet.encryption"
_SECRET = ("trainable", "deployable", "onnx")


def encryption_of(release_digest: str, key: ModelKey | None) -> str:
    """The encryption of a release: ``none``, or the cipher and the id of the key.

    Args:
        release_digest: the digest of the release; its first bytes are the salt.
    """
    return f"{CIPHER} {key.id(_salt(release_digest))}" if key else PLAIN


def encrypt_artifacts(
    artifacts: Iterable[tuple[Path, str]], release_digest: str, key: ModelKey, into: Path
) -> tuple[list[tuple[Path, str]], dict[str, str]]:
    """Encrypt the artifacts that contain weights, into copies below ``into``.

    Args:
        artifacts: files and folders, each with its folder in the run.

    Returns:
        the artifacts to store, and path in the run -> SHA-256 of the file before encryption.
    """
    readable: list[tuple[Path, str]] = []
    plain: dict[str, str] = {}
    folders: set[str] = set()
    for path, folder in artifacts:
        if folder.split("/")[0] not in _SECRET:
            readable.append((path, folder))
            continue
        folders.add(folder)
        for file in files_of(path) if path.is_dir() else [path]:
            name = f"{folder}/{file.relative_to(path if path.is_dir() else path.parent).as_posix()}"
            encrypt_file(file, into / name, name, key, _salt(release_digest))
            plain[name] = digest_file(file)
    return readable + [(into / folder, folder) for folder in sorted(folders)], plain


def open_file(source: Path, destination: Path, name: str) -> None:
    """Write ``source`` to ``destination``; an encrypted file is decrypted with the model key.

    Args:
        name: path of the file in the run, e.g. ``deployable/cpu/model.json``.

    Raises:
        InputError: the file is encrypted and the model key is not set, or is another key.
    """
    if not is_encrypted(source):
        shutil.copyfile(source, destination)
        return
    key = current_model_key()
    if key is None:
        raise InputError(f"{name} is encrypted and the model key is not set; set {VARIABLE}")
    decrypt_file(source, destination, name, key)


def open_folder(folder: Path) -> None:
    """Decrypt the encrypted files of a folder in place.

    Args:
        folder: it has the same name as in the run, e.g. ``deployable``.

    Raises:
        InputError: as ``open_file``.
    """
    for path in files_of(folder):
        if is_encrypted(path):
            open_file(path, path, f"{folder.name}/{path.relative_to(folder).as_posix()}")


def _salt(release_digest: str) -> bytes:
    return bytes.fromhex(release_digest)[:SALT_BYTES]
