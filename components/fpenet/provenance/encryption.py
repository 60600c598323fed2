"""The model load key: files that only who has it can open, and that nobody else can alter unseen.

A file is a header and chunks of 64 KiB, each with ChaCha20-Poly1305 under a key of that file alone;
a chunk's nonce is its number and whether it is the last, so that none can be left out, moved or cut
off (the STREAM construction, as age has it). The file's name is authenticated too. The key of a
file comes, by HKDF, from the model key, which scrypt stretches, and from a keyed digest of its name
and content: the same file gives the same bytes again, so that a registration can be tried again.

The key itself is never printed: ``repr`` and messages leave it out. It is held, not handed on, so
that it is no parameter of a task or a stage, which a scheduler or a manifest would write down.
"""

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
"""Where the key is; read at the edge (cli, flows)."""
_FILE_SALT_BYTES = 32
_CHUNK_BYTES, _TAG_BYTES = 1 << 16, 16
_SCRYPT = {"n": 1 << 16, "r": 8, "p": 1}  # 64 MiB, a fifth of a second
_SHORTEST = 16


@dataclass(frozen=True, slots=True)
class ModelKey:
    """A secret of 16 characters or more; a random one is best: ``openssl rand -base64 32``.

    Raises:
        InputError: it is shorter.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < _SHORTEST:
            raise InputError(
                f"the model key has fewer than {_SHORTEST} characters and could be guessed;"
                " take `openssl rand -base64 32`"
            )

    def id(self, salt: bytes) -> str:
        """What tells two keys apart and gives neither away: 16 hex digits."""
        return _derive(_stretched(self.secret, salt), salt, b"id")[:8].hex()


def key_in(environ: Mapping[str, str]) -> ModelKey | None:
    """The key that an environment holds, if any."""
    secret = environ.get(VARIABLE)
    return ModelKey(secret) if secret else None


_HELD: ContextVar[ModelKey | None] = ContextVar("model_key", default=None)


@contextmanager
def model_key_context(key: ModelKey | None) -> Iterator[None]:
    """Have ``current_model_key`` give ``key`` in this thread meanwhile."""
    token = _HELD.set(key)
    try:
        yield
    finally:
        _HELD.reset(token)


def current_model_key() -> ModelKey | None:
    """The key that whoever called us holds; None where nobody has given one."""
    return _HELD.get()


def encrypt_file(source: Path, target: Path, name: str, key: ModelKey, salt: bytes) -> None:
    """Write ``source``, encrypted, to ``target``.

    Args:
        name: authenticated with it; who decrypts must say the same.
        salt: ``SALT_BYTES`` for scrypt, of the release: not secret, the same for all its files.
    """
    master = _stretched(key.secret, salt)
    about = name.encode() + b"\0" + bytes.fromhex(digest_file(source))
    file_salt = hmac.digest(_derive(master, salt, b"file salt"), about, "sha256")
    cipher = ChaCha20Poly1305(_derive(master, file_salt, b"file key"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as plain, target.open("wb") as file:
        file.write(MAGIC + salt + file_salt)
        for nonce, chunk in _chunks(plain, _CHUNK_BYTES):
            file.write(cipher.encrypt(nonce, chunk, name.encode()))


def decrypt_file(source: Path, target: Path, name: str, key: ModelKey) -> None:
    """Write what ``encrypt_file`` was given to ``target``, which exists only if all of it holds.

    Raises:
        InputError: naming the file: not encrypted, another key, or changed since.
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
                f"{name}: cannot be decrypted: this is not the model key that it was encrypted"
                " with, or it was changed since"
            ) from None
    partial.replace(target)


def is_encrypted(path: Path) -> bool:
    """Whether a file is one that ``encrypt_file`` wrote."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """(nonce, bytes) of each chunk; the last one is marked, and there is one in an empty file."""
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
