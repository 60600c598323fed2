"""Authenticated encryption of files with the model load key.

An encrypted file is a header and chunks of 64 KiB. Each chunk is encrypted with ChaCha20-Poly1305
under a key that only this file uses. The nonce of a chunk is its number and a flag for the last
chunk, so that removed, reordered or truncated chunks are detected (STREAM construction, as in age).
The file's name is authenticated too. The file key is derived by HKDF from the model key (stretched
by scrypt) and a keyed digest of name and content. Encryption is therefore deterministic, so that a
registration can be retried.

``repr`` and error messages leave the key out. It is kept in a context variable and is not a
parameter of a task or stage, because schedulers and manifests store parameters.
"""

# The age format (pyrage), judged and not taken: it draws a new file key and nonce for each file, so
# the bytes differ each time. A registration that is tried again keeps the files of the run that the
# first try stored, and writes their digests into release.json from copies that it encrypts again
# (``encrypt_artifacts``, ``stored_files``): both must be the same bytes. pyrage 1.4 has wheels for
# Python 3.10 to 3.12 on x86-64 and aarch64; each adds 0.9 MB to the download of the light install,
# whose ``cryptography`` the signatures need in any case.

import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_file

MAGIC = b"fpenet-encrypted-1\n"
SALT_BYTES = 16
CIPHER = "chacha20-poly1305"
VARIABLE = "FPENET_MODEL_KEY"
"""Environment variable with the key; cli and flows read it."""
_FILE_SALT_BYTES = 32
_CHUNK_BYTES, _TAG_BYTES = 1 << 16, 16
_SCRYPT = {"n": 1 << 16, "r": 8, "p": 1}  # 64 MiB, a fifth of a second
_SHORTEST = 16


@dataclass(frozen=True, slots=True)
class ModelKey:
    """A secret of at least 16 characters; recommended: ``openssl rand -base64 32``.

    Raises:
        InputError: the secret is shorter.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < _SHORTEST:
            raise InputError(
                f"the model key has fewer than {_SHORTEST} characters and could be guessed;"
                " create one with `openssl rand -base64 32`"
            )

    def id(self, salt: bytes) -> str:
        """Identifier of 16 hex digits that does not reveal the key."""
        return _derive(_stretched(self.secret, salt), salt, b"id")[:8].hex()


def key_in(environ: Mapping[str, str]) -> ModelKey | None:
    """The model key in an environment; None if it has none."""
    secret = environ.get(VARIABLE)
    return ModelKey(secret) if secret else None


_CURRENT_KEY: ContextVar[ModelKey | None] = ContextVar("model_key", default=None)


@contextmanager
def model_key_context(key: ModelKey | None) -> Iterator[None]:
    """``current_model_key`` returns ``key`` in this thread while the context is open."""
    token = _CURRENT_KEY.set(key)
    try:
        yield
    finally:
        _CURRENT_KEY.reset(token)


def current_model_key() -> ModelKey | None:
    """The key of the enclosing ``model_key_context``; None without one."""
    return _CURRENT_KEY.get()


def encrypt_file(source: Path, target: Path, name: str, key: ModelKey, salt: bytes) -> None:
    """Write ``source``, encrypted, to ``target``.

    Args:
        name: authenticated with the content; decryption needs the same name.
        salt: ``SALT_BYTES`` for scrypt, one per release: not secret, the same for all its files.
    """
    master = _stretched(key.secret, salt)
    identity = name.encode() + b"\0" + bytes.fromhex(digest_file(source))
    file_salt = hmac.digest(_derive(master, salt, b"file salt"), identity, "sha256")
    cipher = ChaCha20Poly1305(_derive(master, file_salt, b"file key"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as plain, target.open("wb") as file:
        file.write(MAGIC + salt + file_salt)
        for nonce, chunk in _chunks(plain, _CHUNK_BYTES):
            file.write(cipher.encrypt(nonce, chunk, name.encode()))


def decrypt_file(source: Path, target: Path, name: str, key: ModelKey) -> None:
    """Write the decrypted content to ``target``, which is created only if every chunk is authentic.

    Raises:
        InputError: names the file: not encrypted, another key, or changed since.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with source.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{source}: not an encrypted file")
        salt, file_salt = file.read(SALT_BYTES), file.read(_FILE_SALT_BYTES)
        cipher = ChaCha20Poly1305(_derive(_stretched(key.secret, salt), file_salt, b"file key"))
        try:
            with partial.open("wb") as plain:
                for nonce, chunk in _chunks(file, _CHUNK_BYTES + _TAG_BYTES):
                    plain.write(cipher.decrypt(nonce, chunk, name.encode()))
        except InvalidTag:
            partial.unlink()
            raise InputError(
                f"{name}: cannot be decrypted: it was encrypted with another model key, or it was"
                " changed since"
            ) from None
    partial.replace(target)


def is_encrypted(path: Path) -> bool:
    """Whether a file has the header that ``encrypt_file`` writes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """(nonce, bytes) of each chunk; the nonce marks the last one. An empty file has one chunk."""
    chunk, number = file.read(size), 0
    while True:
        following = file.read(size)
        yield number.to_bytes(11, "big") + (b"\0" if following else b"\1"), chunk
        if not following:
            return
        chunk, number = following, number + 1


@lru_cache(maxsize=8)
def _stretched(secret: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_SCRYPT).derive(secret.encode())


def _derive(master: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, b"fpenet " + purpose).derive(master)
