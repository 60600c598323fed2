"""Approvals: who else than the one who asked wants a release to be deployable, and why.

Input: a signed release, and a person's own key. Does: signs digest, reason and end with it.
Output: one file in the release store. The gate counts those which a key of ``promote.approvers``
signed that did not sign the release itself, for this very digest, and which are not over: by the
clock of the machine that counts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

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
from fpenet.release.release_manifest import RECORD, Release, read_release
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import release_store


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """The content of an approval that is signed.

    Attributes:
        release: digest of the release.
        when, until: ISO 8601 times.
    """

    release: str
    model: str
    version: str
    name: str
    reason: str
    when: str
    until: str
    kind: Literal["approval"] = "approval"

    @property
    def content(self) -> bytes:
        """The bytes that are signed."""
        return canonical_json(encode(self))


@dataclass(frozen=True, slots=True)
class ApprovalFile(FileRecord):
    """A file of an approval in the release store."""

    approval: SignedApproval
    signature: str


@dataclass(frozen=True, slots=True)
class Approval:
    """What one person signed; ``until`` is when it ends."""

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
    """Sign that ``release`` may be deployable, and keep it in the store.

    Raises:
        InputError: the key may not approve this release, or no reason is given.
    """
    if not reason.strip():
        raise InputError("--reason: say why; it stays in the history of the release")
    approvers = read_trusted(promote.approvers)
    if key.public.id not in {one.id for one in approvers}:
        known = ", ".join(map(str, approvers)) or "none"
        raise InputError(f"the {key.public} may not approve; promote.approvers: {known}")
    if key.public.id == release.released_by.id:
        raise InputError(f"the {key.public} released {release.name}; another person must approve")
    until = now + timedelta(hours=promote.approval_hours)
    approval = SignedApproval(
        release=release.digest,
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
    """The approvals of a release that count, one a person, and the reason why they do not suffice.

    Returns:
        the approvals; no reason where there are as many as ``promote.approvals``.
    """
    if not promote.approvals:
        return [], []
    approvers = read_trusted(promote.approvers)
    counted: dict[str, Approval] = {}
    ignored: list[str] = []
    for name in store.names(_folder(release.digest)):
        found = store.read(name)
        if found is None:
            continue
        try:
            approval = _checked(found.data, name, release, approvers)
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
    """The approval in a file of the store, whatever its time.

    Raises:
        InputError: it is none, or none of an approver, or not for this release.
    """
    signed = ApprovalFile.parse(data, name)
    approval = signed.approval
    found = Approval(
        verify(approval.content, parse_signature(signed.signature, name), approvers, name),
        approval.reason,
        datetime.fromisoformat(approval.until).astimezone(timezone.utc),
    )
    if approval.release != release.digest:
        raise InputError(
            f"the approval by the {found.by} is for release {approval.release[:12]}, not this one"
        )
    if found.by.id == release.released_by.id:
        raise InputError(f"the {found.by} released it; its own approval does not count")
    return found


def _check_time(approval: Approval, promote: PromoteParams, now: datetime) -> None:
    """Raise InputError for what is over, or ends later than an approval that is made now could."""
    latest = now + timedelta(hours=promote.approval_hours, seconds=promote.event_seconds)
    if approval.until <= now:
        raise InputError(f"the approval by the {approval.by} ended at {_text(approval.until)}")
    if approval.until > latest:
        raise InputError(
            f"the approval by the {approval.by} would end at {_text(approval.until)}, more than"
            f" {promote.approval_hours:g} h from {_text(now)}: one of the two clocks is wrong"
        )


def approve_version(params: Params, version: str, reason: str, key: SigningKey) -> str:
    """Approve the release of a registered version; what was signed, in words.

    Raises:
        InputError: there is no such release that a trusted key signed, or the key may not.
        ConnectionError: MLflow or the store is away.
    """
    trusted = read_trusted(params.trust.public_keys)
    with mlflow_errors(), TemporaryDirectory(prefix="fpenet-approve-") as folder:
        registered = versions.read_version(params.register_.deployable_model, version)
        names = (RECORD, signature_of(Path(RECORD)).name)
        if registered.run_id:
            versions.fetch_run_files(registered.run_id, names, Path(folder))
        release = read_release(Path(folder), trusted)
    if (release.model, release.version) != (registered.model, registered.version):
        raise InputError(f"version {version}: its {RECORD} is that of version {release.version}")
    now = datetime.now(timezone.utc)
    approval = sign_approval(release_store(params), release, reason, key, params.promote, now)
    return (
        f"{release.name} (release {release.digest[:12]}) is approved by the {approval.by} until"
        f" {_text(approval.until)}: {approval.reason}"
    )


def _folder(release: str) -> str:
    return f"approvals/{release}/"


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
