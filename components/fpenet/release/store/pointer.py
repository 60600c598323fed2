"""The release pointer: the deployable version, and the ledger of all promotion decisions.

``pointer.json`` contains the latest ledger entry and the latest token. It is replaced by
compare-and-swap. Each ledger entry is signed and contains the digest of the entry before it, which
is stored at ``history/<sequence>.json``. A refused request is an entry too: it repeats the version
that stays deployable. A run takes a token when it starts, and may replace the pointer only while
that token is the latest one. A delayed run therefore cannot overwrite the decision of a later run.
The sequence number gives the order of the entries; the times are for information only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord, Identifier
from fpenet.provenance.digest import canonical_json, digest_json
from fpenet.provenance.signing import PublicKey, SigningKey, parse_signature, sign, verify
from fpenet.release.store.interface import Store, Superseded

POINTER = "pointer.json"
ENTRY_TAG = "fpenet.ledger_entry"
"""Tag of a version in MLflow: the latest ledger entry that made it deployable, as JSON."""
_KIND = "release pointer"
_TAKES = 1000


class LedgerAction(Identifier):
    """What a ledger entry records: a decision on a promotion request, or a rollback."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LedgerEntry(FileRecord):
    """One decision on a promotion request.

    Attributes:
        sequence: number of the entry, from 1.
        token: the token of the run that made the decision.
        action: the decision, or the rollback.
        requested: the requested version.
        model, version, name, release_digest: the deployable version after this decision; None:
            none yet.
        digests: stage -> digest of its content, for that release.
        who, why: the requester and the reason.
        when: time of the decision, by the clock of the machine that made it.
        approvals: names and key ids of the approvers.
        previous: digest of the entry before, including its signature; None for the first entry.
        signature: of all other fields.
    """

    format_version: ClassVar[int] = 2

    sequence: int
    token: int
    action: LedgerAction
    requested: str
    model: str
    version: str | None
    name: str | None
    release_digest: str | None
    digests: Mapping[str, str]
    who: str
    why: str
    when: str
    approvals: tuple[str, ...] = ()
    previous: str | None = None
    signature: str = ""

    @property
    def digest(self) -> str:
        """The digest that the next entry contains as ``previous``."""
        return digest_json(self.tree())

    @property
    def content(self) -> bytes:
        """The signed bytes."""
        return canonical_json({"kind": _KIND, **replace(self, signature="").tree()})


@dataclass(frozen=True, slots=True)
class ReleasePointer(FileRecord):
    """``pointer.json``.

    Attributes:
        token: the latest token; 0: there is no pointer yet.
        entry: the latest ledger entry, or None.
    """

    format_version: ClassVar[int] = 2

    token: int
    entry: LedgerEntry | None

    @property
    def sequence(self) -> int:
        """The number of the latest entry; 0 if there is none."""
        return self.entry.sequence if self.entry else 0

    @property
    def version(self) -> str | None:
        """The deployable version; None if there is none."""
        return self.entry.version if self.entry else None


def read_pointer(store: Store, trusted: Sequence[PublicKey]) -> ReleasePointer:
    """Read the release pointer from the store and check its signature.

    Raises:
        InputError: it is not a release pointer, or no trusted key signed it.
    """
    return _read_tagged(store, trusted)[0]


def _read_tagged(store: Store, trusted: Sequence[PublicKey]) -> tuple[ReleasePointer, str | None]:
    """The release pointer and the tag of its content in the store; None: there is none yet."""
    stored = store.read(POINTER)
    if stored is None:
        return ReleasePointer(0, None), None
    pointer = ReleasePointer.parse(stored.data, f"{POINTER} of the release store")
    if pointer.entry is not None:
        check_entry(pointer.entry, trusted)
        if pointer.token < pointer.entry.token:
            raise InputError(
                f"{POINTER} of the release store: its token is {pointer.token}, but its entry has"
                f" the later token {pointer.entry.token}"
            )
    return pointer, stored.tag


def take_token(store: Store, trusted: Sequence[PublicKey]) -> ReleasePointer:
    """Take the next token, which makes all earlier tokens invalid.

    Returns:
        the pointer with the new token.

    Raises:
        ConnectionError: other runs changed the pointer at every try.
    """
    for _ in range(_TAKES):
        pointer, tag = _read_tagged(store, trusted)
        taken = replace(pointer, token=pointer.token + 1)
        try:
            store.swap(POINTER, _text(taken.tree()), tag)
        except Superseded:
            continue  # another run took a token between the read and the write
        return taken
    raise ConnectionError(
        f"{POINTER} of the release store: other runs changed it at each of {_TAKES} tries"
    )


