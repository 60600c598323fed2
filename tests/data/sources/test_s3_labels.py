"""Labels on a real S3 server become a local folder with the same bytes, whatever goes wrong."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.core.progress import LOGGER
from fpenet.data.sources.s3_labels import fetch_labels, parse_url
from fpenet.provenance import object_store
from fpenet.provenance.digest import digest_dataset, digest_file, files_of
from tests.faulty_proxy import FaultyProxy, cut, refused, replaced
from tests.s3_server import Bucket

BIG = random.Random(35).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def brief_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def fetch(bucket: Bucket, tmp_path: Path) -> Callable[..., Path]:
    def call(prefix: str = "faces", endpoint: str | None = None) -> Path:
        url = f"s3://{bucket.name}/{prefix}"
        return fetch_labels(url, tmp_path / "labels", endpoint or bucket.server.endpoint)

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_of(folder)}


SET = {"labels.json": b"[]", "images/a.png": b"a" * 1000, "images/b c+ü%.png": b"b" * 500, "e": b""}


@pytest.fixture
def put(bucket: Bucket) -> Callable[..., None]:
    def call(prefix: str = "faces", objects: dict[str, bytes] | None = None) -> None:
        for name, body in (SET if objects is None else objects).items():
            bucket.put(f"{prefix}/{name}", body)

    return call


def test_a_prefix_becomes_a_folder_with_the_same_bytes(
    fetch: Any, put: Any, bucket: Bucket
) -> None:
    put()
    bucket.put("faces/", b"")  # how some tools mark a folder
    bucket.put("faces/images/", b"")
    put("faces-2", {"other.json": b"not ours"})
    folder = fetch()
    assert content(folder) == SET
    assert folder.name == "faces"
    assert folder.parent.name == digest_dataset(folder)[:16]
    assert fetch("faces/") == folder


def test_a_label_file_brings_its_folder(fetch: Any, put: Any) -> None:
    put()
    file = fetch("faces/labels.json")
    assert file.read_bytes() == b"[]"
    assert content(file.parent) == SET


def test_the_folder_depends_on_the_content_and_not_on_the_url(fetch: Any, put: Any) -> None:
    put("2025/faces")
    put("2026/march/faces")
    first = fetch("2025/faces")
    assert fetch("2026/march/faces") == first
    put("2026/march/faces", {"e": b"more"})
    assert fetch("2026/march/faces") != first
    assert content(first) == SET


def test_another_fetch_brings_only_what_changed(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy, bucket: Bucket
) -> None:
    put()
    first = fetch(endpoint=faulty_proxy.endpoint)
    assert len(faulty_proxy.gets("faces/e")) == 1
    faulty_proxy.requests.clear()
    assert fetch(endpoint=faulty_proxy.endpoint) == first
    assert len(faulty_proxy.requests) == 1  # the listing
    put(objects={"images/a.png": b"A" * 1000, "new": b"n"})
    bucket.client.delete_object(Bucket=bucket.name, Key="faces/e")
    second = fetch(endpoint=faulty_proxy.endpoint)
    brought = {path.partition("faces/")[2] for _, path, _ in faulty_proxy.requests}
    assert brought == {"", "images/a.png", "new"}
    rest = {name: body for name, body in SET.items() if name != "e"}
    assert content(second) == rest | {"images/a.png": b"A" * 1000, "new": b"n"}
    assert content(first) == SET


def test_a_file_that_was_touched_here_is_brought_again(fetch: Any, put: Any) -> None:
    put()
    folder = fetch()
    path = folder / "images/a.png"
    path.chmod(0o644)
    path.write_bytes(b"b" * 1000)
    (folder / "added").touch()
    assert fetch() == folder
    assert content(folder) == SET


def test_a_body_cut_in_the_middle_goes_on_where_it_was_cut(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy
) -> None:
    put(objects={**SET, "big.png": BIG})
    faulty_proxy.faults = [("big.png", cut(1_000_000)), ("big.png", cut(500_000))]
    folder = fetch(endpoint=faulty_proxy.endpoint)
    assert content(folder) == SET | {"big.png": BIG}
    ranges = faulty_proxy.gets("big.png")
    assert ranges[0] is None
    starts = [int(str(each).removeprefix("bytes=").removesuffix("-")) for each in ranges[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= 1_000_000 < starts[1] + 500_000
    assert starts[0] < starts[1] <= 1_500_000


@pytest.mark.parametrize(
    "fault",
    [refused(503, "SlowDown"), refused(500, "InternalError"), cut(0), cut(700)],
    ids=["503", "500", "cut before", "cut within"],
)
def test_a_fault_that_passes_is_tried_again(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy, fault: Any
) -> None:
    put()
    faulty_proxy.faults = [("a.png", fault), ("a.png", fault), ("", refused(503, "SlowDown"))]
    assert content(fetch(endpoint=faulty_proxy.endpoint)) == SET
    assert faulty_proxy.faults == []


@pytest.mark.parametrize("checksum", ["MD5", "CRC32", "SHA1", "SHA256"])
def test_bytes_that_came_wrong_are_brought_again(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy, bucket: Bucket, checksum: str
) -> None:
    put()
    body = b"c" * 999
    more = {} if checksum == "MD5" else {"ChecksumAlgorithm": checksum}
    bucket.client.put_object(Bucket=bucket.name, Key="faces/c.png", Body=body, **more)
    faulty_proxy.faults = [("c.png", replaced(b"ccc", b"ccd"))]
    assert content(fetch(endpoint=faulty_proxy.endpoint)) == SET | {"c.png": body}
    assert len(faulty_proxy.gets("c.png")) == 2


def test_bytes_that_stay_wrong_are_never_given_a_name(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy, tmp_path: Path
) -> None:
    put()
    faulty_proxy.faults = [("a.png", replaced(b"aa", b"ab"))] * object_store.ATTEMPTS
    with pytest.raises(ConnectionError, match=r"faces/images/a\.png: its bytes do not have its Ch"):
        fetch(endpoint=faulty_proxy.endpoint)
    kept = [path for path in files_of(tmp_path / "labels") if "ab" in path.read_text()]
    assert [path for path in kept if path.parent.name != ".known"] == []
    assert list((tmp_path / "labels").glob("[!.]*")) == []


def test_a_fetch_that_was_stopped_goes_on(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy, tmp_path: Path
) -> None:
    put(objects={**SET, "z.png": BIG})
    cuts = [cut(1_000_000), *[cut(0)] * (object_store.ATTEMPTS - 1)]
    faulty_proxy.faults = [("z.png", each) for each in cuts]
    with pytest.raises(ConnectionError, match=r"z\.png: the connection failed"):
        fetch(endpoint=faulty_proxy.endpoint)
    assert list((tmp_path / "labels").glob("[!.]*")) == []
    faulty_proxy.requests.clear()
    assert content(fetch(endpoint=faulty_proxy.endpoint)) == SET | {"z.png": BIG}
    brought = [path.partition("faces/")[2] for _, path, _ in faulty_proxy.requests]
    assert brought == ["", "z.png", "z.png"]  # the listing, HEAD and the rest of one object
    (rest,) = faulty_proxy.gets("z.png")
    assert str(rest).startswith("bytes=")


def test_an_object_uploaded_in_parts_is_whole(fetch: Any, bucket: Bucket, tmp_path: Path) -> None:
    body = BIG * 4
    (tmp_path / "labels.bin").write_bytes(body)  # boto3 cuts it into 8 MB parts
    bucket.client.upload_file(str(tmp_path / "labels.bin"), bucket.name, "faces/labels.bin")
    assert bucket.client.head_object(Bucket=bucket.name, Key="faces/labels.bin")["ETag"][-3] == "-"
    assert content(fetch()) == {"labels.bin": body}


def test_an_object_that_changes_meanwhile_stops_the_fetch(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy
) -> None:
    put()
    faulty_proxy.faults = [("a.png", refused(412, "PreconditionFailed"))]
    with pytest.raises(ValueError, match=r"a\.png: it changed while it was read; run again"):
        fetch(endpoint=faulty_proxy.endpoint)


@pytest.mark.parametrize("key", ["../a", "/a", "images/../../a", "images//a", "./a", "x\\a"])
def test_a_key_that_is_no_path_below_the_prefix_is_refused(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy, tmp_path: Path, key: str
) -> None:
    put()
    listed = replaced(b"<Key>faces/images/a.png</Key>", f"<Key>faces/{key}</Key>".encode())
    faulty_proxy.faults = [("", listed)]
    with pytest.raises(ValueError, match="the key is not a plain path below the prefix"):
        fetch(endpoint=faulty_proxy.endpoint)
    assert [path.name for path in files_of(tmp_path)] == [".lock"]


def test_an_object_where_others_need_a_folder_is_refused(
    fetch: Any, put: Any, faulty_proxy: FaultyProxy
) -> None:
    put()
    faulty_proxy.faults = [("", replaced(b"<Key>faces/e<", b"<Key>faces/images<"))]
    with pytest.raises(ValueError, match="images is an object and also a folder"):
        fetch(endpoint=faulty_proxy.endpoint)


def test_progress_is_told_object_by_object(
    fetch: Any, put: Any, caplog: pytest.LogCaptureFixture
) -> None:
    put()
    with caplog.at_level("INFO", LOGGER.name):
        fetch()
    assert [vars(each)["done"] for each in caplog.records] == [1, 2, 3, 4]
    assert caplog.records[-1].getMessage() == "4/4 objects mb=0.001502"


def test_what_a_url_may_be() -> None:
    assert parse_url("s3://faces") == ("faces", "", "")
    assert parse_url("s3://faces/a/b/") == ("faces", "a/b/", "")
    for file in ("b.json", "b.csv", "b.parquet", "list_98pt.txt", "b.pts"):
        assert parse_url(f"s3://faces/a/{file}") == ("faces", "a/", file)
    for url in ("s3://", "s3:///a", "s3://key:secret@faces/a", "s3://UPPER/a"):
        with pytest.raises(ValueError, match="must be s3://bucket/prefix") as raised:
            parse_url(url)
        assert "secret" not in str(raised.value)


def test_what_was_brought_is_known_though_the_last_line_was_cut(
    fetch: Any, put: Any, tmp_path: Path
) -> None:
    put()
    folder = fetch()
    (known,) = (tmp_path / "labels/.known").iterdir()
    rows = [json.loads(line) for line in known.read_text().splitlines()]
    assert {name: digest for name, _, _, digest in rows} == {
        name: digest_file(folder / name) for name in SET
    }
    known.write_text(known.read_text()[:-30])
    assert fetch() == folder
