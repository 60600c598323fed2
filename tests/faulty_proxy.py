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

from tests.waiting import join

Answer = tuple[int, list[tuple[str, str]], bytes]
Ask = Callable[[bytes], Answer]
Fault = Callable[[Ask, bytes], tuple[Answer, int]]
"""Takes how to ask the server, and the request's body; gives the answer to send, and how many bytes
of its body before hanging up."""
HOP_BY_HOP = ("transfer-encoding", "connection", "content-length")


class HungUp(Exception):
    """The connection ends without an answer."""


def cut(after: int) -> Fault:
    """The connection ends after so many bytes of the answer's body."""
    return lambda ask, sent: (ask(sent), after)


def lost(ask: Ask, sent: bytes) -> tuple[Answer, int]:
    """The server does what it is asked, and its answer never comes."""
    ask(sent)
    raise HungUp


def cut_upload(ask: Ask, sent: bytes) -> tuple[Answer, int]:
    """The connection ends, on both sides, in the middle of what is sent."""
    ask(sent[: len(sent) // 2])
    raise HungUp


def altered(ask: Ask, sent: bytes) -> tuple[Answer, int]:
    """One bit of what is sent arrives as the other."""
    middle = len(sent) // 2
    answer = ask(sent[:middle] + bytes([sent[middle] ^ 1]) + sent[middle + 1 :])
    return answer, len(answer[2])


def passed(ask: Ask, sent: bytes) -> tuple[Answer, int]:
    """No fault."""
    answer = ask(sent)
    return answer, len(answer[2])


def refused(status: int, code: str) -> Fault:
    """An S3 error in place of the answer; the server is not asked."""
    body = f"<Error><Code>{code}</Code><Message>try later</Message></Error>".encode()
    answer: Answer = status, [("Content-Type", "application/xml")], body
    return lambda ask, sent: (answer, len(body))


def replaced(old: bytes, new: bytes) -> Fault:
    """Other bytes in the body; its headers are as the server sent them."""

    def change(ask: Ask, sent: bytes) -> tuple[Answer, int]:
        status, headers, body = ask(sent)
        assert old in body
        return (status, headers, body.replace(old, new)), len(body) - len(old) + len(new)

    return change


@dataclass
class FaultyProxy:
    """``faults``: (end of a path, fault), each for one request, in order.

    The end is that of a GET's path, "" for a listing; "PUT " before it: of that method's. ``nth``
    is a fault for the request of any method that comes after so many others.
    ``requests`` are method, path and Range of all that came.
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
                left, fault = self.nth
                self.nth = (left - 1, fault) if left else None
                if not left:
                    return fault
            for index, (end, _) in enumerate(self.faults):
                wanted, _, tail = end.rpartition(" ")
                if (wanted or "GET") != method:
                    continue
                if is_listing if end == "" else path.endswith(tail) and not is_listing:
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
            length = "0"

            def ask(sent: bytes) -> Answer:
                nonlocal length
                server = http.client.HTTPConnection(host, port, timeout=60)
                try:
                    server.request(self.command, self.path, sent, dict(self.headers))
                    if len(sent) < int(self.headers.get("Content-Length", 0)):
                        raise HungUp
                    reply = server.getresponse()
                    answer: Answer = reply.status, reply.getheaders(), reply.read()
                finally:
                    server.close()
                length = dict(answer[1]).get("Content-Length", "0")
                return answer

            fault = proxy.fault_of(self.command, path, "list-type" in self.path) or passed
            try:
                answer, stop = fault(ask, sent)
            except HungUp:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
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
        join(thread)
        server.server_close()
