"""What a promoted release leaves in the release store: its signed record, and every file by digest.

``releases/<record>/release.json`` with its signature, where ``<record>`` is the digest of both and
stands in the link of the pointer; ``files/<sha256>`` for each file that the record lists. A device
gets its bundle from there without MLflow, and a rollback finds all of an old release again.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.provenance.digest import digest_bytes, digest_file
from components.provenance.sign import PublicKey, signature_of
from components.release.pointer import Link
from components.release.signed import RECORD, Release, StoredFile, read_release
from components.release.store import Store

RECORD_DIGEST = "record"
"""Key of ``Link.digests``: the digest of the release's record and signature."""


def publish(store: Store, release: Release, folder: Path) -> str:
    """Keep a release in the store; what is there already is held to its digest.

    Args:
        folder: the files that ``release.files`` lists, below the record and its signature.

    Returns:
        the digest that the link names as ``RECORD_DIGEST``.

    Raises:
        ValueError: naming a file that is missing, or is not the one that the record lists.
    """
    for name, stored in release.files.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path}: missing; the record of {release.name} lists it")
        if digest_file(path) != stored.sha256:
            raise ValueError(f"{path}: is not the file that the record of {release.name} lists")
        store.keep_file(stored_name(stored), path)
    record, signature = folder / RECORD, signature_of(folder / RECORD)
    digest = digest_bytes(record.read_bytes() + signature.read_bytes())
    for path in (signature, record):
        store.keep_file(f"releases/{digest}/{path.name}", path)
    return digest


def fetch_record(store: Store, link: Link, folder: Path, trusted: Sequence[PublicKey]) -> Release:
    """Bring the record that a link names, and its signature, into ``folder``.

    Raises:
        ValueError: the link names none, it is not there, not signed by a trusted key, or of another
            release than the link's.
    """
    digest = link.digests.get(RECORD_DIGEST)
    if digest is None:
        raise ValueError(f"sequence {link.sequence} of the release pointer names no record")
    for name in (RECORD, signature_of(Path(RECORD)).name):
        (folder / name).unlink(missing_ok=True)
        store.fetch(f"releases/{digest}/{name}", folder / name)
    release = read_release(folder, trusted)
    if release.digest != link.release:
        raise ValueError(
            f"{folder / RECORD}: is release {release.digest[:12]}; sequence {link.sequence} of the"
            f" release pointer says {str(link.release)[:12]}"
        )
    return release


def missing_files(store: Store, release: Release) -> list[str]:
    """What of a release is not in the store as it was kept: each file is read back.

    Returns:
        one reason a file; empty where all is there.
    """
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        for name, stored in release.files.items():
            path.unlink(missing_ok=True)
            try:
                store.fetch(stored_name(stored), path)
            except ValueError:
                reasons.append(f"{name} is missing in the release store")
                continue
            if digest_file(path) != stored.sha256:
                reasons.append(f"{name} was changed in the release store")
    return reasons


def stored_name(stored: StoredFile) -> str:
    """Where a file lies in the store."""
    return f"files/{stored.sha256}"
