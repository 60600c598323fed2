"""The release store on S3: every write is a conditional put, and is read back.

A put may succeed although its response is an error. After a 412 the object is therefore read and
compared. A server that ignores the conditions is refused before the first write.
"""

import base64
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_bytes, digest_file
from fpenet.provenance.object_store import (
    ATTEMPTS,
    FIRST_WAIT_SECONDS,
    S3Object,
    download_object,
    object_store_errors,
    s3_client,
)
from fpenet.release.store.interface import Stored, Superseded

_PROBE = "conditions"
_NEVER = '"00000000000000000000000000000000"'


@dataclass(slots=True)
class S3Store:
    """A release store below ``prefix`` of a bucket; the prefix ends with a slash or is empty."""

    client: Any
    bucket: str
    prefix: str
    _tried: bool = field(default=False, repr=False)

    @classmethod
    def at(cls, url: str, endpoint: str | None) -> "S3Store":
        """The store at ``s3://bucket/prefix``."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return cls(s3_client(endpoint), bucket, f"{prefix.strip('/')}/" if prefix else "")

    def read(self, name: str) -> Stored | None:
        with object_store_errors(self.client, self._url(name)):
            try:
                response = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)
            except ClientError as error:
                if _status(error) == 404 and _code(error) != "NoSuchBucket":
                    return None
                raise
            return Stored(response["Body"].read(), response["ETag"])

    def swap(self, name: str, data: bytes, tag: str | None) -> None:
        self._require_conditions()
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        if not self._put(name, data, **condition):
            stored = self.read(name)
            if stored is None or stored.data != data:  # equal: only our response was lost
                raise Superseded(f"another run changed {self._url(name)}")

    def keep(self, name: str, data: bytes) -> None:
        self._require_conditions()
        self._put(name, data, IfNoneMatch="*")
        stored = self.read(name)
        if stored is None or stored.data != data:
            raise InputError(f"{self._url(name)}: the store already has other content")

    def keep_file(self, name: str, path: Path) -> None:
        self._require_conditions()
        expected = digest_file(path)
        checksum = base64.b64encode(bytes.fromhex(expected)).decode()
        with path.open("rb") as file:
            self._put(name, file, IfNoneMatch="*", ChecksumSHA256=checksum)
        stored = self.read(name)
        if stored is None or digest_bytes(stored.data) != expected:
            raise InputError(f"{self._url(name)}: the store already has other content; remove it")

    def fetch(self, name: str, path: Path) -> None:
        key = self.prefix + name
        with object_store_errors(self.client, self._url(name)):
            head = self.client.head_object(Bucket=self.bucket, Key=key)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = S3Object(self.bucket, key, name, head["ContentLength"], head["ETag"])
        download_object(self.client, source, path)

    def names(self, prefix: str) -> list[str]:
        with object_store_errors(self.client, self._url(prefix)):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            keys = [row["Key"] for page in pages for row in page.get("Contents", ())]
        return sorted(key[len(self.prefix) :] for key in keys)

    def _url(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{name}"

    def _put(self, name: str, body: Any, **condition: str) -> bool:
        """Put an object; False where the condition does not hold.

        Raises:
            ConnectionError: the server answered 409 (a concurrent put) at every try.
        """
        for attempt in range(ATTEMPTS):
            with object_store_errors(self.client, self._url(name)):
                try:
                    self.client.put_object(
                        Bucket=self.bucket, Key=self.prefix + name, Body=body, **condition
                    )
                except ClientError as error:
                    if _status(error) == 412 or (_status(error) == 404 and "IfMatch" in condition):
                        return False
                    if _status(error) != 409:  # 409: two concurrent puts, the server took neither
                        raise
                else:
                    return True
            time.sleep(random.uniform(0.5, 1.0) * FIRST_WAIT_SECONDS * 2**attempt)
            if hasattr(body, "seek"):
                body.seek(0)
        raise ConnectionError(f"{self._url(name)}: status 409 at each of {ATTEMPTS} tries")

    def _require_conditions(self) -> None:
        """Refuse a server that accepts a put although its condition does not hold.

        Raises:
            InputError: the server ignores a condition; the message names it.
        """
        if self._tried:
            return
        self._put(_PROBE, b"", IfNoneMatch="*")
        for condition in ({"IfNoneMatch": "*"}, {"IfMatch": _NEVER}):
            if self._put(_PROBE, b"", **condition):
                (header,) = condition
                raise InputError(
                    f"{self._url('')}: the server ignores the header {header} of a put, so two"
                    " releases could overwrite each other; use a server with conditional writes,"
                    " or a folder"
                )
        self._tried = True


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
