"""Ed25519 signatures: who made what is about to be opened.

A key is two PEM files: ``<name>.pem``, private and readable by its owner alone, and ``<name>.pub``,
which whoever trusts it keeps in a folder. A signature is one line of text, ``ed25519``, the key's
id and 64 bytes in base64; that of a file lies beside it, in ``<file>.sig``. Bytes are returned only
once their signature holds, so that what is parsed is what was verified.
"""

import base64
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_bytes

KEYS = Path(".keys")
"""Where public keys are looked for when nobody says where, and where ``make setup`` makes one."""
DEVELOPMENT = "development"
"""Name of the key that ``make setup`` makes."""
SUFFIX = ".sig"

_WORTH = ", made by `make setup`: for trials, not for production"
_LARGEST_KEY_BYTES = 4096
_LINE = re.compile(r"ed25519 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\n?")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a signature is checked with.

    Attributes:
        name: of its file.
        raw: its 32 bytes.
    """

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        """The first 16 hex digits of its SHA-256."""
        return digest_bytes(self.raw)[:16]

    @property
    def described(self) -> str:
        """Its name, and what the development key is worth.

        >>> PublicKey("development", bytes(32)).described
        'development key 66687aadf862bd77, made by `make setup`: for trials, not for production'
        """
        return f"{self}{_WORTH if self.name == DEVELOPMENT else ''}"

    def __str__(self) -> str:
        return f"{self.name} key {self.id}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs; its private half is never printed."""

    public: PublicKey
    private: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """64 bytes, and the id of the key that made them; ``str`` is its one line of text."""

    key_id: str
    value: bytes

    def __str__(self) -> str:
        return f"ed25519 {self.key_id} {base64.b64encode(self.value).decode()}"


def sign(payload: bytes, key: SigningKey) -> Signature:
    """The signature of ``payload``; the same bytes and key always give the same one.

    JSON is signed in its canonical form: ``sign(canonical_json(value), key)``.
    """
    return Signature(key.public.id, key.private.sign(payload))


def verify(
    payload: bytes, signature: Signature, trusted: Sequence[PublicKey], source: Path | str
) -> PublicKey:
    """The trusted key that signed ``payload``.

    Args:
        source: what the payload is, for the message.

    Raises:
        InputError: naming ``source`` and the key: not trusted, or not what that key signed.
    """
    for key in trusted:
        if key.id == signature.key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key.raw).verify(signature.value, payload)
            except InvalidSignature:
                raise InputError(f"{source}: is not what the {key} signed") from None
            return key
    raise InputError(
        f"{source}: signed by key {signature.key_id}, which is not trusted here; trusted are"
        f" {', '.join(map(str, trusted)) or 'none'}"
    )


def parse_signature(text: str, source: Path | str) -> Signature:
    """The signature that ``str`` wrote.

    Raises:
        InputError: naming ``source``: not one.
    """
    found = _LINE.fullmatch(text)
    if not found:
        raise InputError(f"{source}: not a signature; wanted 'ed25519 KEY-ID BASE64', one line")
    return Signature(found[1], base64.b64decode(found[2]))


def sign_file(path: Path, key: SigningKey) -> None:
    """Write the signature of a file beside it."""
    signature = sign(path.read_bytes(), key)
    signature_of(path).write_text(f"{signature}\n", encoding="ascii")


def verify_file(path: Path, trusted: Sequence[PublicKey]) -> tuple[bytes, PublicKey]:
    """What a signed file holds, and the trusted key that signed it.

    Raises:
        InputError: naming the file and the key: not there, not signed, not trusted, or changed.
    """
    beside = signature_of(path)
    try:
        payload = path.read_bytes()
        with beside.open("rb") as file:
            text = file.read(_LARGEST_KEY_BYTES).decode("ascii", errors="replace")
    except FileNotFoundError as error:
        what = (
            "missing" if Path(error.filename) == path else f"not signed; {beside.name} is missing"
        )
        raise InputError(f"{path}: {what}") from None
    return payload, verify(payload, parse_signature(text, beside), trusted, path)


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies."""
    return path.with_name(path.name + SUFFIX)


def make_key(path: Path) -> SigningKey:
    """Make a key: ``path``, for its owner alone, and its public half beside it.

    Raises:
        InputError: the path does not end in ``.pem``, or is taken.
    """
    if path.suffix != ".pem":
        raise InputError(f"{path}: a private key's file is called NAME.pem")
    private = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(f"{path}: there is a key already") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        path.with_suffix(".pub").write_bytes(public)
    except OSError:
        path.unlink()
        raise
    return read_signing_key(path)


def read_signing_key(path: Path) -> SigningKey:
    """The private key in a file.

    Raises:
        InputError: naming the file: absent, open to other people, or no Ed25519 key.
    """
    data = _read_key(path, "; `make setup` makes the development key, `fpenet key` another")
    if path.stat().st_mode & 0o007:
        raise InputError(f"{path}: a private key that everybody can read; chmod 600 {path}")
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 private key in PEM")
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(PublicKey(path.stem, raw), private)


def read_trusted(paths: Iterable[Path]) -> tuple[PublicKey, ...]:
    """The public keys in some files, and in the ``*.pub`` of some folders.

    Raises:
        InputError: naming what is not there, holds no key, or is none.
    """
    found: list[PublicKey] = []
    for path in paths:
        files = sorted(path.glob("*.pub")) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no public key (*.pub) there, so nothing can be trusted")
        found += map(_read_public_key, files)
    return tuple(found)


def _read_public_key(path: Path) -> PublicKey:
    data = _read_key(path, ", so nothing can be trusted; put the signer's public key there")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: not an Ed25519 public key in PEM")
    return PublicKey(path.stem, key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _read_key(path: Path, remedy: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}{remedy}") from None
