"""Objects of an S3 server: list a prefix, and download one object with its checksum verified.

botocore reads the credentials from the environment or the AWS configuration; this module neither
reads, stores nor prints them. The server is AWS, or the one at ``storage.endpoint``.
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
"""Exceptions of a library that uses boto3 directly."""
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
        etag: the server's identifier of the content; it changes with the content.
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
    """A client of the server at ``endpoint``; None: the endpoint of the AWS configuration.

    Status 500, 503 and failed connections are retried with increasing waits.

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
        # a new session: the default session caches the first credentials
        return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise InputError(f"storage.endpoint is {endpoint}: {_line(error)}") from None


def list_objects(client: Any, bucket: str, prefix: str) -> list[S3Object]:
    """All objects below ``prefix``, which is empty or ends with a slash.

    Empty objects whose key ends with a slash (folder markers of some tools) are left out.

    Raises:
        InputError: no such bucket, no access, or a key that is not a path below the prefix.
        ConnectionError: the server failed at every attempt.
    """
    objects: list[S3Object] = []
    with object_store_errors(client, f"s3://{bucket}/{prefix}"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for row in (row for page in pages for row in page.get("Contents", ())):
            key, size = row["Key"], row["Size"]
            if not (key.endswith("/") and size == 0):
                objects.append(S3Object(bucket, key, key[len(prefix) :], size, row["ETag"]))
    _require_paths(objects)
    return objects


def reach(client: Any, bucket: str, prefix: str) -> None:
    """List one key below ``prefix`` to check access; the prefix may be empty.

    Raises:
        InputError, ConnectionError: as ``list_objects``.
    """
    with object_store_errors(client, f"s3://{bucket}/{prefix}"):
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def download_object(client: Any, expected: S3Object, path: Path) -> str:
    """Download the object to ``path``; a partial file of an earlier attempt is continued.

    The file is read back and its size is checked, and its checksum from the server (SHA-256, SHA-1,
    CRC-32), or else its ETag if that is an MD5. An object that was uploaded in parts may have
    neither.

    Returns:
        SHA-256 of the file, as lower-case hex.

    Raises:
        InputError: no access, or the object changed since it was listed.
        ConnectionError: the server failed, or sent wrong bytes, at every attempt.
    """
    problem = ConnectionError(expected.url)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * FIRST_WAIT_SECONDS * 2**attempt)
        try:
            with object_store_errors(client, expected.url):
                response = _get_rest(client, expected, path)
        except ConnectionError as error:
            problem = error
            continue
        sha256, wrong = _check(path, expected, response)
        if not wrong:
            return sha256
        path.unlink()  # it is not known which of its bytes are wrong
        problem = ConnectionError(f"{expected.url}: {wrong}, in each of {ATTEMPTS} attempts")
    raise problem


def _get_rest(client: Any, expected: S3Object, path: Path) -> Mapping[str, Any]:
    """Append the missing bytes of the object to ``path``; returns the response for the object."""
    size = path.stat().st_size if path.exists() else 0
    if size > expected.size:
        path.unlink()
        size = 0
    request = {"Bucket": expected.bucket, "Key": expected.key, "IfMatch": expected.etag}
    if not size:
        response = client.get_object(**request, ChecksumMode="ENABLED")
        _append(response["Body"], path)
        return dict(response)
    head = client.head_object(**request, ChecksumMode="ENABLED")
    if size < expected.size:
        rest = client.get_object(**request, Range=f"bytes={size}-")
        if rest["ResponseMetadata"]["HTTPStatusCode"] != 206:
            path.unlink()  # a server without range requests sends the response object
        _append(rest["Body"], path)
    return dict(head)


def _append(body: Any, path: Path) -> None:
    with path.open("ab") as file:
        try:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                file.write(chunk)
        except FlexibleChecksumError:
            return  # all bytes have arrived; _check verifies the file on disk


_CHECKSUMS = {
    "ChecksumSHA256": Sha256Checksum,
    "ChecksumSHA1": Sha1Checksum,
    "ChecksumCRC32": Crc32Checksum,
}


def _check(path: Path, remote: S3Object, values: Mapping[str, Any]) -> tuple[str, str]:
    """SHA-256 of the file on disk, and how it differs from the server's size and checksums."""
    if (size := path.stat().st_size) != remote.size:
        return "", f"{size} of {remote.size} bytes were received"
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
    """The server's digests of the whole object; a value with ``-`` is a digest of part digests.

    An ETag is the MD5 of an object that was uploaded in one part and is not encrypted with KMS.
    """
    checksums = {
        name: values[name] for name in _CHECKSUMS if name in values and "-" not in values[name]
    }
    yield from ((name, base64.b64decode(value)) for name, value in checksums.items())
    kms = "kms" in values.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in values
    if not checksums and not kms and re.fullmatch(r'"[0-9a-f]{32}"', etag):
        yield "ETag", bytes.fromhex(etag.strip('"'))


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _require_paths(objects: list[S3Object]) -> None:
    """Raise InputError for keys that are not a path below the prefix, or are a file and a
    folder."""
    names = {item.name for item in objects}
    for item in objects:
        parts = item.name.split("/")
        if (
            {"", ".", ".."} & set(parts)
            or re.search(r"[\x00-\x1f\x7f\\]", item.name)
            or any(len(part.encode()) > 255 for part in parts)
        ):
            raise InputError(f"{item.url!r}: the key is not a plain path below the prefix")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in names:
                folder = "/".join(parts[:depth])
                raise InputError(f"{item.url!r}: {folder} is an object and also a folder")


@contextmanager
def object_store_errors(client: Any, url: str) -> Iterator[None]:
    """Convert botocore's exceptions to one-line InputError or ConnectionError."""
    endpoint = client.meta.endpoint_url
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(details.get("Code", status))
        if status >= 500 or code in ("SlowDown", "RequestTimeout"):
            raise ConnectionError(f"{url}: the server answers {status} {code}") from None
        raise InputError(f"{url}: {_refusal(code, status, details.get('Message', ''))}") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise InputError(
            f"{url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
            " AWS_PROFILE"
        ) from None
    except EndpointConnectionError:
        raise InputError(f"{url}: no server answers at {endpoint} (storage.endpoint)") from None
    except (HTTPClientError, IncompleteReadError) as error:
        raise ConnectionError(f"{url}: the connection failed: {_line(error)}") from None
    except BotoCoreError as error:
        raise InputError(f"{url}: {_line(error)}") from None


def _refusal(code: str, status: int, message: str) -> str:
    if code == "NoSuchBucket":
        return "no such bucket"
    if status == 403:
        return f"access refused ({code}); check the key, its secret and its rights"
    if status in (404, 412, 416):
        return "it changed while it was read; run again"
    return f"the server answers {status} {code}: {' '.join(str(message).split())[:200]}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
