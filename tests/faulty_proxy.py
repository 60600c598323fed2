"""A real HTTP proxy before S3 or MLflow, which breaks the answers that a test asks it to."""

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

Answer = tuple[int, list[tuple[str, str]], bytes]
Fault = Callable[[Answer], tuple[Answer, int]]
"""Takes the server's answer; gives what to send, and the bytes of its body before hanging up."""
HOP_BY_HOP = ("transfer-encoding", "connection", "content-length")


def cut(after: int) -> Fault:
    """The connection ends after so many bytes of the body."""
    return lambda answer: (answer, after)


def refused(status: int, code: str) -> Fault:
    """An S3 error in place of the answer."""
    body = f"<Error><Code>{code}</Code><Message>try later</Message></Error>".encode()
    answer: Answer = status, [("Content-Type", "application/xml")], body
    return lambda _: (answer, len(body))


def replaced(old: bytes, new: bytes) -> Fault:
    """Other bytes in the body; its headers are as the server sent them."""

    def change(answer: Answer) -> tuple[Answer, int]:
        status, headers, body = answer
        assert old in body
        return (status, headers, body.replace(old, new)), len(body) - len(old) + len(new)

    return change


@dataclass
class FaultyProxy:
    """``faults``: (end of a GET's path or "" for a listing, fault), each for one answer, in order.

    ``requests`` are method, path and Range of all that came.
    """

    endpoint: str = ""
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def fault_of(self, path: str, is_listing: bool) -> Fault | None:
        with self.lock:
            for index, (end, _) in enumerate(self.faults):
                if is_listing if end == "" else path.endswith(end) and not is_listing:
                    return self.faults.pop(index)[1]
        return None

    def gets(self, end: str) -> list[str | None]:
        """The Range of each GET of an object whose key ends so."""
        return [r for method, path, r in self.requests if method == "GET" and path.endswith(end)]


@pytest.fixture
def faulty_proxy(s3_server: Any) -> Iterator[FaultyProxy]:
    """A proxy with no faults yet."""
    with proxied(s3_server.endpoint) as proxy:
        yield proxy


@contextmanager
def proxied(upstream: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy()
    host, port = str(urlsplit(upstream).hostname), urlsplit(upstream).port

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            path = unquote(urlsplit(self.path).path)
            for artifact in parse_qs(urlsplit(self.path).query).get("path", ()):
                path = f"{path}/{artifact}"  # as MLflow asks for it
            proxy.requests.append((self.command, path, self.headers.get("Range")))
            proxy.authorizations.append(self.headers.get("Authorization"))
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server = http.client.HTTPConnection(host, port)
            server.request(self.command, self.path, sent, dict(self.headers))
            reply = server.getresponse()
            answer: Answer = reply.status, reply.getheaders(), reply.read()
            server.close()
            length = dict(answer[1]).get("Content-Length", "0")
            stop = len(answer[2])
            is_get = self.command == "GET"
            fault = proxy.fault_of(path, "list-type" in self.path) if is_get else None
            if fault is not None:
                answer, stop = fault(answer)
            status, headers, body = answer
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
            """Nothing: what came is in ``requests``."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
