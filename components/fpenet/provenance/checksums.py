"""SHA256SUMS of a bundle and its signature: checked before anything in the bundle is parsed.

``SHA256SUMS`` has the format of ``sha256sum -c``; ``signing.sign_file`` writes ``SHA256SUMS.sig``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_bytes, digest_file, files_of
from fpenet.provenance.signing import (
    KEYS,
    PublicKey,
    SigningKey,
    read_trusted,
    sign_file,
    signature_of,
    verify_file,
)

SUMS = "SHA256SUMS"
ANYONE = "anyone"
"""Value of ``trusted`` that accepts unsigned files and any signature."""
Trusted = Sequence[PublicKey | Path] | Path | str
"""Accepted signers: public keys, files or folders of public keys, or ``anyone``."""
DEFAULT_TRUST: Trusted = KEYS


@dataclass(frozen=True, slots=True)
class Checksums:
    """A folder whose files match its signed checksums.

    Attributes:
        digests: file below the folder -> SHA-256.
        signed_by: None if ``trusted`` is ``anyone``.
    """

    folder: Path
    digests: Mapping[str, str]
    signed_by: PublicKey | None

    def read(self, name: str) -> bytes:
        """The content of a listed file; the digest is checked on the returned bytes.

        Raises:
            InputError: names the file: not listed, missing or changed.
        """
        path = self.folder / name
        if name not in self.digests:
            raise InputError(f"{path}: not among the files that {SUMS} lists")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; {SUMS} lists it") from None
        if digest_bytes(data) != self.digests[name]:
            raise InputError(f"{path}: its SHA-256 is not the one in {SUMS}")
        return data


def write_checksums(folder: Path, key: SigningKey) -> None:
    """Write the checksums of all files of ``folder``, and sign them."""
    path = folder / SUMS
    files = [file for file in files_of(folder) if file not in (path, signature_of(path))]
    lines = [f"{digest_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    path.write_text("".join(lines), encoding="utf-8")
    sign_file(path, key)


def verify_checksums(folder: Path, trusted: Trusted = DEFAULT_TRUST) -> Checksums:
    """The checksums of ``folder``, after its signature and every listed file were verified.

    Raises:
        InputError: not signed, or signed by a key that is not trusted; or names the first file that
            is missing or changed.
    """
    path = folder / SUMS
    if not path.is_file():
        targets = ", ".join(sorted(file.parent.name for file in folder.glob(f"*/{SUMS}")))
        problem = f"has several targets; name one: {targets}" if targets else "is not a bundle"
        raise InputError(f"{path}: missing; {folder} {problem}")
    text, signed_by = read_signed(path, trusted)
    checksums = Checksums(
        folder, dict(_lines(path, text.decode("utf-8", errors="replace"))), signed_by
    )
    for name in checksums.digests:
        checksums.read(name)
    return checksums


def read_signed(path: Path, trusted: Trusted) -> tuple[bytes, PublicKey | None]:
    """The content of a signed file and the key of ``trusted`` that signed it (None: ``anyone``).

    Raises:
        InputError: names the file, and for an unsigned one how to open it without a signature.
    """
    if isinstance(trusted, str) and trusted == ANYONE:
        return path.read_bytes(), None
    signers = [Path(trusted)] if isinstance(trusted, (str, Path)) else trusted
    keys = [key for key in signers if isinstance(key, PublicKey)]
    keys += read_trusted(key for key in signers if isinstance(key, Path))
    try:
        return verify_file(path, keys)
    except InputError as error:
        if signature_of(path).exists():
            raise
        raise InputError(f"{error}; trusted={ANYONE!r} opens it without a signature") from None


def _lines(path: Path, text: str) -> list[tuple[str, str]]:
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        digest, space, name = line.partition("  ")
        inside = (path.parent / name).resolve().is_relative_to(path.parent.resolve())
        if not (space and len(digest) == 64 and name and inside):
            raise InputError(f"{path}, line {number}: not a digest and a file of this folder")
        lines.append((name, digest))
    return lines
