"""The objects of a promoted release in the release store: its signed manifest and its files.

``releases/<digest>/release.json`` and its signature: ``<digest>`` is the digest of both files, and
the ledger entry of the release pointer names it. ``files/<sha256>``: each file that the manifest
lists. A device downloads its bundle from here without MLflow.
"""

from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_bytes, digest_file
from fpenet.provenance.signing import signature_of
from fpenet.release.release_manifest import RELEASE_MANIFEST, Release, StoredFile
from fpenet.release.store.interface import Store

MANIFEST_DIGEST = "release_manifest"
"""Key of ``LedgerEntry.digests``: the digest of the release manifest and its signature."""


def publish(store: Store, release: Release, folder: Path) -> str:
    """Copy a release into the store; an object that exists is compared with its digest.

    Args:
        folder: contains the release manifest, its signature, and the files of ``release.files``.

    Returns:
        the value of ``MANIFEST_DIGEST`` for the ledger entry.

    Raises:
        InputError: a file is missing or its digest differs from the manifest; the message names it.
    """
    for name, stored in release.files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: missing; the manifest of {release.name} lists it")
        if digest_file(path) != stored.sha256:
            raise InputError(f"{path}: not the file that the manifest of {release.name} lists")
        store.keep_file(stored_name(stored), path)
    manifest, signature = folder / RELEASE_MANIFEST, signature_of(folder / RELEASE_MANIFEST)
    digest = digest_bytes(manifest.read_bytes() + signature.read_bytes())
    for path in (signature, manifest):
        store.keep_file(f"releases/{digest}/{path.name}", path)
    return digest


def stored_name(stored: StoredFile) -> str:
    """The name of a file in the store."""
    return f"files/{stored.sha256}"
