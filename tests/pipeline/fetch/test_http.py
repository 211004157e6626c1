from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operators.errors import (
    DeniedError,
    FetchFailedError,
    NotFoundError,
    ReferenceMalformedError,
    ReferenceRefusedError,
    StoreUnavailableError,
    SupersededError,
    TooLargeError,
)
from operators.records import MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy
from pipeline.fetch import http as http_store

LOOPBACK = FetchPolicy(allow_private_addresses=True)
ONCE: dict[str, Any] = {"retry_budget_s": 0.0, "connect_timeout_s": 2.0, "read_timeout_s": 2.0}


def reference(uri: str, **fields: Any) -> MediaReference:
    return MediaReference(uri, Origin("t", 0, 0, 0), **fields)


def fetcher(policy: FetchPolicy = LOOPBACK, resolver: Any = None, **limits: Any) -> Fetcher:
    return Fetcher(FetchLimits(**{**ONCE, **limits}), policy, resolver=resolver or unresolved)


def unresolved(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host}:{port} was looked up")


def test_content_comes_with_its_facts(web: Any) -> None:
    web.serve("/a.jpg", b"pixels", ETag='"abc"', Content_Type="image/jpeg")
    found = fetcher().fetch(reference(web.url("/a.jpg")))
    assert found.content == b"pixels"
    assert found.content_type == "image/jpeg"
    assert found.facts.version == "abc"
    assert found.facts.sha256 == hashlib.sha256(b"pixels").hexdigest()
    assert found.facts.size_bytes == 6


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, FetchFailedError),
        (401, DeniedError),
        (403, DeniedError),
        (404, NotFoundError),
        (410, NotFoundError),
        (412, SupersededError),
        (418, FetchFailedError),
        (429, StoreUnavailableError),
        (500, StoreUnavailableError),
        (503, StoreUnavailableError),
    ],
)
def test_answers_become_errors(web: Any, status: int, error: type[Exception]) -> None:
    web.serve("/a", status=status)
    with pytest.raises(error, match=str(status)):
        fetcher().fetch(reference(web.url("/a")))


def test_a_name_is_resolved_once_and_the_checked_address_connected_to(web: Any) -> None:
    web.serve("/a", b"here")
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    found = fetcher(resolver=resolver).fetch(reference(web.url("/a", "media.example")))
    assert found.content == b"here"
    assert asked == ["media.example"]
    assert web.requests[0][1]["Host"] == f"media.example:{web.port}"


def test_a_name_with_a_private_address_is_refused_unasked(web: Any) -> None:
    web.serve("/a", b"secret")
    for addresses in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]):
        careful = fetcher(FetchPolicy(), resolver=lambda host, port, found=addresses: found)
        with pytest.raises(ReferenceRefusedError, match="not public"):
            careful.fetch(reference(web.url("/a", "media.example")))
    assert web.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"])
def test_a_literal_private_address_is_refused_unasked(web: Any, host: str) -> None:
    with pytest.raises(ReferenceRefusedError, match="not public"):
        fetcher(FetchPolicy()).fetch(reference(web.url("/a", host)))
    assert web.requests == []


def test_odd_spellings_of_an_address_go_through_the_resolver_and_the_check(web: Any) -> None:
    for host in ("127.1", "0x7f.1", "2130706433", "localhost"):
        with pytest.raises(ReferenceRefusedError, match="not public"):
            fetcher(FetchPolicy(), resolver=lambda host, port: ["127.0.0.1"]).fetch(reference(web.url("/", host)))


