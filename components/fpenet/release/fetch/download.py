"""Files and JSON over plain HTTP, with the standard library alone; a broken download goes on."""

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
    """Bring what lies at ``url`` to ``path``, going on after the bytes that lie there.

    Raises:
        InputError: it is not there, or access is refused.
        ConnectionError: the server failed at every try; another call goes on from here.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def get() -> None:
        have = path.stat().st_size if path.exists() else 0
        rest = {"Range": f"bytes={have}-"} if have else {}
        try:
            with urlopen(
                Request(url, headers={**headers, **rest}), timeout=TIMEOUT_SECONDS
            ) as answer:
                if answer.status != 206:
                    path.unlink(missing_ok=True)  # a server that knows no ranges sends the whole
                _append(answer, path)
        except HTTPError as error:
            if error.code != 416:
                raise
            path.unlink(missing_ok=True)  # more than there is: of another file
            raise ConnectionError("it is shorter than what was brought of it") from None

    _try(url, get)


def read_json_url(url: str, headers: Mapping[str, str]) -> Any:
    """The JSON value at ``url``.

    Raises:
        InputError: it is not there, not JSON, or access is refused.
        ConnectionError: the server failed at every try.
    """

    def get() -> Any:
        with urlopen(Request(url, headers=dict(headers)), timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read(_LONGEST_JSON))

    return _try(url, get)


def _append(answer: Any, path: Path) -> None:
    expected = answer.headers.get("Content-Length")
    came = 0
    with path.open("ab") as file:
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
            came += len(chunk)
    if expected is not None and came < int(expected):
        raise ConnectionError(f"the connection ended after {came} of {expected} bytes")


def _try(url: str, get: Any) -> Any:
    where = url.partition("?")[0]
    problem = ConnectionError(where)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * FIRST_WAIT_SECONDS * 2**attempt)
        try:
            return get()
        except HTTPError as error:
            said = f"{where}: the server answers {error.code}{_message(error)}"
            if error.code in (401, 403):
                raise InputError(
                    f"{said}; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and"
                    " MLFLOW_TRACKING_PASSWORD"
                ) from None
            if error.code < 500 and error.code != 429:
                raise InputError(said) from None
            problem = ConnectionError(said)
        except (URLError, HTTPException, OSError) as error:
            problem = ConnectionError(f"{where}: {getattr(error, 'reason', None) or error}")
        except ValueError as error:
            raise InputError(f"{where}: not JSON: {error}") from None
    raise problem


def _message(error: HTTPError) -> str:
    """What MLflow says in words, if it does."""
    with error, suppress(ValueError, AttributeError, OSError, HTTPException):
        return f": {' '.join(str(json.loads(error.read(_CHUNK_BYTES))['message']).split())[:200]}"
    return ""
