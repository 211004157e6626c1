from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ReferenceRefusedError
from pipeline.fetch import FetchPolicy
from pipeline.fetch.policy import is_public

PRIVATE = [
    "127.0.0.1",
    "127.255.0.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "192.0.2.5",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::a9fe:a9fe",
    "2001:db8::1",
    "fec0::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_the_internet_does_not_reach_are_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(ReferenceRefusedError, match="not public"):
        FetchPolicy().check_address(address, "http://example.com/")
    FetchPolicy(allow_private_addresses=True).check_address(address, "http://example.com/")


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_every_address_is_judged(address: object) -> None:
    assert is_public(str(address)) in {True, False}


@pytest.mark.parametrize(
    ("places", "uri", "allowed"),
    [
        (("*",), "s3://any/thing", True),
        (("s3://media-*/*",), "s3://media-1/a/b", True),
        (("s3://media-*/*",), "s3://secrets/a", False),
        (("s3://media-*/*",), "s3://secrets/media-1/a", False),
        (("s3://media*",), "s3://media-1/a/b", True),
        (("s3://media*",), "gs://media-1/a", False),
        (("s3://media/incoming/*",), "s3://media/incoming/a", True),
        (("s3://media/incoming/*",), "s3://media/private/a", False),
        (("https://*.example.com/*",), "https://cdn.example.com/a", True),
        (("https://*.example.com/*",), "HTTPS://CDN.Example.com/a", True),
        (("https://*.example.com/*",), "https://evil.org/x.example.com/a", False),
        (("https://*.example.com/*",), "https://evil.org?x.example.com/a", False),
        (("https://*.example.com/*",), "https://evil.org#x.example.com/a", False),
        (("https://*.example.com/*",), "https://evil.org\\x.example.com/a", False),
        (("https://*.example.com/*",), "https://cdn.example.com@evil.org/a", False),
        (("https://*.example.com/*",), "https://evil.org\t.example.com/a", False),
        (("https://*.example.com/*",), "https://cdn.example.com:8443/a", False),
    ],
)
def test_places_are_globs_of_host_and_path(places: tuple[str, ...], uri: str, allowed: bool) -> None:
    policy = FetchPolicy(schemes=frozenset({"s3", "gs", "https"}), places=places)
    if allowed:
        assert policy.check(uri) in {"s3", "https"}
    else:
        with pytest.raises(ReferenceRefusedError):
            policy.check(uri)


@pytest.mark.parametrize(
    "uri", ["ftp://example.com/a", "gopher://x", "github://a/b", "simplecache::s3://a/b", "data://x"]
)
def test_schemes_off_the_list_are_refused(uri: str) -> None:
    with pytest.raises(ReferenceRefusedError, match="scheme"):
        FetchPolicy().check(uri)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ReferenceRefusedError) as caught:
        FetchPolicy().check("https://user:hunter2@example.com/a")
    assert "hunter2" not in str(caught.value)


def test_files_are_held_to_their_roots(tmp_path: Path) -> None:
    inside, outside = tmp_path / "media", tmp_path / "private"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "a b.txt").write_text("a")
    policy = FetchPolicy(roots=(str(inside),))
    assert policy.file(str(inside / "a b.txt")) == inside / "a b.txt"
    assert policy.file((inside / "a b.txt").as_uri()) == inside / "a b.txt"
    refused = [
        str(outside / "secret.txt"),
        str(inside / ".." / "private" / "secret.txt"),
        str(inside / "link.txt"),
        (inside / "link.txt").as_uri(),
        f"file://{inside}/%2e%2e/private/secret.txt",
        f"file://otherhost{inside}/a",
        "relative.txt",
        str(inside) + "-sibling/a",
        str(inside) + "/a\0b",
    ]
    for uri in refused:
        with pytest.raises(ReferenceRefusedError):
            policy.file(uri)


def test_without_roots_no_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ReferenceRefusedError):
        FetchPolicy().file(str(tmp_path / "a"))
