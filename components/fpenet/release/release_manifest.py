"""The release manifest ``release.json`` and its signature: the digest of every file of a release.

Every later download and promotion is checked against this signed file: the evidence by the digest
of each stage, the artifacts by ``files``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from fpenet.core.engine_id import EngineId
from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord, Identifier
from fpenet.deploy.engines.engine_table import EngineStatus
from fpenet.deploy.engines.targets import Precision, RuntimeName
from fpenet.provenance.digest import digest_file, digest_json, files_of
from fpenet.provenance.signing import PublicKey, verify_file

RELEASE_MANIFEST = "release.json"
ARTIFACTS = ("trainable", "deployable")
"""The folders of the MLflow run that the versions of the two registered models contain."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file of the release: its SHA-256 and its size in bytes.

    Attributes:
        plain_sha256: SHA-256 of the file before encryption; None where it is not encrypted.
    """

    sha256: str
    size_bytes: int
    plain_sha256: str | None = None


class ReleaseState(Identifier):
    """Whether every engine was built; ``partial``: an engine is pending, or its build failed."""

    COMPLETE = "complete"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class GateSummary:
    """Whether the gate passed the release, and the reasons of a refusal."""

    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """The training of a release; ``minutes`` is its duration."""

    net: str
    parameters: int
    epochs: int
    faces_seen: int
    minutes: float


@dataclass(frozen=True, slots=True)
class KpiSummary:
    """The KPI of the trained net; the attributes are those of ``KpiReport``."""

    dataset: str
    part: str
    num_faces: int
    num_subjects: int
    num_keypoints: int
    normaliser: str
    metrics: Mapping[str, float | None]
    metric_faces: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ParitySummary:
    """A parity check; the attributes are those of ``ParityCheck``."""

    name: str
    reference: str
    mean_px: float
    max_px: float
    passed: bool


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """An engine.

    Attributes:
        p50_ms: median latency of a call with one face; None where it was not timed.
        passed: whether the gate passed the engine; None where it was not judged.
    """

    target: str
    runtime: RuntimeName
    precision: Precision
    status: EngineStatus
    reason: str | None
    size_bytes: int | None
    sha256: str | None
    p50_ms: float | None
    passed: bool | None

    @property
    def id(self) -> EngineId:
        """Its target and precision."""
        return EngineId(self.target, self.precision)


@dataclass(frozen=True, slots=True)
class ReleaseSummary:
    """The part of ``release.json`` that does not depend on the registry.

    Attributes:
        release_digest: digest of the release, computed from ``digests``.
        candidate: whether the release may become the candidate.
        alias: alias of the registered versions; None where the release is not a candidate.
        refused: the reasons why the release is not a candidate.
        pending, failed: the targets that have an engine with this status.
        digests: stage -> digest of its content.
    """

    release_digest: str
    candidate: bool
    alias: str | None
    refused: tuple[str, ...]
    gate: GateSummary
    state: ReleaseState
    pending: tuple[str, ...]
    failed: tuple[str, ...]
    training: TrainingSummary
    kpi: KpiSummary
    parity: tuple[ParitySummary, ...]
    engines: tuple[EngineSummary, ...]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReleaseManifest(ReleaseSummary, FileRecord):
    """The content of ``release.json``.

    Attributes:
        model, version: the registered deployable model, and the number of its version.
        name: of that version, e.g. ``deployable_v3.0``.
        trainable_model, trainable_version: the same of the registered trainable model.
        signed_by: description of the key that signed the release.
        run_id, experiment_id: MLflow's ids.
        encryption: cipher and id of the model key, or ``none``.
        files: path in the run, below ``trainable/`` or ``deployable/`` -> the stored file.
        report, model_card: paths on the machine that made the release.
    """

    format_version: ClassVar[int] = 2  # 2: release_digest; metric_faces of the KPI

    model: str
    version: str
    name: str
    trainable_model: str
    trainable_version: str
    signed_by: str
    run_id: str
    experiment_id: str
    encryption: str
    files: Mapping[str, StoredFile]
    report: str
    model_card: str
    model_card_sha256: str
    kind: Literal["release"] = "release"


@dataclass(frozen=True, slots=True)
class Release:
    """A release manifest that a trusted key signed.

    Attributes:
        released_by: the key that signed it.
    """

    manifest: ReleaseManifest
    released_by: PublicKey

    @property
    def digest(self) -> str:
        """The digest of the release."""
        return self.manifest.release_digest

    @property
    def name(self) -> str:
        """The name of the version, e.g. ``deployable_v3.0``."""
        return self.manifest.name

    @property
    def model(self) -> str:
        """The name of the registered deployable model."""
        return self.manifest.model

    @property
    def version(self) -> str:
        """The number of the version in the registry."""
        return self.manifest.version

    @property
    def digests(self) -> Mapping[str, str]:
        """Stage -> digest of its content."""
        return self.manifest.digests

    @property
    def files(self) -> Mapping[str, StoredFile]:
        """Path in the run -> the stored file."""
        return self.manifest.files


def stored_files(
    artifacts: Iterable[tuple[Path, str]], plain: Mapping[str, str]
) -> dict[str, StoredFile]:
    """Path in the run -> the stored file, for each file below ``ARTIFACTS``.

    Args:
        artifacts: files and folders, each with its folder in the run.
        plain: path in the run -> SHA-256 of the file before encryption.
    """
    stored: dict[str, StoredFile] = {}
    for path, folder in artifacts:
        if folder not in ARTIFACTS:
            continue
        for file in files_of(path) if path.is_dir() else [path]:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            name = f"{folder}/{name}"
            stored[name] = StoredFile(digest_file(file), file.stat().st_size, plain.get(name))
    return stored


def read_release(folder: Path, trusted: Sequence[PublicKey]) -> Release:
    """Read the release manifest in ``folder`` and check its signature.

    Raises:
        InputError: the manifest or its signature is missing, no trusted key signed it, it has
            another format version, or it is not a release manifest; the message names the file.
    """
    path = folder / RELEASE_MANIFEST
    payload, public = verify_file(path, trusted)
    manifest = ReleaseManifest.parse(payload, path)
    if digest_json(dict(manifest.digests)) != manifest.release_digest:
        raise InputError(
            f"{path}: its digests are not those of release {manifest.release_digest[:12]}"
        )
    outside = [name for name in manifest.files if not _inside(name)]
    if outside:
        raise InputError(f"{path}: lists a file outside the release: {outside[0]}")
    return Release(manifest, public)


def _inside(name: str) -> bool:
    parts = name.split("/")
    return parts[0] in ARTIFACTS and len(parts) > 1 and not {"", ".", ".."} & set(parts)
