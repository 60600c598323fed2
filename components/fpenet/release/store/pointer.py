"""The release pointer: which version is deployable, as one signed JSON object, and all before it.

``pointer.json`` holds the latest link and the latest token that was given out; it alone moves, by
compare-and-swap. Each link names the digest of the one before it, which lies at
``history/<sequence>.json``; an answer that refused is a link too, with the version that stays. A
run takes a token when it starts, and moves the pointer only while no later token was given out: a
run that is thought dead and is not can change nothing. The order is the sequence; times are told,
and nothing is decided by them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord, Identifier
from fpenet.provenance.digest import canonical_json, digest_json
from fpenet.provenance.signing import PublicKey, SigningKey, parse_signature, sign, verify
from fpenet.release.store.interface import Store, Superseded

POINTER = "pointer.json"
LINK_TAG = "fpenet.link"
"""Of a version in MLflow: the latest link that made it deployable, as ``entry_json`` writes it."""
_KIND = "release pointer"
_TAKES = 1000


class LedgerAction(Identifier):
    """What became of a promotion request."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LedgerEntry(FileRecord):
    """One answer to a promotion request.

    Attributes:
        sequence: 1 for the first answer; one more for each.
        token: that the run held which gave it.
        action: what became of the request.
        asked: the version that was asked for.
        model, version, name, release: what is deployable from now on; None: nothing yet.
        digests: of the content of every stage of that release.
        who, why, when: as told by who asked; ``when`` is the clock of the machine that answered.
        approvals: the names and key ids of those who approved.
        previous: digest of the link before, signature and all; None for the first.
        signature: of everything else.
    """

    sequence: int
    token: int
    action: LedgerAction
    asked: str
    model: str
    version: str | None
    name: str | None
    release: str | None
    digests: Mapping[str, str]
    who: str
    why: str
    when: str
    approvals: tuple[str, ...] = ()
    previous: str | None = None
    signature: str = ""

    @property
    def digest(self) -> str:
        """What the next link calls this one."""
        return digest_json(self.tree())

    @property
    def content(self) -> bytes:
        """The bytes that are signed."""
        return canonical_json({"kind": _KIND, **replace(self, signature="").tree()})


@dataclass(frozen=True, slots=True)
class PointerFile(FileRecord):
    """``pointer.json``: the attributes are those of ``Head``."""

    token: int
    link: LedgerEntry | None


@dataclass(frozen=True, slots=True)
class Head:
    """What ``pointer.json`` holds.

    Attributes:
        link: the latest answer, or None.
        token: the latest that was given out.
        tag: by which the store knows this very content; None: there is no pointer yet.
    """

    link: LedgerEntry | None
    token: int
    tag: str | None

    @property
    def sequence(self) -> int:
        return self.link.sequence if self.link else 0

    @property
    def version(self) -> str | None:
        """The version that is deployable."""
        return self.link.version if self.link else None


def read_head(store: Store, trusted: Sequence[PublicKey]) -> Head:
    """The pointer as it lies in the store.

    Raises:
        InputError: it is not one, or not signed by a trusted key.
    """
    found = store.read(POINTER)
    if found is None:
        return Head(None, 0, None)
    pointer = PointerFile.parse(found.data, f"{POINTER} of the release store")
    head = Head(pointer.link, pointer.token, found.tag)
    if head.link is not None:
        check_entry(head.link, trusted)
        if head.token < head.link.token:
            raise InputError(f"{POINTER} of the release store: a token after {head.token} was used")
    return head


def take_token(store: Store, trusted: Sequence[PublicKey]) -> Head:
    """Take the next token; the pointer as it was then, with that token.

    All earlier tokens end with it.
    """
    for _ in range(_TAKES):
        head = read_head(store, trusted)
        try:
            store.swap(POINTER, _head_text(head.link, head.token + 1), head.tag)
        except Superseded:
            continue  # another took one meanwhile
        return replace(head, token=head.token + 1)
    raise ConnectionError(f"{POINTER} of the release store moved at each of {_TAKES} tries")


