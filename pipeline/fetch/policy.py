"""What may be fetched at all: schemes, places, network addresses. References come from outside and are not trusted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from operators.errors import ReferenceRefusedError

Resolver = Callable[[str, int], list[str]]
"""Host and port -> IP addresses. Raises OSError for a name that can't be resolved."""


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """An allow-list.

    Attributes:
        schemes: e.g. file, s3, https; plain paths count as file. Inline content needs no leave.
        places: globs of scheme, host or bucket, and path: "s3://media-*/incoming/*", "https://cdn.example.com/*". A `*`
            in the host or bucket does not reach into the path. Files are held by `roots` instead.
        roots: folders below which files may be read, links resolved.
        allow_private_addresses: over HTTP, also private, loopback and link-local addresses.
    """

    schemes: frozenset[str] = frozenset({"file", "s3", "http", "https"})
    places: tuple[str, ...] = ("*",)
    roots: tuple[str, ...] = ()
    allow_private_addresses: bool = False

    def check(self, uri: str) -> str:
        """The uri's scheme, if it may be fetched.

        Raises:
            ReferenceRefusedError: scheme or place is not on the list, or the address holds a password.
        """
        scheme = scheme_of(uri)
        if scheme not in self.schemes:
            raise ReferenceRefusedError(
                f"{uri}: scheme {scheme!r} is not allowed, only {', '.join(sorted(self.schemes))}"
            )
        if scheme != "file":
            place = _split(uri)
            if scheme in {"http", "https"}:
                _check_url(uri, place[1])
            if not any(_matches(place, glob) for glob in self.places):
                raise ReferenceRefusedError(f"{uri}: not in an allowed place: {', '.join(self.places)}")
        return scheme

    def file(self, uri: str) -> Path:
        """The file that is meant, links resolved.

        Raises:
            ReferenceRefusedError: it lies below none of the roots.
        """
        path = Path(_file_path(uri))
        if not path.is_absolute():
            raise ReferenceRefusedError(f"{uri}: a path must be absolute")
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ReferenceRefusedError(f"{uri}: {error}") from error
        if not any(real.is_relative_to(_real(root)) for root in self.roots):
            raise ReferenceRefusedError(f"{uri}: lies below no allowed folder")
        return real

    def check_address(self, address: str, uri: str) -> None:
        """Whether this network address may be connected to.

        Raises:
            ReferenceRefusedError: it is not a public one.
        """
        if not self.allow_private_addresses and not is_public(address):
            raise ReferenceRefusedError(f"{uri}: address {address} is not public")


def scheme_of(uri: str) -> str:
    """In lower case; a plain path is a file."""
    scheme, separator, _ = uri.partition("://")
    return scheme.lower() if separator else "file"


def is_public(address: str) -> bool:
    """Whether the internet reaches it: not private, loopback, link-local (cloud metadata), multicast or reserved.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) is judged as that.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def system_resolver(host: str, port: int) -> list[str]:
    """Through the operating system."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None


@cache
def _real(root: str) -> Path:
    return Path(root).resolve()


def _check_url(uri: str, host: str) -> None:
    if "@" in host:
        raise ReferenceRefusedError("an address with a user or password in it is not allowed")
    if any(mark < " " or mark in "\x7f\\" for mark in uri):
        # Parsers of URLs disagree on these, and what is checked must be what is asked.
        raise ReferenceRefusedError(f"{uri!r}: control characters and backslashes are not allowed")


def _split(uri: str) -> tuple[str, str, str]:
    """scheme, host or bucket, path with its slash."""
    scheme, _, rest = uri.partition("://")
    # The authority of a URL ends at the first of these; a bucket's name holds none of them.
    end = min((at for mark in "/?#\\" if (at := rest.find(mark)) >= 0), default=len(rest))
    return scheme.lower(), rest[:end].lower(), rest[end:] or "/"


def _matches(place: tuple[str, str, str], glob: str) -> bool:
    if glob == "*":
        return True
    scheme, host, path = _split(glob)
    return (
        fnmatchcase(place[0], scheme)
        and fnmatchcase(place[1], host)
        and fnmatchcase(place[2], path if path != "/" else "*")
    )


def _file_path(uri: str) -> str:
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"}:
        raise ReferenceRefusedError(f"{uri}: a file on another host")
    return unquote(parts.path)
