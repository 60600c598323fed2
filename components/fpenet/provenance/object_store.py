"""Objects of an S3 server: what lies below a prefix, and one object as a checked file.

The credentials are botocore's to find, in the environment or the AWS configuration; nothing here
reads, keeps or says them. The server is AWS, or whatever answers at ``storage.endpoint``.
"""

import base64
import hashlib
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.httpchecksum import Crc32Checksum, Sha1Checksum, Sha256Checksum

from fpenet.core.errors import InputError

S3_ERRORS = (BotoCoreError, ClientError, Boto3Error)
"""What a library raises that reaches S3 by boto3 itself."""
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.25
TIMEOUT_SECONDS = 60
CONNECTIONS = 16
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object of a listing.

    Attributes:
        name: its key below the prefix, as a path.
        etag: what the server calls its content: another content has another one.
    """

    bucket: str
    key: str
    name: str
    size: int
    etag: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def s3_client(endpoint: str | None) -> Any:
    """A client of the server at ``endpoint``; None: where the AWS configuration says.

    500, 503 and a connection that fails are tried again, with growing waits.

    Raises:
        InputError: no region, profile or address that botocore can use.
    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        max_pool_connections=CONNECTIONS,
    )
    try:
        # not the default session, which keeps the credentials that it found first
        return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise InputError(f"storage.endpoint is {endpoint}: {_line(error)}") from None


def list_objects(client: Any, bucket: str, prefix: str) -> list[S3Object]:
    """All objects below ``prefix``, a key up to and with its last slash, or empty.

    The empty objects with a slash at their end, by which some tools mark a folder, are left out.

    Raises:
        InputError: no such bucket, no access, or a key that is not a path below the prefix.
        ConnectionError: the server failed at every try.
    """
    found: list[S3Object] = []
    with object_store_errors(client, f"s3://{bucket}/{prefix}"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for row in (row for page in pages for row in page.get("Contents", ())):
            key, size = row["Key"], row["Size"]
            if not (key.endswith("/") and size == 0):
                found.append(S3Object(bucket, key, key[len(prefix) :], size, row["ETag"]))
    _require_paths(found)
    return found


def reach(client: Any, bucket: str, prefix: str) -> None:
    """Ask for the keys below ``prefix``, of which there may be none.

    Raises:
        as ``list_objects`` does.
    """
    with object_store_errors(client, f"s3://{bucket}/{prefix}"):
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def download_object(client: Any, expected: S3Object, path: Path) -> str:
    """Bring the object to ``path``, going on after the bytes that an earlier try left there.

    The file is read back and held to the checksum that the server gives (SHA-256, SHA-1, CRC-32),
    else to an ETag that is an MD5; always to its size. An object that was uploaded in parts may
    have neither for its whole.

    Returns:
        SHA-256 of the file, as lower-case hex.

    Raises:
        InputError: no access, or the object changed since it was listed.
        ConnectionError: the server failed, or sent other bytes, at every try.
    """
    problem = ConnectionError(expected.url)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * FIRST_WAIT_SECONDS * 2**attempt)
        try:
            with object_store_errors(client, expected.url):
                said = _get_rest(client, expected, path)
        except ConnectionError as error:
            problem = error
            continue
        found, wrong = _check(path, expected, said)
        if not wrong:
            return found
        path.unlink()  # there is no knowing which of its bytes are wrong
        problem = ConnectionError(f"{expected.url}: {wrong}, {ATTEMPTS} times over")
    raise problem


def _get_rest(client: Any, expected: S3Object, path: Path) -> Mapping[str, Any]:
    """Append to ``path`` what it lacks of the object; returns what the server says of the whole."""
    have = path.stat().st_size if path.exists() else 0
    if have > expected.size:
        path.unlink()
        have = 0
    which = {"Bucket": expected.bucket, "Key": expected.key, "IfMatch": expected.etag}
    if not have:
        whole = client.get_object(**which, ChecksumMode="ENABLED")
        _append(whole["Body"], path)
        return dict(whole)
    about = client.head_object(**which, ChecksumMode="ENABLED")
    if have < expected.size:
        rest = client.get_object(**which, Range=f"bytes={have}-")
        if rest["ResponseMetadata"]["HTTPStatusCode"] != 206:
            path.unlink()  # a server that knows no ranges sends the whole
        _append(rest["Body"], path)
    return dict(about)