def test_each_redirect_is_checked_again(web: Any) -> None:
    """The first host passes for public here; what it points to does not."""
    web.serve("/a", status=302, Location="http://inner.example/secret")
    addresses = {"public.example": ["127.0.0.1"], "inner.example": ["10.0.0.1"]}
    checked: list[str] = []

    class Trusting(FetchPolicy):
        def check_address(self, address: str, uri: str) -> None:
            checked.append(address)
            if address != "127.0.0.1":
                FetchPolicy().check_address(address, uri)

    with pytest.raises(ReferenceRefusedError, match=r"10\.0\.0\.1"):
        fetcher(Trusting(), resolver=lambda host, port: addresses[host]).fetch(
            reference(web.url("/a", "public.example"))
        )
    assert checked == ["127.0.0.1", "10.0.0.1"]


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "s3://media/a", "ftp://127.0.0.1/", "https://elsewhere.example/a"]
)
def test_a_redirect_can_not_leave_http_or_the_allowed_places(web: Any, target: str) -> None:
    web.serve("/a", status=301, Location=target)
    policy = FetchPolicy(places=("http://127.0.0.1:*/*", "s3://*"), allow_private_addresses=True)
    with pytest.raises(ReferenceRefusedError):
        fetcher(policy).fetch(reference(web.url("/a")))


def test_redirects_are_followed_as_far_as_allowed(web: Any) -> None:
    for step in range(5):
        web.serve(f"/{step}", status=307, Location=f"{step + 1}")
    web.serve("/5", b"there")
    assert fetcher().fetch(reference(web.url("/0"))).content == b"there"
    with pytest.raises(FetchFailedError, match="more than 4 redirects"):
        fetcher(max_redirects=4).fetch(reference(web.url("/0")))


def test_too_large_an_object_is_not_read(web: Any) -> None:
    sent = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        sent.set()

    web.answers["/big"] = answer
    with pytest.raises(TooLargeError, match="not fetched"):
        fetcher(max_object_bytes=1000).fetch(reference(web.url("/big")))
    assert sent.wait(5)


