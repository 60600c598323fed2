"""What of a release is encrypted with the model load key, and opened with it again.

The weights are in three folders of the run: ``trainable``, ``deployable`` and ``onnx``. Evidence,
report and model card stay readable, and so do all digests.
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


def encryption_of(release: str, key: ModelKey | None) -> str:
    """How the files of a release are stored: ``none``, or the cipher and the key's id.

    Args:
        release: its digest, whose first bytes are the salt.
    """
    return f"{CIPHER} {key.id(_salt(release))}" if key else PLAIN


def encrypt_artifacts(
    artifacts: Iterable[tuple[Path, str]], release: str, key: ModelKey, into: Path
) -> tuple[list[tuple[Path, str]], dict[str, str]]:
    """The artifacts with encrypted copies, below ``into``, of what is secret.

    Args:
        artifacts: files and folders, each with the folder of the run that it goes to.

    Returns:
        the artifacts to store, and name in the run -> SHA-256 of what was encrypted.
    """
    kept: list[tuple[Path, str]] = []
    plain: dict[str, str] = {}
    folders: set[str] = set()
    for path, folder in artifacts:
        if folder.split("/")[0] not in _SECRET:
            kept.append((path, folder))
            continue
        folders.add(folder)
        for file in files_of(path) if path.is_dir() else [path]:
            name = f"{folder}/{file.relative_to(path if path.is_dir() else path.parent).as_posix()}"
            encrypt_file(file, into / name, name, key, _salt(release))
            plain[name] = digest_file(file)
    return kept + [(into / folder, folder) for folder in sorted(folders)], plain


def open_file(source: Path, target: Path, name: str) -> None:
    """Write ``source`` to ``target``, decrypted with the key that is held if it is encrypted.

    Args:
        name: in the run, as ``deployable/cpu/model.json``.

    Raises:
        InputError: it is encrypted and there is no key, or another one.
    """
    if not is_encrypted(source):
        shutil.copyfile(source, target)
        return
    key = current_model_key()
    if key is None:
        raise InputError(f"{name} is encrypted, and there is no model key; set {VARIABLE}")
    decrypt_file(source, target, name, key)


def open_folder(folder: Path) -> None:
    """Decrypt, in place, what is encrypted in a folder that is called as it is in the run.

    Raises:
        InputError: as ``open_file``.
    """
    for path in files_of(folder):
        if is_encrypted(path):
            open_file(path, path, f"{folder.name}/{path.relative_to(folder).as_posix()}")


def _salt(release: str) -> bytes:
    return bytes.fromhex(release)[:SALT_BYTES]
