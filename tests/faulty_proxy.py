"""An HTTP proxy in front of S3 or MLflow that injects the faults of a test."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.waiting import join

Response = tuple[int, list[tuple[str, str]], bytes]
Forward = Callable[[bytes], Response]
Fault = Callable[[Forward, bytes], tuple[Response, int]]
"""A function of ``forward``, which sends a body to the server, and of the body of the request.

It returns the response, and the number of bytes of its body to send before the connection ends.
"""
HOP_BY_HOP = ("transfer-encoding", "connection", "content-length")


class HungUp(Exception):
    """The connection ends without a response."""


def cut(after: int) -> Fault:
    """The connection ends after ``after`` bytes of the response body."""
    return lambda forward, request_body: (forward(request_body), after)


def lost(forward: Forward, request_body: bytes) -> tuple[Response, int]:
    """The server processes the request, but its response is lost."""
    forward(request_body)
    raise HungUp


def cut_upload(forward: Forward, request_body: bytes) -> tuple[Response, int]:
    """The connection to the client and to the server ends in the middle of the request body."""
    forward(request_body[: len(request_body) // 2])
    raise HungUp


def altered(forward: Forward, request_body: bytes) -> tuple[Response, int]:
    """One bit of the request body is flipped."""
    middle = len(request_body) // 2
    response = forward(
        request_body[:middle] + bytes([request_body[middle] ^ 1]) + request_body[middle + 1 :]
    )
    return response, len(response[2])


def passed(forward: Forward, request_body: bytes) -> tuple[Response, int]:
    """No fault."""
    response = forward(request_body)
    return response, len(response[2])


def refused(status: int, code: str) -> Fault:
    """An S3 error in place of the response; the request is not forwarded."""
    body = f"<Error><Code>{code}</Code><Message>try later</Message></Error>".encode()
    response: Response = status, [("Content-Type", "application/xml")], body
    return lambda forward, request_body: (response, len(body))


def replaced(old: bytes, new: bytes) -> Fault:
    """Replace bytes of the response body; the headers do not change."""

    def change(forward: Forward, request_body: bytes) -> tuple[Response, int]:
        status, headers, body = forward(request_body)
        assert old in body
        return (status, headers, body.replace(old, new)), len(body) - len(old) + len(new)

    return change


@dataclass
class FaultyProxy:
    """A proxy with faults.

    Attributes:
        faults: (end of a path, fault), each for one request, in order. The path is that of a GET;
            "" for a listing; after "PUT " that of a PUT, and so on.
        nth: (number of requests before it, fault), for a request of any method.
        requests: method, path and Range of all received requests.
        authorizations: their Authorization headers.
    """

    endpoint: str = ""
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    nth: tuple[int, Fault] | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def fault_of(self, method: str, path: str, is_listing: bool) -> Fault | None:
        with self.lock:
            if self.nth is not None:
                remaining, fault = self.nth
                self.nth = (remaining - 1, fault) if remaining else None
                if not remaining:
                    return fault
            for index, (end, _) in enumerate(self.faults):
                expected, _, tail = end.rpartition(" ")
                if (expected or "GET") != method:
                    continue
                if is_listing if end == "" else path.endswith(tail) and not is_listing:
                    return self.faults.pop(index)[1]
        return None

    def gets(self, end: str) -> list[str | None]:
        """The Range of each GET of an object whose key ends with ``end``."""
        return [r for method, path, r in self.requests if method == "GET" and path.endswith(end)]


@pytest.fixture
def faulty_proxy(s3_server: Any) -> Iterator[FaultyProxy]:
    """A proxy in front of the S3 server, without faults."""
    with proxied(s3_server.endpoint) as proxy:
        yield proxy


@contextmanager
def proxied(upstream: str) -> Iterator[FaultyProxy]:
    """A running proxy in front of the server with the URL ``upstream``."""
    proxy = FaultyProxy()
    host, port = str(urlsplit(upstream).hostname), urlsplit(upstream).port

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            path = unquote(urlsplit(self.path).path)
            for artifact in parse_qs(urlsplit(self.path).query).get("path", ()):
                path = f"{path}/{artifact}"  # MLflow's requests have the path in the query
            proxy.requests.append((self.command, path, self.headers.get("Range")))
            proxy.authorizations.append(self.headers.get("Authorization"))
            request_body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            length = "0"

            def forward(request_body: bytes) -> Response:
                nonlocal length
                server = http.client.HTTPConnection(host, port, timeout=60)
                try:
                    server.request(self.command, self.path, request_body, dict(self.headers))
                    if len(request_body) < int(self.headers.get("Content-Length", 0)):
                        raise HungUp
                    reply = server.getresponse()
                    response: Response = reply.status, reply.getheaders(), reply.read()
                finally:
                    server.close()
                length = dict(response[1]).get("Content-Length", "0")
                return response

            fault = proxy.fault_of(self.command, path, "list-type" in self.path) or passed
            try:
                response, stop = fault(forward, request_body)
            except HungUp:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, body = response
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            is_head = self.command == "HEAD"
            self.send_header("Content-Length", length if is_head else str(len(body)))
            self.end_headers()
            if not is_head:
                self.wfile.write(body[:stop])
            if stop < len(body):
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

        def log_message(self, *_: Any) -> None:
            """Log nothing: ``requests`` has all requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        join(thread)
        server.server_close()
