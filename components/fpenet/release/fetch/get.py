"""``fpenet get``: the bundle of one target, out of MLflow or the release store, into a folder.

Input: a source, a version or alias, a target. Does: brings the signed record of the release, then
each file of the target's bundle, held to the record before anything is parsed or decrypted; what
came of an earlier try is used. Output: a folder with the bundle, the record, its signature and the
gate's word (``link.json``), put there by one rename; it needs no network afterwards.
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
from fpenet.release.fetch.clients import RECORD_FILES, ReleaseClient, ReleaseFiles, VersionQuery
from fpenet.release.release_manifest import RECORD, Release, StoredFile, read_release
from fpenet.release.store.encryption import open_file
from fpenet.release.store.pointer import LedgerEntry, check_entry, entry_json

LINK = "link.json"


@dataclass(frozen=True, slots=True)
class FetchedRelease:
    """What lies in the folder now.

    Attributes:
        link: the gate's word; None where a version or another alias was asked for.
        fresh: whether anything was brought for it.
    """

    release: Release
    link: LedgerEntry | None
    fresh: bool


def get_release(
    source: ReleaseClient,
    expected: VersionQuery,
    target: str,
    out_dir: Path,
    trusted: Sequence[PublicKey],
) -> FetchedRelease:
    """Bring the bundle of ``target`` to ``out_dir``, in place of what an earlier call brought.

    Raises:
        InputError: no such version or target, a signature or digest that does not hold, an older
            word of the gate than that of ``out_dir``, or a folder that is not of this command;
            ``out_dir`` is as it was.
        ConnectionError: the source failed at every try; another call goes on from here.
    """
    out_dir = out_dir.resolve()
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with locked(out_dir.with_name(f".{out_dir.name}.lock")):
        _require_ours(out_dir)
        choice = source.choose(expected, trusted)
        _refuse_older(out_dir, choice.link, trusted)
        partial = out_dir.with_name(f".{out_dir.name}.partial")
        release = _bring_record(source, choice, expected, partial, trusted)
        if _holds(out_dir, release, target, trusted):
            _write_link(out_dir, choice.link)
            shutil.rmtree(partial)
            return FetchedRelease(release, choice.link, fresh=False)
        bundle = _bring_bundle(source, choice, release, target, partial)
        verify_checksums(bundle, trusted)
        for name in RECORD_FILES:
            (partial / name).rename(bundle / name)
        _write_link(bundle, choice.link)
        _replace(out_dir, bundle)
        shutil.rmtree(partial)
    return FetchedRelease(release, choice.link, fresh=True)


def _require_ours(out_dir: Path) -> None:
    """End what a killed call left half-done, and refuse a folder with something else in it."""
    old = _old(out_dir)
    if old.exists():
        if out_dir.exists():
            shutil.rmtree(old)
        else:
            old.rename(out_dir)
    empty = not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir()))
    if not empty and not (out_dir / RECORD).is_file():
        raise InputError(f"{out_dir}: holds something that `fpenet get` did not bring")


def _refuse_older(out_dir: Path, link: LedgerEntry | None, trusted: Sequence[PublicKey]) -> None:
    """A source that is behind what it said before was put back, or is another one."""
    path = out_dir / LINK
    if link is None or not path.is_file():
        return
    try:
        before = LedgerEntry.read(path)
        check_entry(before, trusted)
    except InputError as error:
        raise InputError(f"{path}: {error}; remove {out_dir} and get it again") from None
    if link.sequence < before.sequence:
        raise InputError(
            f"the source is at sequence {link.sequence}, but {out_dir} came from sequence"
            f" {before.sequence}: it was put back, or is another one; to start anew remove"
            f" {out_dir}"
        )


def _bring_record(
    source: ReleaseClient,
    choice: ReleaseFiles,
    expected: VersionQuery,
    partial: Path,
    trusted: Sequence[PublicKey],
) -> Release:
    partial.mkdir(exist_ok=True)
    for name in RECORD_FILES:
        (partial / name).unlink(missing_ok=True)
        source.fetch(choice, name, None, partial / name)
    release = read_release(partial, trusted)
    if (release.model, release.version) != (expected.model, choice.version):
        raise InputError(
            f"{expected.model} version {choice.version}: its signed record is of {release.model}"
            f" version {release.version}"
        )
    if choice.link is not None and choice.link.release != release.digest:
        raise InputError(
            f"{expected.model} version {choice.version}: its signed record is of release"
            f" {release.digest[:12]}, the gate promoted {str(choice.link.release)[:12]}"
        )
    return release


def _bring_bundle(
    source: ReleaseClient, choice: ReleaseFiles, release: Release, target: str, partial: Path
) -> Path:
    """The target's bundle below ``partial``: every file as the record lists it, then decrypted."""
    above = f"deployable/{target}/"
    wanted = {name: stored for name, stored in release.files.items() if name.startswith(above)}
    if not wanted:
        raise InputError(f"{release.name} ships nothing for target {target}; {_targets(release)}")
    bundle = partial / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    megabytes = 0.0
    for done, (name, stored) in enumerate(wanted.items(), start=1):
        file = _bring(source, choice, name, stored, partial / "files" / stored.sha256)
        path = bundle / name.removeprefix(above)
        path.parent.mkdir(parents=True, exist_ok=True)
        open_file(file, path, name)
        if path.suffix == ".sh":
            path.chmod(0o755)  # neither MLflow nor S3 keeps modes
        megabytes += stored.size_bytes / 1e6
        report(done, len(wanted), "files", mb=megabytes)
    return bundle


def _bring(
    source: ReleaseClient, choice: ReleaseFiles, name: str, stored: StoredFile, path: Path
) -> Path:
    """One file, brought once more where other bytes came."""
    for _ in range(2):
        if not path.exists() or path.stat().st_size < stored.size_bytes:
            source.fetch(choice, name, stored, path)
        if digest_file(path) == stored.sha256:
            return path
        path.unlink()
    raise InputError(f"{name}: other bytes came than the signed record lists, twice over")


def _targets(release: Release) -> str:
    shipped = {name.split("/")[1] for name in release.files if name.startswith("deployable/")}
    targets = sorted({engine.target for engine in release.manifest.engines} & shipped)
    return f"it has {', '.join(targets) or 'nothing'}"


def _holds(out_dir: Path, release: Release, target: str, trusted: Sequence[PublicKey]) -> bool:
    """Whether that very bundle lies there, whole."""
    try:
        verify_checksums(out_dir, trusted)
        model = BundleModel.read(out_dir / MODEL)
        same = read_release(out_dir, trusted).digest == release.digest
        return same and model.target == target
    except (KeyError, TypeError, ValueError):
        return False


def _write_link(folder: Path, link: LedgerEntry | None) -> None:
    """Put the gate's word there, whole, or take the old one away."""
    if link is None:
        (folder / LINK).unlink(missing_ok=True)
        return
    partial = folder / f".{LINK}.partial"
    partial.write_text(entry_json(link) + "\n", encoding="utf-8")
    partial.replace(folder / LINK)


def _replace(out_dir: Path, bundle: Path) -> None:
    if out_dir.exists():
        out_dir.rename(_old(out_dir))
    os.rename(bundle, out_dir)
    shutil.rmtree(_old(out_dir), ignore_errors=True)


def _old(out_dir: Path) -> Path:
    return out_dir.with_name(f".{out_dir.name}.old")
