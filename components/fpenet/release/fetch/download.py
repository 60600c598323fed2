"""Download files and JSON over HTTP with the standard library; a partial download is continued."""

# httpx, judged and not taken: an edge device downloads with the light install, which has neither it
# nor the five packages that it needs (2 MB in all). It would replace the two calls of urlopen.
# Ranges, the check of the length, the retries by status and the message of MLflow would stay here.

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fpenet.core.errors import InputError

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.25
TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1 << 20
_LONGEST_JSON = 16 << 20


def download(url: str, path: Path, headers: Mapping[str, str]) -> None:
    """Download ``url`` to ``path``; a partial file at ``path`` is continued.

    Raises:
        InputError: the server has no such file, or refuses access.
        ConnectionError: the download failed at every try; another call continues it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def get() -> None:
        size = path.stat().st_size if path.exists() else 0
        byte_range = {"Range": f"bytes={size}-"} if size else {}
        try:
            with urlopen(
                Request(url, headers={**headers, **byte_range}), timeout=TIMEOUT_SECONDS
            ) as response:
                if response.status != 206:  # the server does not support ranges: it sends all
                    path.unlink(missing_ok=True)
                _append(response, path)
        except HTTPError as error:
            if error.code != 416:
                raise
            path.unlink(missing_ok=True)  # longer than the file of the server: of another file
            raise ConnectionError("the partial file is longer than the file") from None

    _try(url, get)


def read_json_url(url: str, headers: Mapping[str, str]) -> Any:
    """The JSON value at ``url``.

    Raises:
        InputError: the server has no such page, it is not JSON, or access is refused.
        ConnectionError: the request failed at every try.
    """

    def get() -> Any:
        with urlopen(Request(url, headers=dict(headers)), timeout=TIMEOUT_SECONDS) as response:
            return json.loads(response.read(_LONGEST_JSON))

    return _try(url, get)


def _append(response: Any, path: Path) -> None:
    expected = response.headers.get("Content-Length")
    received = 0
    with path.open("ab") as file:
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            received += len(chunk)
    if expected is not None and received < int(expected):
        raise ConnectionError(f"the connection ended after {received} of {expected} bytes")


def _try(url: str, get: Any) -> Any:
    address = url.partition("?")[0]
    problem = ConnectionError(address)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * FIRST_WAIT_SECONDS * 2**attempt)
        try:
            return get()
        except HTTPError as error:
            line = f"{address}: HTTP status {error.code}{_message(error)}"
            if error.code in (401, 403):
                raise InputError(
                    f"{line}; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and"
                    " MLFLOW_TRACKING_PASSWORD"
                ) from None
            if error.code < 500 and error.code != 429:
                raise InputError(line) from None
            problem = ConnectionError(line)
        except (URLError, HTTPException, OSError) as error:
            problem = ConnectionError(f"{address}: {getattr(error, 'reason', None) or error}")
        except ValueError as error:
            raise InputError(f"{address}: not JSON: {error}") from None
    raise problem


def _message(error: HTTPError) -> str:
    """The error message in MLflow's response, as ``: message``; empty if there is none."""
    with error, suppress(ValueError, AttributeError, OSError, HTTPException):
        return f": {' '.join(str(json.loads(error.read(_CHUNK_BYTES))['message']).split())[:200]}"
    return ""
