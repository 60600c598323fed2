"""The release pointer moves by compare-and-swap, and its chain tells what was done to it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fpenet.provenance.signing import PublicKey, SigningKey, make_key
from fpenet.release.store.folder import FileStore
from fpenet.release.store.interface import Store, Superseded
from fpenet.release.store.pointer import (
    POINTER,
    LedgerEntry,
    ReleasePointer,
    entry_json,
    move,
    read_history,
    read_pointer,
    take_token,
)
from tests.release_store import ledger_entry, promote

Trusted = tuple[PublicKey, ...]


def test_each_move_is_one_link_more(store: Store, key: SigningKey, trusted: Trusted) -> None:
    assert read_pointer(store, trusted) == ReleasePointer(0, None)
    moved = promote(store, key, "1", "2", "3")
    assert [one.sequence for one in moved] == [1, 2, 3]
    assert [one.token for one in moved] == [1, 2, 3]
    assert [one.previous for one in moved] == [None, moved[0].digest, moved[1].digest]
    pointer = read_pointer(store, trusted)
    assert (pointer.entry, pointer.token, pointer.version) == (moved[2], 3, "3")
    history = read_history(store, trusted)
    assert history.entries == (moved[2], moved[1], moved[0])
    assert history.problems == ()
    assert LedgerEntry.parse(entry_json(moved[1]), "ledger entry") == moved[1]


def test_a_run_whose_token_is_not_the_latest_changes_nothing(
    store: Store, key: SigningKey, trusted: Trusted, contents: Callable[[Store], dict[str, bytes]]
) -> None:
    promote(store, key, "1")
    zombie, living = take_token(store, trusted), take_token(store, trusted)
    before = contents(store)
    with pytest.raises(Superseded, match="has token 2, but another run took token 3"):
        move(store, zombie, ledger_entry("2"), key, trusted)
    assert contents(store) == before
    assert move(store, living, ledger_entry("3"), key, trusted).sequence == 2


def test_a_removed_link_is_told(key: SigningKey, trusted: Trusted, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "releases")
    moved = promote(store, key, "1", "2", "3", "4")
    (tmp_path / "releases/history/00000002.json").unlink()
    history = read_history(store, trusted)
    assert history.problems == ("ledger entry 2 was removed",)
    assert history.entries == (moved[3], moved[2], moved[0])


@pytest.mark.parametrize(
    ("sequence", "key_of", "said"),
    [(1, "watcher", "ledger entry 1 was replaced"), (2, "stranger", "is not trusted here")],
)
def test_an_edited_link_is_told(
    key: SigningKey, trusted: Trusted, tmp_path: Path, sequence: int, key_of: str, said: str
) -> None:
    from fpenet.provenance.signing import sign

    store = FileStore(tmp_path / "releases")
    promote(store, key, "1", "2", "3")
    path = tmp_path / f"releases/history/{sequence:08d}.json"
    text = path.read_text()
    path.write_text(text.replace("requested in MLflow", "a better reason"))
    (problem,) = read_history(store, trusted).problems
    assert problem.startswith(f"ledger entry {sequence} was edited")
    assert problem.endswith("is not what the watcher key " + key.public.id + " signed")
    # and signed again, by the watcher's key or by another key
    signer = key if key_of == "watcher" else make_key(tmp_path / "keys/stranger.pem")
    edited = replace(LedgerEntry.parse(text, "ledger entry"), why="a better reason", signature="")
    path.write_text(entry_json(replace(edited, signature=str(sign(edited.content, signer)))))
    (problem,) = read_history(store, trusted).problems
    assert said in problem


def test_a_link_of_an_older_format_is_named_with_both_versions(
    key: SigningKey, trusted: Trusted, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "releases")
    promote(store, key, "1", "2")
    path = tmp_path / "releases/history/00000001.json"
    tree = json.loads(path.read_text())
    assert tree.pop("format") == 2
    path.write_text(json.dumps(tree | {"action": "rolled back"}))
    (problem,) = read_history(store, trusted).problems
    assert problem.startswith(
        "ledger entry 1 cannot be read: history/00000001.json: format is missing (written before"
        " formats were numbered), this version of fpenet reads format 2 of LedgerEntry"
    )


def test_a_pointer_that_was_put_back_is_told(
    key: SigningKey, trusted: Trusted, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "releases")
    promote(store, key, "1")
    old = (tmp_path / "releases" / POINTER).read_bytes()
    promote(store, key, "2", "3")
    (tmp_path / "releases" / POINTER).write_bytes(old)
    (problem,) = read_history(store, trusted).problems
    assert problem.startswith(
        "the pointer is at sequence 1, but sequence 3 existed: the pointer was reset"
    )
    for path in (tmp_path / "releases/history").iterdir():
        path.unlink()
    assert read_history(store, trusted).problems == ()  # nothing here can tell
    (problem,) = read_history(store, trusted, witnessed=3).problems
    assert problem.startswith(
        "the pointer is at sequence 1, but sequence 3 existed: the pointer was reset"
    )


def test_a_pointer_of_a_stranger_or_changed_is_refused(
    key: SigningKey, trusted: Trusted, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "releases")
    promote(store, key, "1")
    path = tmp_path / "releases" / POINTER
    path.write_bytes(path.read_bytes().replace(b"deployable_v1.0", b"deployable_v9.0"))
    for call in (read_pointer, take_token):
        with pytest.raises(
            ValueError, match="release pointer, sequence 1: is not what the watcher"
        ):
            call(store, trusted)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"pointer\.json of the release store: format is missing"):
        read_pointer(store, trusted)
    assert read_history(store, trusted).problems[0].startswith("pointer.json of the release store")


def test_what_is_kept_is_kept_once(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "engine"
    path.write_bytes(b"engine" * 1000)
    for _ in range(2):
        store.keep("one", b"1")
        store.keep_file("files/engine", path)
    with pytest.raises(ValueError, match="the store already has other content"):
        store.keep("one", b"2")
    store.fetch("files/engine", tmp_path / "again/engine")
    assert (tmp_path / "again/engine").read_bytes() == b"engine" * 1000
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match="files/engine: the store already has other content"):
        store.keep_file("files/engine", path)
    with pytest.raises(ValueError, match="nowhere"):
        store.fetch("nowhere", tmp_path / "nowhere")
    assert store.names("files/") == ["files/engine"]
