"""``fpenet rollback``: make an earlier deployable version deployable again.

Input: the ledger and MLflow. Does: inspects the earlier version like a newly requested one
(signature, digest of every file, evidence, required targets), points the alias to it and moves the
pointer by compare-and-swap. Output: a signed ledger entry.

The alias is set first: after an interruption between the two steps, the alias is a promotion
request for the same version. A rollback supersedes a promotion that is in progress, and is
superseded by one that was finished in the meantime.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.provenance.signing import PublicKey, SigningKey, read_signing_key, read_trusted
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.promotion.inspection import fetch_release, inspect_release
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors
from fpenet.release.release_manifest import Release
from fpenet.release.store.artifacts import MANIFEST_DIGEST, publish
from fpenet.release.store.interface import Store, Superseded
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import (
    ENTRY_TAG,
    History,
    LedgerAction,
    LedgerEntry,
    entry_json,
    move,
    read_history,
    read_pointer,
    take_token,
)

_TAKES = 20


def roll_back(params: Params, to: str | None, who: str, why: str) -> LedgerEntry:
    """Make an earlier version deployable again.

    Args:
        to: its number or name; None: the version that was deployable before the current one.
        who, why: the requester and the reason, for the ledger.

    Returns:
        the new ledger entry; the latest entry where the pointer already names the version.

    Raises:
        InputError: the version was never deployable, or its files are missing or changed; the
            message lists them.
        Superseded: another run moved the pointer; this call did not.
        ConnectionError: MLflow or the store cannot be reached; running again continues.
    """
    key = read_signing_key(params.trust.signing_key)
    trusted = read_trusted(params.trust.public_keys)
    store, model = release_store(params), params.register_.deployable_model
    history = read_history(store, trusted)
    old = choose(history, to)
    assert old.version is not None
    with mlflow_errors(), TemporaryDirectory(prefix="fpenet-rollback-") as folder:
        release = _inspected(params, old, Path(folder), trusted)
        record = publish(store, release, Path(folder))
        versions.set_alias(model, DEPLOYABLE, old.version)
        rollback = LedgerEntry(
            sequence=0,
            token=0,
            action=LedgerAction.ROLLED_BACK,
            requested=old.version,
            model=model,
            version=old.version,
            name=release.name,
            release_digest=release.digest,
            digests={**release.digests, MANIFEST_DIGEST: record},
            who=who,
            why=why,
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        try:
            entry = _move(store, history.entries[0], rollback, key, trusted)
        except Superseded:
            versions.set_alias(
                model, DEPLOYABLE, read_pointer(store, trusted).version or old.version
            )
            raise
        versions.tag_version(model, old.version, {ENTRY_TAG: entry_json(entry)})
    return entry


def choose(history: History, to: str | None) -> LedgerEntry:
    """The ledger entry that made the target version of the rollback deployable.

    Args:
        to: number or name of the version; None: the version that was deployable before the
            promotion of the current one. A second rollback therefore goes further back, and does
            not undo the first.

    Raises:
        InputError: there is no such version.
    """
    if not history.entries:
        raise InputError("; ".join(history.problems) or "no version was ever deployable")
    promotions = [
        entry
        for entry in history.entries
        if entry.action is not LedgerAction.REFUSED and entry.version
    ]
    now = history.entries[0].version
    if to is not None:
        matches = [entry for entry in promotions if to in (entry.version, entry.name)]
        if not matches:
            known = ", ".join(
                dict.fromkeys(f"{entry.version} ({entry.name})" for entry in promotions)
            )
            raise InputError(f"version {to} was never deployable; those that were: {known}")
        return matches[0]
    promoted = [
        index
        for index, entry in enumerate(promotions)
        if entry.action is LedgerAction.PROMOTED and entry.version == now
    ]
    before = (
        [entry for entry in promotions[promoted[0] :] if entry.version != now] if promoted else []
    )
    if not before:
        raise InputError(f"no version was deployable before version {now}; use --to VERSION")
    return before[0]


def _inspected(
    params: Params, old: LedgerEntry, folder: Path, trusted: Sequence[PublicKey]
) -> Release:
    """Download and inspect the release of an earlier version.

    Raises:
        InputError: it was deleted in MLflow, or its files are missing or changed.
    """
    assert old.version is not None
    if not versions.has_version(old.model, old.version):
        raise InputError(f"{old.name} (version {old.version}) was deleted in MLflow")
    registered = versions.read_version(old.model, old.version)
    fetch_release(registered, folder)
    required = params.register_.required_targets
    release, reasons = inspect_release(registered, folder, trusted, required)
    if release is not None and release.digest != old.release_digest:
        reasons.append(
            f"its release is {release.digest[:12]}, but {str(old.release_digest)[:12]} was promoted"
        )
    if release is None or reasons:
        raise InputError(f"{old.name} (version {old.version}) is refused: {'; '.join(reasons)}")
    return release


def _move(
    store: Store,
    seen: LedgerEntry,
    expected: LedgerEntry,
    key: SigningKey,
    trusted: Sequence[PublicKey],
) -> LedgerEntry:
    """Append ``expected`` to the ledger if its latest entry is still ``seen``.

    A promotion that is in progress is superseded.

    Raises:
        Superseded: another entry was appended.
        ConnectionError: other runs took tokens at every try.
    """
    for _ in range(_TAKES):
        pointer = take_token(store, trusted)
        assert pointer.entry is not None
        if pointer.version == expected.version:
            return pointer.entry  # only the alias differed, or the watcher already decided it
        if pointer.entry != seen:
            raise Superseded(
                f"the pointer moved to {pointer.entry.name} (sequence {pointer.sequence}) in"
                " between; nothing was rolled back"
            )
        try:
            return move(store, pointer, expected, key, trusted)
        except Superseded:
            continue  # the watcher took a token; our next token makes it invalid
    raise ConnectionError(f"other runs changed the pointer at each of {_TAKES} tries; run again")