def _append(body: Any, path: Path) -> None:
    with path.open("ab") as file:
        try:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                file.write(chunk)
        except FlexibleChecksumError:
            return  # all of it came; what it is will be seen on the disk


_CHECKSUMS = {
    "ChecksumSHA256": Sha256Checksum,
    "ChecksumSHA1": Sha1Checksum,
    "ChecksumCRC32": Crc32Checksum,
}


def _check(path: Path, remote: S3Object, values: Mapping[str, Any]) -> tuple[str, str]:
    """SHA-256 of the file on the disk, and in what it differs from what the server says of it."""
    if (size := path.stat().st_size) != remote.size:
        return "", f"{size} bytes came of {remote.size}"
    expected = dict(_expected(remote.etag, values))
    sha256 = hashlib.sha256()
    digests: dict[str, Any] = {name: _CHECKSUMS.get(name, _md5)() for name in expected}
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            for digest in (sha256, *digests.values()):
                digest.update(chunk)
    wrong = [name for name, digest in digests.items() if digest.digest() != expected[name]]
    return sha256.hexdigest(), f"its bytes do not have its {' and '.join(wrong)}" if wrong else ""


def _expected(etag: str, values: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The digests of the whole object that the server told; ``-`` marks one of its parts' digests.

    An ETag is the MD5 of an object that came in one part and is not encrypted by a key of KMS.
    """
    given = {
        name: values[name] for name in _CHECKSUMS if name in values and "-" not in values[name]
    }
    yield from ((name, base64.b64decode(value)) for name, value in given.items())
    kms = "kms" in values.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in values
    if not given and not kms and re.fullmatch(r'"[0-9a-f]{32}"', etag):
        yield "ETag", bytes.fromhex(etag.strip('"'))


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _require_paths(objects: list[S3Object]) -> None:
    """Refuse keys that are no path below the prefix, or that need a file where a folder is."""
    names = {one.name for one in objects}
    for one in objects:
        parts = one.name.split("/")
        if (
            {"", ".", ".."} & set(parts)
            or re.search(r"[\x00-\x1f\x7f\\]", one.name)
            or any(len(part.encode()) > 255 for part in parts)
        ):
            raise InputError(f"{one.url!r}: the key is not a plain path below the prefix")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in names:
                folder = "/".join(parts[:depth])
                raise InputError(f"{one.url!r}: {folder} is an object and a folder of others")


@contextmanager
def object_store_errors(client: Any, url: str) -> Iterator[None]:
    """Turn what botocore raises into one line: bad input, or a server that failed."""
    endpoint = client.meta.endpoint_url
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(said.get("Code", status))
        if status >= 500 or code in ("SlowDown", "RequestTimeout"):
            raise ConnectionError(f"{url}: the server answers {status} {code}") from None
        raise InputError(f"{url}: {_refused(code, status, said.get('Message', ''))}") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise InputError(
            f"{url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
            " AWS_PROFILE"
        ) from None
    except EndpointConnectionError:
        raise InputError(f"{url}: nothing answers at {endpoint} (storage.endpoint)") from None
    except (HTTPClientError, IncompleteReadError) as error:
        raise ConnectionError(f"{url}: the connection failed: {_line(error)}") from None
    except BotoCoreError as error:
        raise InputError(f"{url}: {_line(error)}") from None


def _refused(code: str, status: int, message: str) -> str:
    if code == "NoSuchBucket":
        return "no such bucket"
    if status == 403:
        return f"access refused ({code}); check the key, its secret and its rights"
    if status in (404, 412, 416):
        return "it changed while it was read; run again"
    return f"the server answers {status} {code}: {' '.join(str(message).split())[:200]}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
