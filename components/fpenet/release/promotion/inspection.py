"""Inspect a release before its promotion: its files in MLflow must be the signed ones.

Input: a version of the deployable model. Does: downloads its files; checks the signature, every
digest from the data to the bundles, the gate's evidence, the required targets, and the golden
points of each engine that can run on this machine. Output: the release, and the reasons against
its promotion.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineTable
from fpenet.deploy.judge.golden import check_golden
from fpenet.kpi.gate import GATE, GateDecision
from fpenet.provenance.digest import digest_file, files_of
from fpenet.provenance.encryption import current_model_key, is_encrypted
from fpenet.provenance.manifest import read_manifest
from fpenet.provenance.signing import PublicKey, signature_of
from fpenet.release.evidence import CARD, objections
from fpenet.release.registry import versions
from fpenet.release.registry.versions import RegisteredVersion
from fpenet.release.release_manifest import ARTIFACTS, RELEASE_MANIFEST, Release, read_release
from fpenet.release.store.encryption import open_folder

_FILES = (
    RELEASE_MANIFEST,
    signature_of(Path(RELEASE_MANIFEST)).name,
    CARD,
    *ARTIFACTS,
    "build",
    "gate",
    "manifests",
)
_EVIDENCE = {"gate": GATE, "build": ENGINES}
"""Stage -> its evidence file."""


def fetch_release(registered: RegisteredVersion, folder: Path) -> None:
    """Download the files that are inspected from the version's run; missing files are skipped."""
    if registered.run_id:
        versions.fetch_run_files(registered.run_id, _FILES, folder)


def inspect_release(
    registered: RegisteredVersion,
    folder: Path,
    trusted: Sequence[PublicKey],
    required_targets: Sequence[str],
) -> tuple[Release | None, list[str]]:
    """Inspect the release that ``fetch_release`` downloaded into ``folder``.

    Returns:
        the release, None where no trusted key signed it; and the reasons against its promotion,
        empty when there are none.

    Raises:
        InputError: it is encrypted with another model key than the one of this machine.
    """
    if not (folder / RELEASE_MANIFEST).is_file():
        return None, [f"it has no {RELEASE_MANIFEST}: this pipeline did not register it"]
    try:
        release = read_release(folder, trusted)
    except InputError as error:
        return None, [_without(folder, error)]
    reasons = [*_mismatches(release, registered), *_changed_files(release, folder)]
    try:
        gate, build = (_evidence(release, folder, stage) for stage in ("gate", "build"))
        verdict, engines = GateDecision.read(gate), EngineTable.read(build).engines
    except InputError as error:
        return release, [*reasons, _without(folder, error)]
    reasons += objections(verdict, engines, required_targets)
    reasons += _missing_engines(release, engines, required_targets)
    return release, reasons or _wrong_points(_opened(folder), trusted)


def _mismatches(release: Release, registered: RegisteredVersion) -> list[str]:
    """The reason where the signed release manifest is for another version."""
    signed, expected = (release.model, release.version), (registered.model, registered.version)
    if signed != expected:
        return [f"its {RELEASE_MANIFEST} is for {' version '.join(signed)}"]
    if release.digest != registered.release_digest:
        return [
            f"its {RELEASE_MANIFEST} is for release {release.digest[:12]}, not"
            f" {registered.release_digest[:12]}"
        ]
    return []


def _changed_files(release: Release, folder: Path) -> list[str]:
    """The differences between the files in ``folder`` and the signed release manifest."""
    present = {
        path.relative_to(folder).as_posix(): path
        for name in ARTIFACTS
        for path in files_of(folder / name)
    }
    reasons: list[str] = []
    for name in sorted(present.keys() | release.files.keys()):
        if name not in present:
            reasons.append(f"{name} is missing")
        elif name not in release.files:
            reasons.append(f"{name} is not in the release")
        elif digest_file(present[name]) != release.files[name].sha256:
            reasons.append(f"{name} is not the released file")
    card = folder / CARD
    if not card.is_file() or digest_file(card) != release.manifest.model_card_sha256:
        reasons.append(f"{CARD} is not the released file")
    return reasons


def _evidence(release: Release, folder: Path, stage: str) -> Path:
    """The evidence file of one stage, after its digest is checked.

    Raises:
        InputError: the file is missing, or its digest is not the signed one.
    """
    path = folder / stage / _EVIDENCE[stage]
    manifest = read_manifest(folder / "manifests" / stage)
    if manifest.content != release.digests[stage]:
        raise InputError(f"{folder}/manifests/{stage}: not the manifest of the release")
    if not path.is_file():
        raise InputError(f"{path}: missing")
    if digest_file(path) != manifest.files[path.name]:
        raise InputError(f"{path}: its digest is not that of stage {stage}")
    return path


def _missing_engines(
    release: Release, engines: Sequence[Engine], required_targets: Sequence[str]
) -> list[str]:
    """The required targets whose bundle contains none of the judged engines."""
    reasons: list[str] = []
    for target in required_targets:
        digests = {row.sha256 for row in engines if row.target == target}
        prefix = f"deployable/{target}/"
        shipped = {
            file.plain_sha256 or file.sha256
            for name, file in release.files.items()
            if name.startswith(prefix)
        }
        if not digests & shipped:
            reasons.append(f"required target {target}: its bundle contains no judged engine")
    return reasons


def _opened(folder: Path) -> Path:
    """The parent folder of ``deployable``; encrypted bundles are decrypted into a copy first.

    Without the model key encrypted engines cannot run on this machine; the returned folder then
    contains no bundles.

    Raises:
        InputError: the bundles are encrypted with another model key.
    """
    bundles = folder / "deployable"
    if not any(map(is_encrypted, files_of(bundles))):
        return folder
    opened = folder / "opened"
    if current_model_key() is not None:
        shutil.copytree(bundles, opened / "deployable")
        open_folder(opened / "deployable")
    return opened


def _wrong_points(folder: Path, trusted: Sequence[PublicKey]) -> list[str]:
    """The failures of the golden points of each engine that can run on this machine."""
    reasons: list[str] = []
    for target_dir in sorted(path for path in folder.glob("deployable/*") if path.is_dir()):
        try:
            checked = check_golden(target_dir, trusted)
        except InputError as error:
            reasons.append(_without(folder, error))
            continue
        reasons += [f"{one.engine_id}: {reason}" for one in checked for reason in one.reasons]
    return reasons


def _without(folder: Path, error: InputError) -> str:
    """The message of ``error`` with paths relative to the run."""
    return str(error).replace(f"{folder}/", "")
