"""Ed25519 signatures of files and bytes.

A key is two PEM files: ``<name>.pem``, private and readable by its owner only, and ``<name>.pub``,
which goes into the folder of trusted keys. A signature is one line of text: ``ed25519``, the key's
id and 64 bytes in base64. The signature of a file is in ``<file>.sig`` in the same folder.
Functions return bytes only after verification, so that the parsed bytes are the verified ones.
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
"""Default folder of trusted public keys; ``make setup`` creates one there."""
DEVELOPMENT = "development"
"""Name of the key that ``make setup`` creates."""
SUFFIX = ".sig"

_WARNING = ", made by `make setup`: for trials, not for production"
_LARGEST_KEY_BYTES = 4096
_LINE = re.compile(r"ed25519 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\n?")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Public key that verifies a signature.

    Attributes:
        name: stem of its file name.
        raw: the 32 bytes of the key.
    """

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        """The first 16 hex digits of its SHA-256."""
        return digest_bytes(self.raw)[:16]

    @property
    def described(self) -> str:
        """Name and id; for the development key, also a warning.

        >>> PublicKey("development", bytes(32)).described
        'development key 66687aadf862bd77, made by `make setup`: for trials, not for production'
        """
        return f"{self}{_WARNING if self.name == DEVELOPMENT else ''}"

    def __str__(self) -> str:
        return f"{self.name} key {self.id}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Key pair that signs; ``repr`` leaves out the private key."""

    public: PublicKey
    private: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of 64 bytes and the id of its key; ``str`` gives the line of text."""

    key_id: str
    value: bytes

    def __str__(self) -> str:
        return f"ed25519 {self.key_id} {base64.b64encode(self.value).decode()}"


def sign(payload: bytes, key: SigningKey) -> Signature:
    """The signature of ``payload``; deterministic for the same bytes and key.

    JSON is signed in its canonical form: ``sign(canonical_json(value), key)``.
    """
    return Signature(key.public.id, key.private.sign(payload))


def verify(
    payload: bytes, signature: Signature, trusted: Sequence[PublicKey], source: Path | str
) -> PublicKey:
    """The trusted key that signed ``payload``.

    Args:
        source: file of the payload, for the error message.

    Raises:
        InputError: names ``source`` and the key: not trusted, or the signature does not match.
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
    """Parse the line of text of a signature.

    Raises:
        InputError: names ``source``: not a signature.
    """
    match = _LINE.fullmatch(text)
    value = base64.b64decode(match[2]) if match else b""
    # The last digit of base64 has bits that decoding ignores: they must be zero, as in ``str``.
    if not match or base64.b64encode(value).decode() != match[2]:
        raise InputError(f"{source}: not a signature; must be one line 'ed25519 KEY-ID BASE64'")
    return Signature(match[1], value)


def sign_file(path: Path, key: SigningKey) -> None:
    """Write the signature of ``path`` to ``<path>.sig``."""
    signature = sign(path.read_bytes(), key)
    signature_of(path).write_text(f"{signature}\n", encoding="ascii")


def verify_file(path: Path, trusted: Sequence[PublicKey]) -> tuple[bytes, PublicKey]:
    """The content of a signed file, and the trusted key that signed it.

    Raises:
        InputError: names the file and the key: missing, not signed, not trusted, or changed.
    """
    signature_path = signature_of(path)
    try:
        payload = path.read_bytes()
        with signature_path.open("rb") as file:
            text = file.read(_LARGEST_KEY_BYTES).decode("ascii", errors="replace")
    except FileNotFoundError as error:
        problem = (
            "missing"
            if Path(error.filename) == path
            else f"not signed; {signature_path.name} is missing"
        )
        raise InputError(f"{path}: {problem}") from None
    return payload, verify(payload, parse_signature(text, signature_path), trusted, path)


def signature_of(path: Path) -> Path:
    """The path of the signature of ``path``."""
    return path.with_name(path.name + SUFFIX)


def make_key(path: Path) -> SigningKey:
    """Create a key pair: ``path``, readable by its owner only, and the public key ``<stem>.pub``.

    Raises:
        InputError: the path does not end in ``.pem``, or exists already.
    """
    if path.suffix != ".pem":
        raise InputError(f"{path}: the file name of a private key must be NAME.pem")
    private = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(f"{path}: exists already; choose another name") from None
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
        InputError: names the file: missing, accessible to other users, or no Ed25519 key.
    """
    data = _read_key(path, "; `make setup` creates the development key, `fpenet key` another")
    if path.stat().st_mode & 0o007:
        raise InputError(f"{path}: a private key that every user can read; chmod 600 {path}")
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 private key in PEM")
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(PublicKey(path.stem, raw), private)


def read_trusted(paths: Iterable[Path]) -> tuple[PublicKey, ...]:
    """The public keys in ``paths``: files, or folders with ``*.pub`` files.

    Raises:
        InputError: names the path: missing, a folder without keys, or not a public key.
    """
    keys: list[PublicKey] = []
    for path in paths:
        files = sorted(path.glob("*.pub")) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no public key (*.pub) in it, so no signature is trusted")
        keys += map(_read_public_key, files)
    return tuple(keys)


def _read_public_key(path: Path) -> PublicKey:
    data = _read_key(path, ", so no signature is trusted; put the signer's public key there")
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