def test_an_object_that_hides_its_size_is_stopped_at_the_limit(web: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            return

    web.answers["/endless"] = answer
    with pytest.raises(TooLargeError):
        fetcher(max_object_bytes=200_000).fetch(reference(web.url("/endless")))


def test_an_answer_that_breaks_off_is_transient(web: Any) -> None:
    web.serve("/a", b"half", Content_Length="100")
    with pytest.raises(StoreUnavailableError):
        fetcher().fetch(reference(web.url("/a")))


def test_an_answer_that_trickles_is_hung_up_on(web: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            for _ in range(600):
                handler.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            return

    web.answers["/slow"] = answer
    with pytest.raises(StoreUnavailableError):
        fetcher(total_timeout_s=0.3).fetch(reference(web.url("/slow")))


def test_versions_are_compared_before_the_body_is_read(web: Any) -> None:
    web.serve("/a", b"new", ETag='W/"two"')
    assert fetcher().fetch(reference(web.url("/a"), version="two")).facts.version == "two"
    with pytest.raises(SupersededError, match="'one'"):
        fetcher().fetch(reference(web.url("/a"), version="one"))


def test_a_store_without_versions_confirms_none(web: Any) -> None:
    web.serve("/a", b"new")
    assert fetcher().fetch(reference(web.url("/a"))).facts.version == ""
    with pytest.raises(SupersededError):
        fetcher().fetch(reference(web.url("/a"), version="one"))


def test_byte_ranges_are_asked_for(web: Any) -> None:
    web.serve("/part", b"cde", status=206, Content_Range="bytes 2-4/10")
    web.serve("/whole", b"abcdefghij")
    web.serve("/short", b"cd", status=206)
    for path in ("/part", "/whole"):
        assert fetcher().fetch(reference(web.url(path), byte_range=(2, 5))).content == b"cde"
    assert web.requests[0][1]["Range"] == "bytes=2-4"
    with pytest.raises(ReferenceMalformedError, match="byte_range"):
        fetcher().fetch(reference(web.url("/short"), byte_range=(2, 5)))
    web.serve("/beyond", status=416)
    with pytest.raises(ReferenceMalformedError, match="byte_range"):
        fetcher().fetch(reference(web.url("/beyond"), byte_range=(2, 5)))


def test_a_compressed_answer_was_not_asked_for(web: Any) -> None:
    web.serve("/a", b"\x1f\x8b", Content_Encoding="gzip")
    with pytest.raises(FetchFailedError, match="gzip"):
        fetcher().fetch(reference(web.url("/a")))
    assert web.requests[0][1]["Accept-Encoding"] == "identity"


def test_nobody_there_is_transient() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreUnavailableError):
        fetcher().fetch(reference(f"http://127.0.0.1:{port}/"))


def test_an_unknown_host_is_not_found_and_a_silent_resolver_transient() -> None:
    def fails(code: int) -> Any:
        def resolver(host: str, port: int) -> list[str]:
            raise socket.gaierror(code, "no")

        return resolver

    with pytest.raises(NotFoundError):
        fetcher(resolver=fails(socket.EAI_NONAME)).fetch(reference("http://nowhere.example/"))
    with pytest.raises(StoreUnavailableError):
        fetcher(resolver=fails(socket.EAI_AGAIN)).fetch(reference("http://nowhere.example/"))


@pytest.mark.parametrize("uri", ["http://", "http:///a", "http://[::1/a", "http://host:99999/a", "http://host:x/a"])
def test_what_is_no_address_is_malformed(uri: str) -> None:
    with pytest.raises(ReferenceMalformedError, match="uri"):
        fetcher().fetch(reference(uri))


def test_spaces_and_umlauts_are_escaped_on_the_wire(web: Any) -> None:
    web.serve("/a%20%C3%BC?q=%20x", b"found")
    assert fetcher().fetch(reference(web.url("/a ü?q=%20x"))).content == b"found"


def test_garbage_is_an_error_of_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connected, _ = server.accept()
            connected.recv(4096)
            connected.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            connected.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises((StoreUnavailableError, FetchFailedError)):
            fetcher().fetch(reference(f"http://127.0.0.1:{port}/"))
        thread.join()


def test_transient_trouble_is_tried_again_within_its_budget(web: Any) -> None:
    answers = iter([503, 503, 200])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(next(answers))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    web.answers["/a"] = answer
    fetcher(retry_budget_s=10.0).fetch(reference(web.url("/a")))
    assert len(web.requests) == 3


def test_trouble_that_outlasts_the_budget_stays_transient(web: Any) -> None:
    web.serve("/a", status=503)
    with pytest.raises(StoreUnavailableError):
        fetcher(retry_budget_s=0.3).fetch(reference(web.url("/a")))
    assert len(web.requests) >= 2


def test_many_are_fetched_at_once_and_come_back_in_order(web: Any) -> None:
    together = threading.Barrier(8, timeout=10)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        together.wait()  # none is answered before all have asked
        body = handler.path.encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    for number in range(8):
        web.answers[f"/{number}"] = answer
    found = fetcher(read_timeout_s=10.0).fetch_many([reference(web.url(f"/{number}")) for number in range(8)])
    assert [item.content for item in found if not isinstance(item, Exception)] == [b"/%d" % n for n in range(8)]


def test_one_that_fails_leaves_its_neighbours_alone(web: Any) -> None:
    web.serve("/a", b"a")
    web.serve("/b", status=404)
    uris = [web.url("/a"), web.url("/b"), "ftp://x/y", web.url("/a")]
    for concurrency in (1, 4):
        found = fetcher().fetch_many([reference(uri) for uri in uris], concurrency)
        assert [type(item).__name__ for item in found] == [
            "Fetched",
            "NotFoundError",
            "ReferenceRefusedError",
            "Fetched",
        ]


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(encoding))
    (folder / "key.pem").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_https_checks_the_certificate_against_the_name(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path, "media.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    web.server.socket = server.wrap_socket(web.server.socket, server_side=True)
    web.serve("/a", b"safe")
    trusting = ssl.create_default_context(cafile=str(cert))
    monkeypatch.setattr(http_store, "_tls", lambda: trusting)
    secure = fetcher(resolver=lambda host, port: ["127.0.0.1"])
    url = web.url("/a", "media.example").replace("http://", "https://")
    assert secure.fetch(reference(url)).content == b"safe"
    with pytest.raises(FetchFailedError, match="certificate"):
        secure.fetch(reference(url.replace("media.example", "other.example")))
    monkeypatch.setattr(http_store, "_tls", ssl.create_default_context)
    with pytest.raises(FetchFailedError, match="certificate"):
        secure.fetch(reference(url))
