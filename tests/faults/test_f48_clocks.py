"""A clock set back an hour or forward a year: the order is the sequence, times are told."""

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Self

import pytest

from fpenet.provenance.signing import PublicKey, SigningKey
from fpenet.release.promotion import promotion
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.promotion.rollback import choose
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import move, read_history, read_pointer, take_token
from tests.promoting import Promoting
from tests.release_store import ledger_entry


def test_f48_links_are_ordered_by_their_sequence_whatever_the_clocks_said(
    store: Store, key: SigningKey, trusted: tuple[PublicKey, ...]
) -> None:
    clocks = ("2027-11-26T07:00:00+00:00", "2026-11-26T06:00:00+00:00", "1970-01-01T00:00:00+00:00")
    for version, when in zip("123", clocks, strict=True):
        move(store, take_token(store, trusted), ledger_entry(version, when=when), key, trusted)
    history = read_history(store, trusted)
    assert history.problems == ()
    assert [(one.sequence, one.version, one.when) for one in history.entries] == [
        (3, "3", clocks[2]),
        (2, "2", clocks[1]),
        (1, "1", clocks[0]),
    ]
    assert read_pointer(store, trusted).version == "3"
    assert choose(history, None).version == "2"


def test_f48_a_gate_whose_clock_jumps_still_moves_on_from_what_came_last(
    gate_of_three: Promoting, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_of_three
    now = datetime.now(timezone.utc)
    whens = []
    for version, jump in (("3", timedelta(days=365)), ("1", timedelta(hours=-1))):

        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None, jump: timedelta = jump) -> Self:
                return cls.fromisoformat((now + jump).isoformat())

        monkeypatch.setattr(promotion, "datetime", Clock)
        gate.request(version)
        answer = decide_request(gate.params)
        assert answer is not None
        assert (answer.outcome, gate.alias, gate.pointer.version) == ("promoted", version, version)
        assert gate.pointer.entry is not None
        whens.append(gate.pointer.entry.when)
    assert whens[1] < whens[0]  # told as the clock said, and nothing follows from it
    history = read_history(release_store(gate.params), gate.trusted)
    assert [one.version for one in history.entries] == ["1", "3", "2", "1"]
    assert history.problems == ()
