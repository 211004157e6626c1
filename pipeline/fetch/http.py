"""HTTP and HTTPS, with the address checked at connect.

A name is resolved once, every address it has is checked, and the connection goes to one that was checked: a second
answer of the resolver (DNS rebinding) is never asked for. Each redirect starts again from the policy. Proxies of
the environment are not used, for they would resolve by themselves.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from operators.errors import (
    DeniedError,
    FetchFailedError,
    MediatokError,
    NotFoundError,
    ReferenceMalformedError,
    ReferenceRefusedError,
    StoreUnavailableError,
    SupersededError,
)
from operators.records import MediaReference
from pipeline.fetch.base import (
    Fetched,
    FetchLimits,
    Head,
    Sink,
    check_size,
    check_version,
    out_of_range,
    wanted_bytes,
)
from pipeline.fetch.intake import PIECE_BYTES, Intake, Memory
from pipeline.fetch.policy import FetchPolicy, Resolver, system_resolver

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_PLAIN = "/%:@!$&'()*+,;=-._~?"


@dataclass(frozen=True, slots=True)
class HttpStore:
    """GETs, one connection a try."""

    policy: FetchPolicy
    limits: FetchLimits
    resolver: Resolver = field(default=system_resolver)

    def fetch(self, reference: MediaReference) -> Fetched:
        """One try, its redirects included."""
        memory = Memory()
        self.copy(reference, memory, self.limits)
        return memory.fetched()

    def copy(self, reference: MediaReference, sink: Sink, limits: FetchLimits) -> None:
        """One try, its redirects included, in pieces."""
        try:
            self._follow(reference, Intake(reference, sink, limits))
        except ValueError as error:
            # From the parsers of URLs, of host names (IDNA) and of headers.
            raise FetchFailedError(f"{reference.uri}: {type(error).__name__}: {error}") from error

    def _follow(self, reference: MediaReference, intake: Intake) -> None:
        uri = reference.uri
        for _ in range(self.limits.max_redirects + 1):
            target = self._get(uri, reference, intake)
            if target is None:
                return
            uri = urljoin(uri, target)
        raise FetchFailedError(f"{reference.uri}: more than {self.limits.max_redirects} redirects, the last to {uri}")

    def _get(self, uri: str, reference: MediaReference, intake: Intake) -> str | None:
        """Takes the content in, or gives where it has moved."""
        scheme = self.policy.check(uri)
        if scheme not in {"http", "https"}:
            raise ReferenceRefusedError(f"{uri}: a redirect out of HTTP")
        parts = _split(uri)
        host, port = parts.hostname or "", parts.port or (443 if scheme == "https" else 80)
        addresses = self._addresses(host, port, uri)
        for address in addresses:
            self.policy.check_address(address, uri)
        try:
            connected = self._connect(addresses, port, host if scheme == "https" else None)
        except ssl.SSLCertVerificationError as error:
            raise FetchFailedError(f"{uri}: {error}") from error
        except OSError as error:
            raise StoreUnavailableError(f"{uri}: {type(error).__name__}: {error}") from error
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if scheme == "https" else 80  # left out of the Host header
        connection.sock = connected  # given one, the connection never resolves or connects by itself
        try:
            with _hung_up_on(connected, intake):
                connection.request("GET", _target(parts), headers=_headers(reference))
                return _answer(connection.getresponse(), uri, reference, intake)
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailableError(f"{uri}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
            connected.close()

    def _addresses(self, host: str, port: int, uri: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass  # a name; what the resolver makes of "127.1" or "0x7f.1" is checked like any other answer
        try:
            addresses = self.resolver(host, port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_NONAME:
                raise NotFoundError(f"{uri}: there is no host {host}") from error
            raise StoreUnavailableError(f"{uri}: {host} can't be resolved: {error}") from error
        except (OSError, UnicodeError) as error:
            raise StoreUnavailableError(f"{uri}: {host} can't be resolved: {error}") from error
        if not addresses:
            raise StoreUnavailableError(f"{uri}: {host} has no address")
        return addresses

    def _connect(self, addresses: list[str], port: int, tls_host: str | None) -> socket.socket:
        for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            try:
                plain = socket.create_connection((address, port), timeout=self.limits.connect_timeout_s)
                connected = plain if tls_host is None else _tls().wrap_socket(plain, server_hostname=tls_host)
            except OSError:
                if not left:
                    raise
            else:
                connected.settimeout(self.limits.read_timeout_s)
                return connected
        raise OSError("no address")


def _answer(response: http.client.HTTPResponse, uri: str, reference: MediaReference, intake: Intake) -> str | None:
    if response.status in _REDIRECTS and (target := response.headers.get("Location")):
        return target
    if response.status not in {200, 206}:
        raise _refusal(response.status, uri, reference)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchFailedError(f"{uri}: sent as {response.headers['Content-Encoding']}, which was not asked for")
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() else None
    if size is not None:
        check_size(reference, size, intake.limits)
    # A server that knows no ranges sends all of it: what is not meant is left out here.
    span = reference.byte_range if response.status == 200 else None
    if size is not None and span is not None:
        size = wanted_bytes(reference, size)
    etag = response.headers.get("ETag")
    version = check_version(reference, etag or response.headers.get("Last-Modified"))
    certain = bool(version and etag) and not str(etag).startswith("W/")
    if intake.begin(Head(version, certain, size, response.headers.get("Content-Type"))):
        _read(response, intake, span)
        intake.end()
    return None


def _read(response: http.client.HTTPResponse, intake: Intake, span: tuple[int, int] | None) -> None:
    at = 0
    while piece := response.read(PIECE_BYTES):
        if span is None:
            intake.write(piece)
        elif wanted := piece[max(0, span[0] - at) : max(0, span[1] - at)]:
            intake.write(wanted)
        at += len(piece)
        if span is not None and at >= span[1]:
            return
    if response.length:  # it counts down to what Content-Length had promised and never came
        raise http.client.IncompleteRead(b"", response.length)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextlib.contextmanager
def _hung_up_on(connected: socket.socket, intake: Intake) -> Generator[None]:
    """When the try's time is over, whoever waits on the socket is woken, however slowly the answer trickles."""
    done = threading.Event()

    def watch() -> None:
        while (left_s := intake.left_s) > 0:
            if done.wait(left_s):
                return
        with contextlib.suppress(OSError):  # it may have been closed in the same moment
            connected.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise ReferenceMalformedError(f"uri: {uri!r} is no address: {error}") from error
    if not parts.hostname:
        raise ReferenceMalformedError(f"uri: {uri!r} names no host")
    return parts


def _target(parts: SplitResult) -> str:
    """Path and query as they go on the wire: what must be escaped is, what is escaped stays."""
    path = quote(parts.path or "/", safe=_PLAIN)
    return f"{path}?{quote(parts.query, safe=_PLAIN)}" if parts.query else path


def _headers(reference: MediaReference) -> dict[str, str]:
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "mediatok", "Connection": "close"}
    if reference.byte_range is not None:
        start, end = reference.byte_range
        headers["Range"] = f"bytes={start}-{end - 1}"
    return headers


def _refusal(status: int, uri: str, reference: MediaReference) -> MediatokError:
    if status in {404, 410}:
        return NotFoundError(f"{uri}: {status}")
    if status in {401, 403}:
        return DeniedError(f"{uri}: {status}")
    if status == 412:
        return SupersededError(f"{uri}: {status}")
    if status == 416:
        return out_of_range(reference)
    if status in _TRANSIENT or status >= 500:
        return StoreUnavailableError(f"{uri}: {status}")
    return FetchFailedError(f"{uri}: answered {status}")