def move(
    store: Store, based_on: Head, link: LedgerEntry, key: SigningKey, trusted: Sequence[PublicKey]
) -> LedgerEntry:
    """Make ``link`` the latest one.

    Args:
        based_on: what ``take_token`` gave; the link's token, sequence and ``previous`` follow.

    Returns:
        the link as it was signed.

    Raises:
        Superseded: another run moved the pointer or took a token since; nothing has changed.
        ConnectionError: the store said that it took the pointer, and holds another.
    """
    head = read_head(store, trusted)
    if head.token != based_on.token:
        raise Superseded(
            f"token {head.token} was given out after this run's {based_on.token}: another run"
            " answers now"
        )
    if head.link != based_on.link:
        raise Superseded(f"the pointer is at sequence {head.sequence}, not {based_on.sequence}")
    if head.link is not None:
        store.keep(_history(head.sequence), _text(head.link.tree()))
    previous = head.link.digest if head.link else None
    fresh = replace(link, token=head.token, sequence=head.sequence + 1, previous=previous)
    fresh = replace(fresh, signature=str(sign(fresh.content, key)))
    store.swap(POINTER, _head_text(fresh, head.token), head.tag)
    _read_back(store, fresh, trusted)
    return fresh


def entry_json(link: LedgerEntry) -> str:
    """A link as one line of JSON, which ``LedgerEntry.parse`` reads."""
    return _text(link.tree()).decode().strip()


def entry_sequence(text: str) -> int:
    """The sequence of an entry that ``entry_json`` wrote, whatever its format version."""
    return int(json.loads(text)["sequence"])


def _read_back(store: Store, link: LedgerEntry, trusted: Sequence[PublicKey]) -> None:
    head = read_head(store, trusted)
    if head.link == link:
        return
    name = _history(link.sequence)
    later = store.read(name) if head.sequence > link.sequence else None
    if later is None or LedgerEntry.parse(later.data, name) != link:
        raise ConnectionError(
            f"{POINTER} of the release store: sequence {link.sequence} was taken and is not there;"
            " does the server know conditional puts?"
        )


def check_entry(link: LedgerEntry, trusted: Sequence[PublicKey]) -> PublicKey:
    """The trusted key that signed a link.

    Raises:
        InputError: none did, or it was changed since.
    """
    source = f"{_KIND}, sequence {link.sequence}"
    return verify(link.content, parse_signature(link.signature, source), trusted, source)


@dataclass(frozen=True, slots=True)
class History:
    """All links that are there, the latest first, and what is wrong with the chain."""

    links: tuple[LedgerEntry, ...]
    problems: tuple[str, ...]


def read_history(store: Store, trusted: Sequence[PublicKey], witnessed: int = 0) -> History:
    """Follow the chain from the pointer to its first link, and check every step.

    Args:
        witnessed: the latest sequence that was told elsewhere; a pointer behind it was put back.
    """
    problems: list[str] = []
    try:
        head = read_head(store, trusted)
    except InputError as error:
        return History((), (str(error),))
    links = [head.link] if head.link else []
    wanted = head.link.previous if head.link else None
    for sequence in range(head.sequence - 1, 0, -1):
        found = store.read(_history(sequence))
        if found is None:
            problems.append(f"link {sequence} was removed")
            wanted = None
            continue
        try:
            link = LedgerEntry.parse(found.data, _history(sequence))
        except InputError as error:
            problems.append(f"link {sequence} cannot be read: {error}")
            wanted = None
            continue
        try:
            check_entry(link, trusted)
        except InputError as error:
            problems.append(f"link {sequence} was edited: {error}")
            wanted = None
            continue
        if link.sequence != sequence or (wanted is not None and link.digest != wanted):
            problems.append(f"link {sequence} was replaced: the next one names another")
        links.append(link)
        wanted = link.previous
    problems += _put_back(store, head.sequence, witnessed)
    return History(tuple(links), tuple(problems))


def _put_back(store: Store, sequence: int, witnessed: int) -> list[str]:
    """Whether a link beyond the pointer's own was there: it was replaced by an older one.

    A link of the pointer's own sequence may lie there: a move that was given up left it.
    """
    known = (
        name.removeprefix("history/").removesuffix(".json") for name in store.names("history/")
    )
    later = [int(name) + 1 for name in known if name.isdecimal() and int(name) > sequence]
    latest = max([witnessed, *later])
    if latest > sequence:
        return [f"the pointer is at sequence {sequence}, but {latest} was reached: it was put back"]
    return []


def _history(sequence: int) -> str:
    return f"history/{sequence:08d}.json"


def _head_text(link: LedgerEntry | None, token: int) -> bytes:
    return _text(PointerFile(token, link).tree())


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode() + b"\n"
