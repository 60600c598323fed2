"""Download labelled sets from S3 into a local folder: ``s3://bucket/prefix``.

Input: the URL of a labelled set: of its prefix or its label file. Does: lists the prefix and
downloads each new or changed object into ``.objects/``, where the name of a file is its SHA-256;
then creates a folder with links to them under the names of the objects. Output: that folder,
``<digest of names and contents>/<name>``, which is not changed afterwards, so that the key of a
stage depends on the content and not on the URL.

An interrupted download is resumed: every file in ``.objects/`` is complete and verified.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fpenet.core.errors import InputError
from fpenet.core.files import locked
from fpenet.core.progress import report
from fpenet.params import Params
from fpenet.provenance.digest import digest_bytes, digest_file, digest_json, files_of

if TYPE_CHECKING:  # boto3 is not in the light install
    from fpenet.provenance.object_store import S3Object

_BATCH = 1024
_LABEL_FILES = (".json", ".csv", ".parquet", ".txt", ".pts")
_T = TypeVar("_T")


def on_s3(labels: str) -> bool:
    """Whether ``data.labels`` names a set on S3."""
    return labels.startswith("s3://")


def local_labels(params: Params, into: Path) -> Params:
    """``params`` with ``data.labels`` on this machine: a set on S3 is downloaded into ``into``.

    Raises:
        InputError, ConnectionError: see ``fetch_labels``.
    """
    if not on_s3(params.data.labels):
        return params
    folder = fetch_labels(params.data.labels, into, params.storage.endpoint)
    data = params.data.model_copy(update={"labels": folder.as_posix()})
    return params.model_copy(update={"data": data})


def fetch_labels(url: str, into: Path, endpoint: str | None = None) -> Path:
    """The labelled set at ``url`` as a folder (or a label file in one) below ``into``.

    Args:
        endpoint: address of the S3 server; None: the endpoint of the AWS configuration.

    Raises:
        InputError: no such bucket, no object at the prefix, no access, no server, or a key that is
            no path.
        ConnectionError: the server failed at every attempt; the next call resumes the download.
    """
    from fpenet.provenance.object_store import list_objects, s3_client

    bucket, prefix, label_file = parse_url(url)
    into.mkdir(parents=True, exist_ok=True)
    with locked(into / ".lock"), closing(s3_client(endpoint)) as client:
        objects = list_objects(client, bucket, prefix)
        if not objects:
            raise InputError(f"data.labels: {url}: no objects; name the prefix of a set")
        if label_file and label_file not in {item.name for item in objects}:
            raise InputError(f"data.labels: {url}: no such object")
        known = into / ".known" / f"{digest_bytes(f'{endpoint} {bucket}/{prefix}'.encode())}.jsonl"
        digests = _download(client, objects, into / ".objects", known)
        name = (prefix.rstrip("/") or bucket).rsplit("/", 1)[-1]
        return _linked(into, name, digests) / label_file


def parse_url(url: str) -> tuple[str, str, str]:
    """Bucket, prefix with its last slash, and the name of the label file, empty for none.

    Raises:
        InputError: the URL has no valid bucket name.

    >>> parse_url("s3://faces/2026/march"), parse_url("s3://faces/labels.json")
    (('faces', '2026/march/', ''), ('faces', '', 'labels.json'))
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise InputError("data.labels: must be s3://bucket/prefix with a valid bucket name")
    folder, slash, last = key.rstrip("/").rpartition("/")
    if last.endswith(_LABEL_FILES):
        return bucket, folder + slash, last
    return bucket, f"{folder}{slash}{last}/" if last else "", ""


def _download(
    client: Any, objects: list["S3Object"], store: Path, known_path: Path
) -> dict[str, str]:
    """Download the missing objects into ``store``; returns name -> SHA-256 of all objects."""
    from fpenet.provenance.object_store import CONNECTIONS, download_object

    known = _read_known(known_path)
    known_path.parent.mkdir(exist_ok=True)
    digests: dict[str, str] = {}

    def download(expected: "S3Object") -> tuple["S3Object", str, bool]:
        digest = known.get((expected.name, expected.size, expected.etag))
        if digest and _holds(store, digest):
            return expected, digest, False
        partial = store / f".{digest_json([expected.url, expected.size, expected.etag])}.partial"
        digest = download_object(client, expected, partial)
        path = _path_of(store, digest)
        path.parent.mkdir(exist_ok=True)
        partial.replace(path)
        path.chmod(0o444)  # links to it must not be written to
        return expected, digest, True

    store.mkdir(exist_ok=True)
    megabytes = 0.0
    pool = ThreadPoolExecutor(CONNECTIONS, "fetch")
    try:
        with known_path.open("a", encoding="utf-8") as lines:
            for batch in _batches(objects):
                for item, digest, is_new in pool.map(download, batch):
                    digests[item.name] = digest
                    if is_new:
                        row = [item.name, item.size, item.etag, digest]
                        print(json.dumps(row), file=lines, flush=True)
                    megabytes += item.size / 1e6
                    report(len(digests), len(objects), "objects", mb=megabytes)
    finally:
        pool.shutdown(cancel_futures=True)
    return digests


def _read_known(path: Path) -> dict[tuple[str, int, str], str]:
    """(name, size, ETag) -> SHA-256 of downloaded objects; truncated lines are skipped."""
    known: dict[tuple[str, int, str], str] = {}
    if not path.exists():
        return known
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            name, size, etag, digest = json.loads(line)
        except ValueError:
            continue
        if re.fullmatch(r"[0-9a-f]{64}", digest):
            known[name, size, etag] = digest
    return known


def _path_of(store: Path, digest: str) -> Path:
    return store / digest[:2] / digest[2:]


def _holds(store: Path, digest: str) -> bool:
    """Whether the file exists and its SHA-256 is its name."""
    path = _path_of(store, digest)
    return path.exists() and digest_file(path) == digest


def _linked(into: Path, name: str, digests: Mapping[str, str]) -> Path:
    """The folder ``name`` with exactly these files, as hard links to the store."""
    key = digest_json(dict(digests))[:16]
    store, folder = into / ".objects", into / key / name
    if folder.exists():
        files = {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
        if files.keys() == digests.keys() and all(
            path.samefile(_path_of(store, digests[file])) for file, path in files.items()
        ):
            return folder
        shutil.rmtree(folder)  # it was changed, or an object was downloaded again
    partial = into / f".{key}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for file, digest in digests.items():
        path = partial / file
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(_path_of(store, digest), path)
    folder.parent.mkdir(exist_ok=True)
    partial.rename(folder)
    return folder


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
