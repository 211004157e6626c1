"""An HTTP proxy that stands before a store and does to some requests what networks and servers do."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect", "proxy-connection"}
CONDITIONS = {"if-none-match", "x-goog-if-generation-match"}


class Fault(StrEnum):
    """What happens to one request. After: the store has done it, and the client does not hear so."""

    CLOSE_BEFORE = "close_before"
    CLOSE_AFTER = "close_after"
    ERROR_500_BEFORE = "500_before"
    ERROR_500_AFTER = "500_after"
    ERROR_503_BEFORE = "503_before"
    ERROR_503_AFTER = "503_after"
    DELAY_BEFORE = "delay_before"
    DELAY_AFTER = "delay_after"
    TWICE = "twice"
    """The store gets it two times; the client hears the second answer."""
    LATE = "late"
    """The client hears 503 at once; the store gets the request a while later."""
    HALF_SENT = "half_sent"
    """The store gets half of the body, and then nothing more."""
    HALF_ANSWERED = "half_answered"
    """The client gets half of the answer's body."""
    REFUSED = "refused"
    """403, and the store never gets it."""
    UNCONDITIONAL = "unconditional"
    """The store gets it without its condition."""
    HELD = "held"
    """Nothing happens until the client is gone; then it never came."""


@dataclass(frozen=True)
class Request:
    """What a plan decides by.

    Attributes:
        target: path and query, as sent.
        body_bytes: how many.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body_bytes: int

    @property
    def conditional(self) -> bool:
        """Whether it is an exclusive create, of any of the stores."""
        return "if-none-match" in self.headers or "ifGenerationMatch=0" in self.target

    @property
    def large(self) -> bool:
        """Whether it brings a piece of a large file."""
        return self.body_bytes > 1 << 20


Plan = Callable[[Request], Fault | None]


class FaultProxy:
    """Listens on a free port of 127.0.0.1. As a context manager: closed on exit.

    Args:
        upstream: URL of the store; may be set later.
        pause_s: how long `DELAY_*` and `LATE` take.
    """

    def __init__(self, upstream: str = "", *, pause_s: float = 0.2) -> None:
        self.upstream = upstream
        self.pause_s = pause_s
        self.plan: Plan = lambda request: None
        self.faults = Counter[Fault]()
        self.held = threading.Event()
        self.waiting = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self._lock = threading.Lock()
        self._late = list[threading.Thread]()
        outer = self

        class Handler(_Handler):
            proxy = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """URL by which clients reach the store through it."""
        return f"http://127.0.0.1:{self.port}"

    def decide(self, request: Request) -> Fault | None:
        """What happens to this request; counted."""
        with self._lock:
            fault = self.plan(request)
            if fault is not None:
                self.faults[fault] += 1
            return fault

    def later(self, send: Callable[[], object]) -> None:
        """Do it after the pause, and not before `go`."""
        self.waiting.set()

        def wait() -> None:
            time.sleep(self.pause_s)
            self.go.wait()
            with suppress(OSError):  # the store may be gone by then
                send()

        thread = threading.Thread(target=wait, daemon=True)
        self._late.append(thread)
        thread.start()

    def settle(self) -> None:
        """Wait until nothing is on its way any more."""
        while self._late:
            self._late.pop().join()

    def close(self) -> None:
        """Stop listening."""
        self.settle()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def once(fault: Fault, which: Callable[[Request], bool], number: int = 1) -> Plan:
    """A plan: the n-th request of this kind meets this fault."""
    seen = 0

    def plan(request: Request) -> Fault | None:
        nonlocal seen
        seen += which(request)
        return fault if which(request) and seen == number else None

    return plan


def always(fault: Fault, which: Callable[[Request], bool]) -> Plan:
    """A plan: every request of this kind meets this fault."""
    return lambda request: fault if which(request) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        pass

    def _any(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.proxy.decide(Request(self.command, self.path, headers, len(body)))
        match fault:
            case Fault.CLOSE_BEFORE:
                self._hang_up()
            case Fault.CLOSE_AFTER:
                self._forward(body)
                self._hang_up()
            case Fault.HALF_SENT:
                self._forward_half(body)
                self._hang_up()
            case Fault.HELD:
                self.proxy.held.set()
                self.connection.recv(1)
                self._hang_up()
            case Fault.HALF_ANSWERED:
                self._answer(self._forward(body), half=True)
            case _:
                self._answer(self._answer_to(body, fault))

    def _answer_to(self, body: bytes, fault: Fault | None) -> _Answer:
        match fault:
            case Fault.ERROR_500_BEFORE | Fault.ERROR_503_BEFORE | Fault.REFUSED:
                return _trouble(fault)
            case Fault.ERROR_500_AFTER | Fault.ERROR_503_AFTER:
                self._forward(body)
                return _trouble(fault)
            case Fault.LATE:
                self.proxy.later(lambda: self._forward(body))
                return _trouble(fault)
            case Fault.DELAY_BEFORE:
                time.sleep(self.proxy.pause_s)
                return self._forward(body)
            case Fault.DELAY_AFTER:
                answer = self._forward(body)
                time.sleep(self.proxy.pause_s)
                return answer
            case Fault.TWICE:
                self._forward(body)
                return self._forward(body)
            case _:
                return self._forward(body, unconditional=fault is Fault.UNCONDITIONAL)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815  the base class's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = list[bytes]()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _open(self, length: int, *, unconditional: bool = False) -> http.client.HTTPConnection:
        address = urlsplit(self.proxy.upstream)
        assert address.hostname
        upstream = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        target = self.path.replace("ifGenerationMatch=0", "") if unconditional else self.path
        upstream.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            left_out = HOP_BY_HOP | {"content-length"} | (CONDITIONS if unconditional else set())
            if name.lower() not in left_out:
                upstream.putheader(name, value)
        if length or self.command in {"PUT", "POST"}:
            upstream.putheader("Content-Length", str(length))
        upstream.endheaders()
        return upstream

    def _forward(self, body: bytes, *, unconditional: bool = False) -> _Answer:
        upstream = self._open(len(body), unconditional=unconditional)
        try:
            if body:
                upstream.send(body)
            answer = upstream.getresponse()
            return _Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            upstream.close()

    def _forward_half(self, body: bytes) -> None:
        upstream = self._open(len(body))
        upstream.send(body[: len(body) // 2])
        upstream.close()

    def _answer(self, answer: _Answer, *, half: bool = False) -> None:
        self.send_response_only(answer.status)
        length = len(answer.body)
        for name, value in answer.headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = int(value)
            elif name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":  # whose answer has no body: a client may take one for the next answer
            self.wfile.write(answer.body[: length // 2] if half else answer.body)
        if half:
            self._hang_up()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _trouble(fault: Fault) -> _Answer:
    status = 403 if fault is Fault.REFUSED else 500 if "500" in fault else 503
    return _Answer(status, [("Content-Type", "text/plain")], b"trouble")
