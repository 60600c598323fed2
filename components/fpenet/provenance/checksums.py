"""SHA256SUMS of a bundle and its signature: checked before anything in the bundle is parsed.

``SHA256SUMS`` is what ``sha256sum -c`` reads, ``SHA256SUMS.sig`` what ``provenance.sign`` writes.
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
"""Whom to trust to open what nobody signed, or a stranger did."""
Trusted = Sequence[PublicKey | Path] | Path | str
"""Whose signature is wanted: keys, files or folders of public keys, or ``anyone``."""
DEFAULT_TRUST: Trusted = KEYS


@dataclass(frozen=True, slots=True)
class Checksums:
    """A folder whose files were as they were signed.

    Attributes:
        digests: file below the folder -> SHA-256.
        signed_by: None where anyone is trusted.
    """

    folder: Path
    digests: Mapping[str, str]
    signed_by: PublicKey | None

    def read(self, name: str) -> bytes:
        """What a listed file holds, its digest checked on the very bytes that are returned.

        Raises:
            InputError: naming the file: not listed, missing or changed.
        """
        path = self.folder / name
        if name not in self.digests:
            raise InputError(f"{path}: not among the files that {SUMS} lists")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; {SUMS} lists it") from None
        if digest_bytes(data) != self.digests[name]:
            raise InputError(f"{path}: is not the file that {SUMS} lists")
        return data


def write_checksums(folder: Path, key: SigningKey) -> None:
    """List every file of ``folder``, and sign the list."""
    path = folder / SUMS
    files = [file for file in files_of(folder) if file not in (path, signature_of(path))]
    lines = [f"{digest_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    path.write_text("".join(lines), encoding="utf-8")
    sign_file(path, key)


def verify_checksums(folder: Path, trusted: Trusted = DEFAULT_TRUST) -> Checksums:
    """The signed folder, once its signature and every listed file were as they should be.

    Raises:
        InputError: not signed, or by whom nobody here trusts; or naming the first file that is
            missing or changed.
    """
    path = folder / SUMS
    if not path.is_file():
        targets = ", ".join(sorted(one.parent.name for one in folder.glob(f"*/{SUMS}")))
        told = f"holds several targets; name one: {targets}" if targets else "is not a bundle"
        raise InputError(f"{path}: missing; {folder} {told}")
    text, signed_by = read_signed(path, trusted)
    sums = Checksums(folder, dict(_lines(path, text.decode("utf-8", errors="replace"))), signed_by)
    for name in sums.digests:
        sums.read(name)
    return sums


def read_signed(path: Path, trusted: Trusted) -> tuple[bytes, PublicKey | None]:
    """What a file holds, and which of ``trusted`` signed it; None where anyone is trusted.

    Raises:
        InputError: naming the file; it says how to open it all the same.
    """
    if isinstance(trusted, str) and trusted == ANYONE:
        return path.read_bytes(), None
    given = [Path(trusted)] if isinstance(trusted, (str, Path)) else trusted
    keys = [key for key in given if isinstance(key, PublicKey)]
    keys += read_trusted(key for key in given if isinstance(key, Path))
    try:
        return verify_file(path, keys)
    except InputError as error:
        if signature_of(path).exists():
            raise
        raise InputError(f"{error}; trusted={ANYONE!r} opens it all the same") from None


def _lines(path: Path, text: str) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        digest, space, name = line.partition("  ")
        inside = (path.parent / name).resolve().is_relative_to(path.parent.resolve())
        if not (space and len(digest) == 64 and name and inside):
            raise InputError(f"{path}, line {number}: not a digest and a file of this folder")
        found.append((name, digest))
    return found