def move(
    store: Store,
    taken: ReleasePointer,
    entry: LedgerEntry,
    key: SigningKey,
    trusted: Sequence[PublicKey],
) -> LedgerEntry:
    """Sign ``entry`` and make it the latest ledger entry.

    Args:
        taken: the result of ``take_token``; it sets the entry's token, sequence and
            ``previous``.

    Returns:
        the signed entry.

    Raises:
        Superseded: another run moved the pointer or took a token since; nothing has changed.
        ConnectionError: the store accepted the pointer but returns another one.
    """
    pointer, tag = _read_tagged(store, trusted)
    if pointer.token != taken.token:
        raise Superseded(
            f"this run has token {taken.token}, but another run took token {pointer.token} and"
            " decides now"
        )
    if pointer.entry != taken.entry:
        raise Superseded(f"the pointer is at sequence {pointer.sequence}, not {taken.sequence}")
    if pointer.entry is not None:
        store.keep(_history(pointer.sequence), _text(pointer.entry.tree()))
    previous = pointer.entry.digest if pointer.entry else None
    fresh = replace(entry, token=pointer.token, sequence=pointer.sequence + 1, previous=previous)
    fresh = replace(fresh, signature=str(sign(fresh.content, key)))
    store.swap(POINTER, _text(replace(pointer, entry=fresh).tree()), tag)
    _read_back(store, fresh, trusted)
    return fresh


def entry_json(entry: LedgerEntry) -> str:
    """A ledger entry as one line of JSON, which ``LedgerEntry.parse`` reads."""
    return _text(entry.tree()).decode().strip()


def entry_sequence(text: str) -> int:
    """The sequence of an entry that ``entry_json`` wrote, in any format version."""
    return int(json.loads(text)["sequence"])


def _read_back(store: Store, entry: LedgerEntry, trusted: Sequence[PublicKey]) -> None:
    pointer = read_pointer(store, trusted)
    if pointer.entry == entry:
        return
    name = _history(entry.sequence)
    later = store.read(name) if pointer.sequence > entry.sequence else None
    if later is None or LedgerEntry.parse(later.data, name) != entry:
        raise ConnectionError(
            f"{POINTER} of the release store: sequence {entry.sequence} was written but is not"
            " there; the server must support conditional puts"
        )


def check_entry(entry: LedgerEntry, trusted: Sequence[PublicKey]) -> PublicKey:
    """The trusted key that signed a ledger entry.

    Raises:
        InputError: no trusted key signed the entry, or it was changed afterwards.
    """
    source = f"{_KIND}, sequence {entry.sequence}"
    return verify(entry.content, parse_signature(entry.signature, source), trusted, source)


@dataclass(frozen=True, slots=True)
class History:
    """All ledger entries that are present, the latest first, and the defects of the ledger."""

    entries: tuple[LedgerEntry, ...]
    problems: tuple[str, ...]


def read_history(store: Store, trusted: Sequence[PublicKey], witnessed: int = 0) -> History:
    """Read and check all ledger entries, from the latest to the first.

    Args:
        witnessed: the latest sequence that is known from another place. A pointer with a smaller
            sequence was reset to an older state.
    """
    problems: list[str] = []
    try:
        pointer = read_pointer(store, trusted)
    except InputError as error:
        return History((), (str(error),))
    entries = [pointer.entry] if pointer.entry else []
    expected = pointer.entry.previous if pointer.entry else None
    for sequence in range(pointer.sequence - 1, 0, -1):
        stored = store.read(_history(sequence))
        if stored is None:
            problems.append(f"ledger entry {sequence} was removed")
            expected = None
            continue
        try:
            entry = LedgerEntry.parse(stored.data, _history(sequence))
        except InputError as error:
            problems.append(f"ledger entry {sequence} cannot be read: {error}")
            expected = None
            continue
        try:
            check_entry(entry, trusted)
        except InputError as error:
            problems.append(f"ledger entry {sequence} was edited: {error}")
            expected = None
            continue
        if entry.sequence != sequence or (expected is not None and entry.digest != expected):
            problems.append(
                f"ledger entry {sequence} was replaced: the next entry has the digest of another"
            )
        entries.append(entry)
        expected = entry.previous
    problems += _put_back(store, pointer.sequence, witnessed)
    return History(tuple(entries), tuple(problems))


def _put_back(store: Store, sequence: int, witnessed: int) -> list[str]:
    """The problem of a pointer that was reset: an entry with a later sequence exists or is known.

    An entry with the pointer's sequence may exist in ``history/``: an unfinished move wrote it.
    """
    known = (
        name.removeprefix("history/").removesuffix(".json") for name in store.names("history/")
    )
    later = [int(name) + 1 for name in known if name.isdecimal() and int(name) > sequence]
    latest = max([witnessed, *later])
    if latest > sequence:
        problem = f"the pointer is at sequence {sequence}, but sequence {latest} existed"
        return [f"{problem}: the pointer was reset to an older state"]
    return []


def _history(sequence: int) -> str:
    return f"history/{sequence:08d}.json"


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode() + b"\n"
