"""A clock set back an hour or forward a year: the order is the sequence, times are told."""

from components.provenance.sign import PublicKey, SigningKey
from components.release.pointer import move, read_head, read_history, take_token
from components.release.rollback import choose
from components.release.store import Store
from tests.release_store import link


def test_f48_links_are_ordered_by_their_sequence_whatever_the_clocks_said(
    store: Store, key: SigningKey, trusted: tuple[PublicKey, ...]
) -> None:
    clocks = ("2027-11-26T07:00:00+00:00", "2026-11-26T06:00:00+00:00", "1970-01-01T00:00:00+00:00")
    for version, when in zip("123", clocks, strict=True):
        move(store, take_token(store, trusted), link(version, when=when), key, trusted)
    history = read_history(store, trusted)
    assert history.problems == ()
    assert [(one.sequence, one.version, one.when) for one in history.links] == [
        (3, "3", clocks[2]),
        (2, "2", clocks[1]),
        (1, "1", clocks[0]),
    ]
    assert read_head(store, trusted).version == "3"
    assert choose(history, None).version == "2"
