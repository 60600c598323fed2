"""``fpenet rollback``: what was deployable before is deployable again, if all of it holds.

Input: the pointer's chain and MLflow. Does: inspects the old version as the gate inspects a new one
(signature, the digest of every file, evidence, required targets), lets the alias point to it and
moves the pointer by compare-and-swap. Output: one signed link more.

The alias goes first: whatever stops us between the two, the alias then asks the gate for what was
wanted. A promotion that is under way is superseded, and one that came first supersedes us.
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
from fpenet.release.store.artifacts import RECORD_DIGEST, publish
from fpenet.release.store.interface import Store, Superseded
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import (
    LINK_TAG,
    History,
    LedgerAction,
    LedgerEntry,
    entry_json,
    move,
    read_head,
    read_history,
    take_token,
)

_TAKES = 20


def roll_back(params: Params, to: str | None, who: str, why: str) -> LedgerEntry:
    """Make an older version deployable again.

    Args:
        to: its number or name; None: what was deployable before the version that is.

    Returns:
        the pointer's new link; the latest one where only the alias was behind.

    Raises:
        InputError: it was never deployable, or no longer holds: all that is missing or changed.
        Superseded: the pointer moved meanwhile; nothing of ours changed it.
        ConnectionError: MLflow or the store is away; the same command goes on.
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
        wanted = LedgerEntry(
            sequence=0,
            token=0,
            action=LedgerAction.ROLLED_BACK,
            asked=old.version,
            model=model,
            version=old.version,
            name=release.name,
            release=release.digest,
            digests={**release.digests, RECORD_DIGEST: record},
            who=who,
            why=why,
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        try:
            link = _move(store, history.links[0], wanted, key, trusted)
        except Superseded:
            versions.set_alias(model, DEPLOYABLE, read_head(store, trusted).version or old.version)
            raise
        versions.tag_version(model, old.version, {LINK_TAG: entry_json(link)})
    return link


def choose(history: History, to: str | None) -> LedgerEntry:
    """The link that made the wanted version deployable.

    Args:
        to: number or name of the version; None: what was deployable before the promotion of the
            one that is, so that a second rollback does not go back to what the first one left.

    Raises:
        InputError: there is none.
    """
    if not history.links:
        raise InputError("; ".join(history.problems) or "nothing was ever deployable")
    chosen = [
        one for one in history.links if one.action is not LedgerAction.REFUSED and one.version
    ]
    now = history.links[0].version
    if to is not None:
        found = [one for one in chosen if to in (one.version, one.name)]
        if not found:
            known = ", ".join(dict.fromkeys(f"{one.version} ({one.name})" for one in chosen))
            raise InputError(f"version {to} was never deployable; those that were: {known}")
        return found[0]
    promoted = [
        place
        for place, one in enumerate(chosen)
        if one.action is LedgerAction.PROMOTED and one.version == now
    ]
    before = [one for one in chosen[promoted[0] :] if one.version != now] if promoted else []
    if not before:
        raise InputError(f"nothing was deployable before version {now}; name one: --to VERSION")
    return before[0]


def _inspected(
    params: Params, old: LedgerEntry, folder: Path, trusted: Sequence[PublicKey]
) -> Release:
    """The old version's release in ``folder``, as sound as on the day that it was promoted."""
    assert old.version is not None
    if not versions.has_version(old.model, old.version):
        raise InputError(f"{old.name} (version {old.version}) was deleted in MLflow")
    version = versions.read_version(old.model, old.version)
    fetch_release(version, folder)
    required = params.register_.required_targets
    release, reasons = inspect_release(version, folder, trusted, required)
    if release is not None and release.digest != old.release:
        reasons.append(
            f"its release is {release.digest[:12]}; {str(old.release)[:12]} was promoted"
        )
    if release is None or reasons:
        raise InputError(f"{old.name} (version {old.version}) does not hold: {'; '.join(reasons)}")
    return release


def _move(
    store: Store,
    seen: LedgerEntry,
    expected: LedgerEntry,
    key: SigningKey,
    trusted: Sequence[PublicKey],
) -> LedgerEntry:
    """Move the pointer on from the link that was seen; a promotion under way is superseded."""
    for _ in range(_TAKES):
        head = take_token(store, trusted)
        assert head.link is not None
        if head.version == expected.version:
            return head.link  # only the alias was behind, or the gate answered it first
        if head.link != seen:
            raise Superseded(
                f"the pointer moved to {head.link.name} (sequence {head.sequence}) meanwhile;"
                " nothing was rolled back"
            )
        try:
            return move(store, head, expected, key, trusted)
        except Superseded:
            continue  # the gate took a token, which ends with our next one
    raise ConnectionError(f"the pointer was not free at each of {_TAKES} tries; run again")
