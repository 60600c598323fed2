"""Whether what MLflow holds of a release is what was signed, and all of it passed.

Input: a version of the deployable model. Does: brings its files here; checks the signature, every
digest from the data to the bundles, the gate's evidence, the required targets, and the golden
points of each engine that can run here. Output: the release, and all that speaks against it.
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
from fpenet.release.release_manifest import ARTIFACTS, RECORD, Release, read_release
from fpenet.release.store.encryption import open_folder

_FILES = (RECORD, signature_of(Path(RECORD)).name, CARD, *ARTIFACTS, "build", "gate", "manifests")
_EVIDENCE = {"gate": GATE, "build": ENGINES}
"""Stage -> the file of it that is judged by."""


def fetch_release(version: RegisteredVersion, folder: Path) -> None:
    """Copy what is inspected of a version out of its run; what is not there is not copied."""
    if version.run_id:
        versions.fetch_run_files(version.run_id, _FILES, folder)


def inspect_release(
    version: RegisteredVersion,
    folder: Path,
    trusted: Sequence[PublicKey],
    required_targets: Sequence[str],
) -> tuple[Release | None, list[str]]:
    """The release that ``fetch_release`` brought, and what speaks against it.

    Returns:
        the release, None where nobody trusted has signed one; the reasons, empty when it is sound.

    Raises:
        InputError: it is encrypted with another model key than this machine's.
    """
    if not (folder / RECORD).is_file():
        return None, [f"it has no {RECORD}: it was not made and signed by this pipeline"]
    try:
        release = read_release(folder, trusted)
    except InputError as error:
        return None, [_without(folder, error)]
    reasons = [*_mismatches(release, version), *_changed_files(release, folder)]
    try:
        gate, build = (_evidence(release, folder, stage) for stage in ("gate", "build"))
        verdict, engines = GateDecision.read(gate), EngineTable.read(build).engines
    except InputError as error:
        return release, [*reasons, _without(folder, error)]
    reasons += objections(verdict, engines, required_targets)
    reasons += _missing_engines(release, engines, required_targets)
    return release, reasons or _wrong_points(_opened(folder), trusted)


def _mismatches(release: Release, version: RegisteredVersion) -> list[str]:
    """Where the signed record is that of another version."""
    wanted, found = (release.model, release.version), (version.model, version.version)
    if wanted != found:
        return [f"its {RECORD} is that of {' version '.join(wanted)}"]
    if release.digest != version.release:
        return [f"its {RECORD} is of release {release.digest[:12]}, not {version.release[:12]}"]
    return []


def _changed_files(release: Release, folder: Path) -> list[str]:
    """What lies there beside, instead of or without the files that were signed."""
    found = {
        path.relative_to(folder).as_posix(): path
        for name in ARTIFACTS
        for path in files_of(folder / name)
    }
    reasons: list[str] = []
    for name in sorted(found.keys() | release.files.keys()):
        if name not in found:
            reasons.append(f"{name} is missing")
        elif name not in release.files:
            reasons.append(f"{name} was not released")
        elif digest_file(found[name]) != release.files[name].sha256:
            reasons.append(f"{name} is not the file that was released")
    card = folder / CARD
    if not card.is_file() or digest_file(card) != release.manifest.model_card_sha256:
        reasons.append(f"{CARD} is not the one that was released")
    return reasons


def _evidence(release: Release, folder: Path, stage: str) -> Path:
    """The file of one stage, once its digest is the one that was signed.

    Raises:
        InputError: it is missing, or not that one.
    """
    path = folder / stage / _EVIDENCE[stage]
    manifest = read_manifest(folder / "manifests" / stage)
    if manifest.content != release.digests[stage]:
        raise InputError(f"{folder}/manifests/{stage}: is not that of the release")
    if not path.is_file():
        raise InputError(f"{path}: missing")
    if digest_file(path) != manifest.files[path.name]:
        raise InputError(f"{path}: is not the one that the gate saw")
    return path


def _missing_engines(
    release: Release, engines: Sequence[Engine], required_targets: Sequence[str]
) -> list[str]:
    """Required targets whose folder in the bundle holds none of the engines that were judged."""
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
            reasons.append(f"required target {target}: its bundle holds no engine that was judged")
    return reasons


def _opened(folder: Path) -> Path:
    """The folder above ``deployable`` with engines that can be run: decrypted, where they are not.

    Without the model key they cannot run here, as those of a device that is not here; then nothing
    lies below it.

    Raises:
        InputError: this machine has another key.
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
    """What is wrong with the engines of the bundle that can run on this machine."""
    reasons: list[str] = []
    for target in sorted(path for path in folder.glob("deployable/*") if path.is_dir()):
        try:
            checked = check_golden(target, trusted)
        except InputError as error:
            reasons.append(_without(folder, error))
            continue
        reasons += [f"{one.engine}: {reason}" for one in checked for reason in one.reasons]
    return reasons


def _without(folder: Path, error: InputError) -> str:
    """The message with paths as they are in the run."""
    return str(error).replace(f"{folder}/", "")
