"""``fpenet get``: download the bundle of one target from MLflow or the release store.

Input: a client, a version or alias, and a target. Does: downloads the signed release manifest, then
each file of the bundle, and compares its digest with the manifest before the file is parsed or
decrypted; files of an earlier, unfinished download are reused. Output: a folder with the bundle,
the release manifest, its signature and the ledger entry (``ledger_entry.json``). The folder appears
by one rename and needs no network afterwards.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.files import locked
from fpenet.core.progress import report
from fpenet.deploy.bundle.bundle_model import MODEL, BundleModel
from fpenet.provenance.checksums import verify_checksums
from fpenet.provenance.digest import digest_file
from fpenet.provenance.signing import PublicKey
from fpenet.release.fetch.clients import MANIFEST_FILES, ReleaseClient, ReleaseFiles, VersionQuery
from fpenet.release.release_manifest import RELEASE_MANIFEST, Release, StoredFile, read_release
from fpenet.release.store.encryption import open_file
from fpenet.release.store.pointer import LedgerEntry, check_entry, entry_json

ENTRY = "ledger_entry.json"


@dataclass(frozen=True, slots=True)
class FetchedRelease:
    """The release in the output folder.

    Attributes:
        entry: its ledger entry; None for a version or another alias.
        fresh: whether this call downloaded the bundle; False: the folder already contained it.
    """

    release: Release
    entry: LedgerEntry | None
    fresh: bool


def get_release(
    source: ReleaseClient,
    expected: VersionQuery,
    target: str,
    out_dir: Path,
    trusted: Sequence[PublicKey],
) -> FetchedRelease:
    """Download the bundle of ``target`` to ``out_dir``; it replaces the bundle of an earlier call.

    Raises:
        InputError: the version or target does not exist, a signature or digest is wrong, the ledger
            entry is older than the one in ``out_dir``, or this command did not write ``out_dir``;
            ``out_dir`` is not changed.
        ConnectionError: the download failed at every try; another call continues it.
    """
    out_dir = out_dir.resolve()
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with locked(out_dir.with_name(f".{out_dir.name}.lock")):
        _require_ours(out_dir)
        choice = source.choose(expected, trusted)
        _refuse_older(out_dir, choice.entry, trusted)
        partial = out_dir.with_name(f".{out_dir.name}.partial")
        release = _bring_record(source, choice, expected, partial, trusted)
        if _holds(out_dir, release, target, trusted):
            _write_entry(out_dir, choice.entry)
            shutil.rmtree(partial)
            return FetchedRelease(release, choice.entry, fresh=False)
        bundle = _bring_bundle(source, choice, release, target, partial)
        verify_checksums(bundle, trusted)
        for name in MANIFEST_FILES:
            (partial / name).rename(bundle / name)
        _write_entry(bundle, choice.entry)
        _replace(out_dir, bundle)
        shutil.rmtree(partial)
    return FetchedRelease(release, choice.entry, fresh=True)


def _require_ours(out_dir: Path) -> None:
    """Finish the rename of an interrupted call; refuse a folder that this command did not write."""
    old = _old(out_dir)
    if old.exists():
        if out_dir.exists():
            shutil.rmtree(old)
        else:
            old.rename(out_dir)
    empty = not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir()))
    if not empty and not (out_dir / RELEASE_MANIFEST).is_file():
        raise InputError(f"{out_dir}: not empty, and not written by `fpenet get`")


def _refuse_older(out_dir: Path, entry: LedgerEntry | None, trusted: Sequence[PublicKey]) -> None:
    """Refuse a ledger entry that is older than the one in ``out_dir``."""
    path = out_dir / ENTRY
    if entry is None or not path.is_file():
        return
    try:
        before = LedgerEntry.read(path)
        check_entry(before, trusted)
    except InputError as error:
        raise InputError(f"{path}: {error}; remove {out_dir} and run again") from None
    if entry.sequence < before.sequence:
        raise InputError(
            f"the ledger entry of the source has sequence {entry.sequence}, but {out_dir} has"
            f" sequence {before.sequence}: the source was reset, or it is another source; remove"
            f" {out_dir} to accept it"
        )


def _bring_record(
    source: ReleaseClient,
    choice: ReleaseFiles,
    expected: VersionQuery,
    partial: Path,
    trusted: Sequence[PublicKey],
) -> Release:
    partial.mkdir(exist_ok=True)
    for name in MANIFEST_FILES:
        (partial / name).unlink(missing_ok=True)
        source.fetch(choice, name, None, partial / name)
    release = read_release(partial, trusted)
    if (release.model, release.version) != (expected.model, choice.version):
        raise InputError(
            f"{expected.model} version {choice.version}: its signed release manifest is for"
            f" {release.model} version {release.version}"
        )
    if choice.entry is not None and choice.entry.release_digest != release.digest:
        raise InputError(
            f"{expected.model} version {choice.version}: its signed release manifest is for release"
            f" {release.digest[:12]}, but release {str(choice.entry.release_digest)[:12]} was"
            " promoted"
        )
    return release


def _bring_bundle(
    source: ReleaseClient, choice: ReleaseFiles, release: Release, target: str, partial: Path
) -> Path:
    """Download the files that the manifest lists for the target, check and decrypt them."""
    prefix = f"deployable/{target}/"
    files = {name: stored for name, stored in release.files.items() if name.startswith(prefix)}
    if not files:
        raise InputError(f"{release.name} has no bundle for {target}; {_targets(release)}")
    bundle = partial / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    megabytes = 0.0
    for done, (name, stored) in enumerate(files.items(), start=1):
        file = _bring(source, choice, name, stored, partial / "files" / stored.sha256)
        path = bundle / name.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        open_file(file, path, name)
        if path.suffix == ".sh":
            path.chmod(0o755)  # neither MLflow nor S3 stores file modes
        megabytes += stored.size_bytes / 1e6
        report(done, len(files), "files", mb=megabytes)
    return bundle


def _bring(
    source: ReleaseClient, choice: ReleaseFiles, name: str, stored: StoredFile, path: Path
) -> Path:
    """Download one file; a file with another digest is downloaded a second time."""
    for _ in range(2):
        if not path.exists() or path.stat().st_size < stored.size_bytes:
            source.fetch(choice, name, stored, path)
        if digest_file(path) == stored.sha256:
            return path
        path.unlink()
    raise InputError(f"{name}: two downloads had another digest than the signed release manifest")


def _targets(release: Release) -> str:
    shipped = {name.split("/")[1] for name in release.files if name.startswith("deployable/")}
    targets = sorted({engine.target for engine in release.manifest.engines} & shipped)
    return f"its targets: {', '.join(targets) or 'none'}"


def _holds(out_dir: Path, release: Release, target: str, trusted: Sequence[PublicKey]) -> bool:
    """Whether ``out_dir`` contains the complete bundle of this release and target."""
    try:
        verify_checksums(out_dir, trusted)
        model = BundleModel.read(out_dir / MODEL)
        same = read_release(out_dir, trusted).digest == release.digest
        return same and model.target == target
    except (KeyError, TypeError, ValueError):
        return False


def _write_entry(folder: Path, entry: LedgerEntry | None) -> None:
    """Replace ``ledger_entry.json`` by the ledger entry, or remove it where ``entry`` is None."""
    if entry is None:
        (folder / ENTRY).unlink(missing_ok=True)
        return
    partial = folder / f".{ENTRY}.partial"
    partial.write_text(entry_json(entry) + "\n", encoding="utf-8")
    partial.replace(folder / ENTRY)


def _replace(out_dir: Path, bundle: Path) -> None:
    if out_dir.exists():
        out_dir.rename(_old(out_dir))
    os.rename(bundle, out_dir)
    shutil.rmtree(_old(out_dir), ignore_errors=True)


def _old(out_dir: Path) -> Path:
    return out_dir.with_name(f".{out_dir.name}.old")
