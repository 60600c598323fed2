"""Approvals: signed statements of other people that a release may become deployable.

Input: a signed release, and the private key of the approver. Does: signs the digest of the release,
the reason and the end time. Output: one file in the release store. The promotion watcher counts an
approval if it is for the digest of this release, a key of ``promote.approvers`` signed it that did
not sign the release, and it has not expired by the clock of the machine that counts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal

from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord, encode
from fpenet.params import Params, PromoteParams
from fpenet.provenance.digest import canonical_json, digest_bytes
from fpenet.provenance.signing import (
    PublicKey,
    SigningKey,
    parse_signature,
    read_trusted,
    sign,
    signature_of,
    verify,
)
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors
from fpenet.release.release_manifest import RELEASE_MANIFEST, Release, read_release
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import release_store


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """The signed content of an approval.

    Attributes:
        release_digest: digest of the release.
        when, until: ISO 8601 times.
    """

    release_digest: str
    model: str
    version: str
    name: str
    reason: str
    when: str
    until: str
    kind: Literal["approval"] = "approval"

    @property
    def content(self) -> bytes:
        """The signed bytes."""
        return canonical_json(encode(self))


@dataclass(frozen=True, slots=True)
class ApprovalFile(FileRecord):
    """An approval and its signature, as a file of the release store."""

    format_version: ClassVar[int] = 2

    approval: SignedApproval
    signature: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A signed approval.

    Attributes:
        by: the key of the approver.
        until: when the approval expires.
    """

    by: PublicKey
    reason: str
    until: datetime


def sign_approval(
    store: Store,
    release: Release,
    reason: str,
    key: SigningKey,
    promote: PromoteParams,
    now: datetime,
) -> Approval:
    """Sign an approval of ``release`` and write it into the store.

    Raises:
        InputError: the key may not approve this release, or the reason is empty.
    """
    if not reason.strip():
        raise InputError("--reason is empty; give the reason, which the history shows")
    approvers = read_trusted(promote.approvers)
    if key.public.id not in {one.id for one in approvers}:
        known = ", ".join(map(str, approvers)) or "none"
        raise InputError(f"the {key.public} is not one of promote.approvers: {known}")
    if key.public.id == release.released_by.id:
        raise InputError(f"the {key.public} signed {release.name}; another person must approve")
    until = now + timedelta(hours=promote.approval_hours)
    approval = SignedApproval(
        release_digest=release.digest,
        model=release.model,
        version=release.version,
        name=release.name,
        reason=" ".join(reason.split()),
        when=_text(now),
        until=_text(until),
    )
    signed = ApprovalFile(approval, str(sign(approval.content, key)))
    data = json.dumps(signed.tree(), sort_keys=True).encode() + b"\n"
    store.keep(f"{_folder(release.digest)}{digest_bytes(data)}.json", data)
    return Approval(key.public, approval.reason, until)


def count_approvals(
    store: Store, release: Release, promote: PromoteParams, now: datetime
) -> tuple[list[Approval], list[str]]:
    """Count the valid approvals of a release, at most one per key.

    Returns:
        the valid approvals, and the reasons why they are too few: empty where there are at least
        ``promote.approvals``.
    """
    if not promote.approvals:
        return [], []
    approvers = read_trusted(promote.approvers)
    counted: dict[str, Approval] = {}
    ignored: list[str] = []
    for name in store.names(_folder(release.digest)):
        stored = store.read(name)
        if stored is None:
            continue
        try:
            approval = _checked(stored.data, name, release, approvers)
            _check_time(approval, promote, now)
        except InputError as error:
            ignored.append(str(error))
            continue
        counted[approval.by.id] = approval
    missing = promote.approvals - len(counted)
    if missing <= 0:
        return list(counted.values()), []
    by = ", ".join(str(one.by) for one in counted.values())
    reason = f"approvals: {len(counted)} of {promote.approvals}{f' (by {by})' if by else ''}"
    ask = f"fpenet approve {release.version} --reason '...' --key NAME.pem"
    return list(counted.values()), [f"{reason}; {ask}", *ignored]


def _checked(data: bytes, name: str, release: Release, approvers: Sequence[PublicKey]) -> Approval:
    """The approval in a file of the store; its end time is not checked.

    Raises:
        InputError: it is not an approval, no approver signed it, or it is for another release.
    """
    signed = ApprovalFile.parse(data, name)
    approval = signed.approval
    parsed = Approval(
        verify(approval.content, parse_signature(signed.signature, name), approvers, name),
        approval.reason,
        datetime.fromisoformat(approval.until).astimezone(timezone.utc),
    )
    if approval.release_digest != release.digest:
        raise InputError(
            f"the approval by the {parsed.by} is for release {approval.release_digest[:12]},"
            " not this one"
        )
    if parsed.by.id == release.released_by.id:
        raise InputError(f"the {parsed.by} signed the release; its approval does not count")
    return parsed


def _check_time(approval: Approval, promote: PromoteParams, now: datetime) -> None:
    """Raise InputError for an expired approval, or one that expires too late to be made by now."""
    latest = now + timedelta(hours=promote.approval_hours, seconds=promote.event_seconds)
    if approval.until <= now:
        raise InputError(f"the approval by the {approval.by} expired at {_text(approval.until)}")
    if approval.until > latest:
        raise InputError(
            f"the approval by the {approval.by} expires at {_text(approval.until)}, more than"
            f" {promote.approval_hours:g} h after {_text(now)}: one of the two clocks is wrong"
        )


def approve_version(params: Params, version: str, reason: str, key: SigningKey) -> str:
    """Approve the release of a registered version; returns the line that the command prints.

    Raises:
        InputError: no trusted key signed the release, or the key may not approve it.
        ConnectionError: MLflow or the store cannot be reached.
    """
    trusted = read_trusted(params.trust.public_keys)
    with mlflow_errors(), TemporaryDirectory(prefix="fpenet-approve-") as folder:
        registered = versions.read_version(params.register_.deployable_model, version)
        names = (RELEASE_MANIFEST, signature_of(Path(RELEASE_MANIFEST)).name)
        if registered.run_id:
            versions.fetch_run_files(registered.run_id, names, Path(folder))
        release = read_release(Path(folder), trusted)
    if (release.model, release.version) != (registered.model, registered.version):
        raise InputError(
            f"version {version}: its {RELEASE_MANIFEST} is for version {release.version}"
        )
    now = datetime.now(timezone.utc)
    approval = sign_approval(release_store(params), release, reason, key, params.promote, now)
    return (
        f"{release.name} (release {release.digest[:12]}) is approved by the {approval.by} until"
        f" {_text(approval.until)}: {approval.reason}"
    )


def _folder(release_digest: str) -> str:
    return f"approvals/{release_digest}/"


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
