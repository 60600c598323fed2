"""Decide a promotion request: the alias ``deployable`` in MLflow differs from the release pointer.

Input: the alias and the release pointer. Does: inspects the requested version, then moves the
pointer to it by compare-and-swap, or resets the alias. Output: a signed ledger entry, and the
decision on the version's page.

Only a refusal resets the alias. Every other failure (MLflow cannot be reached, the disk is full, a
key is missing) raises an error and leaves the alias, so that the request is decided later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.provenance.signing import PublicKey, read_signing_key, read_trusted
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.promotion.approvals import Approval, count_approvals
from fpenet.release.promotion.decision import PromotionDecision, PromotionOutcome, write_on_page
from fpenet.release.promotion.inspection import fetch_release, inspect_release
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors
from fpenet.release.registry.versions import RegisteredVersion
from fpenet.release.release_manifest import Release
from fpenet.release.store.artifacts import MANIFEST_DIGEST, publish
from fpenet.release.store.interface import Store, Superseded
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import (
    LedgerAction,
    LedgerEntry,
    ReleasePointer,
    move,
    read_pointer,
    take_token,
)

REQUESTED_IN_MLFLOW = f"requested by the alias {DEPLOYABLE} in MLflow"
UNKNOWN = "unknown"
"""The requester: MLflow's events and aliases do not contain a user name."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of the inspection of a requested version.

    Attributes:
        folder: contains the files of the version.
        registered: the decision is written on its page: the requested version, or, where the alias
            was removed, the deployable one.
        release: None where no trusted key signed it.
        reasons: against the promotion; empty where there are none.
    """

    folder: Path
    registered: RegisteredVersion
    release: Release | None
    reasons: tuple[str, ...]
    approvals: tuple[Approval, ...] = ()


def pending_request(params: Params) -> bool:
    """Whether the alias ``deployable`` differs from the release pointer.

    Raises:
        ConnectionError: MLflow or the store cannot be reached.
        InputError: no trusted key signed the pointer.
    """
    trusted = read_trusted(params.trust.public_keys)
    with mlflow_errors():
        requested = versions.find_alias(params.register_.deployable_model, DEPLOYABLE)
    return requested != read_pointer(release_store(params), trusted).version


def decide_request(params: Params) -> PromotionDecision | None:
    """Decide the pending promotion request; None where there is none.

    Raises:
        ConnectionError: MLflow or the store cannot be reached; the request stays pending.
        InputError: a key or the pointer cannot be read; the request stays pending.
    """
    key = read_signing_key(params.trust.signing_key)
    trusted = read_trusted(params.trust.public_keys)
    store, model = release_store(params), params.register_.deployable_model
    if not pending_request(params):
        return None
    pointer = take_token(store, trusted)
    if pointer.entry and pointer.entry.model != model:
        raise InputError(
            f"{params.promote.store}: the pointer is for {pointer.entry.model}, not {model}"
        )
    with mlflow_errors(), TemporaryDirectory(prefix="fpenet-promotion-") as folder:
        requested = versions.find_alias(model, DEPLOYABLE)
        if requested == pointer.version:
            return None
        inspection = _inspect(params, store, requested, pointer, Path(folder), trusted)
        try:
            manifest_digest = None
            if not inspection.reasons:
                assert inspection.release is not None
                manifest_digest = publish(store, inspection.release, inspection.folder)
            if versions.find_alias(model, DEPLOYABLE) != requested:
                raise Superseded(f"the alias {DEPLOYABLE} changed during the decision")
            entry = move(
                store,
                pointer,
                _entry(model, requested, inspection, pointer, manifest_digest),
                key,
                trusted,
            )
        except Superseded as error:
            name = inspection.release.name if inspection.release else None
            return PromotionDecision(
                PromotionOutcome.SUPERSEDED,
                model,
                requested,
                name,
                pointer.version,
                (str(error),),
                None,
            )
        decision = _decision(entry, requested, inspection)
        write_on_page(decision, inspection.registered, entry)
        if decision.outcome is PromotionOutcome.REFUSED:
            _reset_alias(decision)
    return decision


def _inspect(
    params: Params,
    store: Store,
    requested: str | None,
    pointer: ReleasePointer,
    folder: Path,
    trusted: Sequence[PublicKey],
) -> Inspection:
    """Inspect the requested version, and collect every reason against its promotion."""
    model = params.register_.deployable_model
    if requested is None:
        assert pointer.version is not None  # otherwise alias and pointer agree
        reason = f"the alias {DEPLOYABLE} was removed; request another version, or roll back"
        return Inspection(folder, versions.read_version(model, pointer.version), None, (reason,))
    registered = versions.read_version(model, requested)
    fetch_release(registered, folder)
    release, reasons = inspect_release(
        registered, folder, trusted, params.register_.required_targets
    )
    if release is None:
        return Inspection(folder, registered, release, tuple(reasons))
    now = datetime.now(timezone.utc)
    approvals, missing = count_approvals(store, release, params.promote, now)
    return Inspection(folder, registered, release, (*reasons, *missing), tuple(approvals))


def _entry(
    model: str,
    requested: str | None,
    inspection: Inspection,
    pointer: ReleasePointer,
    manifest_digest: str | None,
) -> LedgerEntry:
    """The ledger entry to be signed; after a refusal the deployable version stays the same.

    Args:
        manifest_digest: digest of the published release manifest; None after a refusal.
    """
    refused, release, before = bool(inspection.reasons), inspection.release, pointer.entry
    deployable: Release | LedgerEntry | None = before
    digest = before.release_digest if before else None
    if release is not None and not refused:
        deployable, digest = release, release.digest
    approved = [f"{one.by.name}: {one.reason}" for one in inspection.approvals]
    return LedgerEntry(
        sequence=0,
        token=0,
        action=LedgerAction.REFUSED if refused else LedgerAction.PROMOTED,
        requested=requested or "none",
        model=model,
        version=deployable.version if deployable else None,
        name=deployable.name if deployable else None,
        release_digest=digest,
        digests={
            **(deployable.digests if deployable else {}),
            **({MANIFEST_DIGEST: manifest_digest} if manifest_digest else {}),
        },
        who=UNKNOWN,
        why="; ".join(inspection.reasons) or "; ".join([REQUESTED_IN_MLFLOW, *approved]),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        approvals=tuple(str(one.by) for one in inspection.approvals),
    )


def _decision(
    entry: LedgerEntry, requested: str | None, inspection: Inspection
) -> PromotionDecision:
    return PromotionDecision(
        PromotionOutcome.REFUSED if inspection.reasons else PromotionOutcome.PROMOTED,
        entry.model,
        requested,
        inspection.release.name if inspection.release else None,
        entry.version,
        inspection.reasons,
        entry.sequence,
    )


def _reset_alias(decision: PromotionDecision) -> None:
    """Point the alias to the deployable version, unless the alias has changed again."""
    if versions.find_alias(decision.model, DEPLOYABLE) != decision.requested:
        return  # a new request
    if decision.deployable is None or not versions.has_version(decision.model, decision.deployable):
        versions.delete_alias(decision.model, DEPLOYABLE)
    else:
        versions.set_alias(decision.model, DEPLOYABLE, decision.deployable)
