"""What a promoted release leaves in the release store: its signed record, and every file by digest.

``releases/<record>/release.json`` with its signature, where ``<record>`` is the digest of both and
stands in the link of the pointer; ``files/<sha256>`` for each file that the record lists. A device
gets its bundle from there without MLflow, and a rollback finds all of an old release again.
"""

from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_bytes, digest_file
from fpenet.provenance.signing import signature_of
from fpenet.release.release_manifest import RECORD, Release, StoredFile
from fpenet.release.store.interface import Store

RECORD_DIGEST = "record"
"""Key of ``Link.digests``: the digest of the release's record and signature."""


def publish(store: Store, release: Release, folder: Path) -> str:
    """Keep a release in the store; what is there already is held to its digest.

    Args:
        folder: the files that ``release.files`` lists, below the record and its signature.

    Returns:
        the digest that the link names as ``RECORD_DIGEST``.

    Raises:
        InputError: naming a file that is missing, or is not the one that the record lists.
    """
    for name, stored in release.files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: missing; the record of {release.name} lists it")
        if digest_file(path) != stored.sha256:
            raise InputError(f"{path}: is not the file that the record of {release.name} lists")
        store.keep_file(stored_name(stored), path)
    record, signature = folder / RECORD, signature_of(folder / RECORD)
    digest = digest_bytes(record.read_bytes() + signature.read_bytes())
    for path in (signature, record):
        store.keep_file(f"releases/{digest}/{path.name}", path)
    return digest


def stored_name(stored: StoredFile) -> str:
    """Where a file lies in the store."""
    return f"files/{stored.sha256}"
