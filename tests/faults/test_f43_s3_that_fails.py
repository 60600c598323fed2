"""S3 that refuses, loses answers or changes bytes: retried or stopped; one move, or none.

The release store puts each object whole: there are no parts of which some could be missing.
"""

from pathlib import Path

import pytest

from fpenet.provenance.signing import SigningKey
from fpenet.release.store import s3
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import open_store
from fpenet.release.store.pointer import POINTER, move, read_history, read_pointer, take_token
from tests.faulty_proxy import (
    Fault,
    FaultyProxy,
    Forward,
    Response,
    altered,
    cut,
    cut_upload,
    lost,
    passed,
    refused,
)
from tests.release_store import ledger_entry, promote
from tests.s3_server import Bucket

PUT = f"PUT {POINTER}"
SLOW_DOWN = refused(503, "SlowDown")
CONFLICT = refused(409, "ConditionalRequestConflict")


def taken(_forward: Forward, _body: bytes) -> tuple[Response, int]:
    """As a server answers that does not know If-None-Match."""
    return (200, [("ETag", '"0"')], b""), 0


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def behind(bucket: Bucket, faulty_proxy: FaultyProxy) -> Store:
    """The store as it is seen through the proxy."""
    return open_store(f"s3://{bucket.name}/releases", faulty_proxy.endpoint)


@pytest.mark.parametrize(
    "faults", [(SLOW_DOWN,), (CONFLICT, CONFLICT), (lost,), (cut_upload,), (lost, CONFLICT)]
)
def test_f43_a_put_that_fails_for_a_while_moves_the_pointer_once(
    faults: tuple[Fault, ...], behind: Store, faulty_proxy: FaultyProxy, key: SigningKey
) -> None:
    trusted = (key.public,)
    promote(behind, key, "1")
    pointer = take_token(behind, trusted)
    faulty_proxy.faults += [(PUT, fault) for fault in faults]
    moved = move(behind, pointer, ledger_entry("2"), key, trusted)
    assert faulty_proxy.faults == []
    assert read_pointer(behind, trusted).entry == moved
    history = read_history(behind, trusted)
    assert ([one.version for one in history.entries], history.problems) == (["2", "1"], ())


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([(PUT, CONFLICT)] * 5, "status 409 at each of 5 tries"),
        ([(PUT, refused(403, "AccessDenied"))], "AccessDenied"),
        # what the server says it holds after the move is not what was sent
        ([(POINTER, passed), (POINTER, cut(20)), *[(POINTER, cut(20))] * 4], "pointer"),
    ],
)
def test_f43_a_store_that_goes_on_failing_stops_the_run_and_leaves_a_whole_chain(
    faults: list[tuple[str, Fault]],
    said: str,
    behind: Store,
    faulty_proxy: FaultyProxy,
    key: SigningKey,
) -> None:
    trusted = (key.public,)
    promote(behind, key, "1")
    pointer = take_token(behind, trusted)
    faulty_proxy.faults += faults
    with pytest.raises((ConnectionError, ValueError), match=said):
        move(behind, pointer, ledger_entry("2"), key, trusted)
    faulty_proxy.faults.clear()
    history = read_history(behind, trusted)
    assert history.problems == ()
    assert history.entries[-1].version == "1"


def test_f43_a_file_that_arrives_otherwise_than_it_was_sent_is_not_kept(
    behind: Store, faulty_proxy: FaultyProxy, tmp_path: Path
) -> None:
    engine = tmp_path / "engine"
    engine.write_bytes(bytes(range(256)) * 64)
    behind.keep("first", b"so that the server was tried")
    faulty_proxy.faults += [("PUT engine", altered)]
    with pytest.raises((ConnectionError, ValueError), match="engine"):
        behind.keep_file("engine", engine)
    behind.keep_file("whole", engine)
    found = behind.read("whole")
    assert found is not None
    assert found.data == engine.read_bytes()


def test_f43_a_server_that_takes_every_put_is_refused_before_anything_moves(
    behind: Store, faulty_proxy: FaultyProxy, key: SigningKey
) -> None:
    faulty_proxy.faults += [("PUT conditions", passed), ("PUT conditions", taken)]
    with pytest.raises(
        ValueError, match="the server ignores the header IfNoneMatch of a put, so two"
    ):
        promote(behind, key, "1")
    assert read_pointer(behind, (key.public,)).entry is None
