"""Content in pieces: what a store gives so is what it gives at once, and no more of it is read than is wanted."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from operators.errors import (
    NotFoundError,
    ReferenceMalformedError,
    ReferenceRefusedError,
    StoreUnavailableError,
    SupersededError,
    TooLargeError,
)
from operators.records import MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy
from pipeline.fetch.base import Head
from pipeline.fetch.intake import Intake, Memory

LONG = bytes(range(256)) * 12_000  # three pieces


class Unwilling(Memory):
    """Wants none of it."""

    def begin(self, head: Head) -> bool:
        super().begin(head)
        return False


def reference(uri: str, **fields: Any) -> MediaReference:
    return MediaReference(uri, Origin("t", 0, 0, 0), **fields)


@pytest.fixture
def fetcher(endpoint: str, tmp_path: Path) -> Fetcher:
    options = {"key": "a", "secret": "b", "endpoint_url": endpoint}
    policy = FetchPolicy(
        frozenset({"s3", "file", "memory", "http"}), roots=(str(tmp_path),), allow_private_addresses=True
    )
    return Fetcher(FetchLimits(retry_budget_s=0), policy, {"s3": options})


@pytest.fixture(params=["file", "http", "s3", "memory", "inline"])
def placed(request: pytest.FixtureRequest, web: Any, s3: Any, tmp_path: Path) -> MediaReference:
    """A reference to LONG in each kind of store."""
    match request.param:
        case "file":
            (tmp_path / "long").write_bytes(LONG)
            return reference(str(tmp_path / "long"))
        case "http":
            web.serve("/long", LONG, ETag='"abc"', Content_Type="audio/wav")
            return reference(web.url("/long"))
        case "s3":
            s3.put_object(Bucket="media", Key="long", Body=LONG, ContentType="audio/wav")
            return reference("s3://media/long")
        case "memory":
            fsspec.filesystem("memory").pipe_file("/shelf/long", LONG)
            return reference("memory://shelf/long")
        case _:
            return reference("caption:1", inline=LONG, version="7", content_type="audio/wav")


def with_range(placed: MediaReference, start: int, end: int) -> MediaReference:
    return reference(placed.uri, inline=placed.inline, byte_range=(start, end))


def test_pieces_make_up_what_is_fetched_at_once(placed: MediaReference, fetcher: Fetcher) -> None:
    memory = Memory()
    fetcher.copy(placed, memory, fetcher.limits)
    assert memory.fetched() == fetcher.fetch(placed)
    assert memory.fetched().content == LONG


def test_so_do_those_of_a_byte_range(placed: MediaReference, fetcher: Fetcher) -> None:
    memory = Memory()
    fetcher.copy(with_range(placed, 1_000_000, 2_500_000), memory, fetcher.limits)
    assert memory.fetched().content == LONG[1_000_000:2_500_000]
    with pytest.raises(ReferenceMalformedError, match="byte_range"):
        fetcher.copy(with_range(placed, 3_000_000, 4_000_000), memory, fetcher.limits)


def test_what_is_not_wanted_is_not_read(placed: MediaReference, fetcher: Fetcher) -> None:
    unwilling = Unwilling()
    fetcher.copy(placed, unwilling, fetcher.limits)
    assert unwilling.fetched().content == b""


def test_the_limit_is_the_copys_own(placed: MediaReference, fetcher: Fetcher) -> None:
    with pytest.raises(TooLargeError, match="not fetched"):
        fetcher.copy(placed, Memory(), FetchLimits(max_object_bytes=1000))


def test_a_version_is_checked_before_anything_is_read(placed: MediaReference, fetcher: Fetcher) -> None:
    memory = Memory()
    if placed.inline is not None:
        fetcher.copy(placed, memory, fetcher.limits)
        assert memory.fetched().facts.version == "7"  # comes with the message, like the content
        return
    with pytest.raises(SupersededError):
        fetcher.copy(reference(placed.uri, version="another"), memory, fetcher.limits)
    assert memory.fetched().content == b""


def test_only_what_is_allowed_is_copied(web: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    web.serve("/away", status=302, Location="file:///etc/passwd")
    for uri in ("file:///etc/passwd", "ftp://host/a", web.url("/away")):
        with pytest.raises(ReferenceRefusedError):
            fetcher.copy(reference(uri), Memory(), fetcher.limits)
    with pytest.raises(NotFoundError):
        fetcher.copy(reference(str(tmp_path / "nothing")), Memory(), fetcher.limits)


def test_a_second_try_begins_anew(web: Any, fetcher: Fetcher) -> None:
    answers = iter([LONG[:1_500_000], LONG])  # the first breaks off

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(LONG)))
        handler.end_headers()
        handler.wfile.write(next(answers))

    web.answers["/long"] = answer
    memory = Memory()
    Fetcher(FetchLimits(retry_budget_s=10.0), fetcher.policy).copy(reference(web.url("/long")), memory, fetcher.limits)
    assert memory.fetched().content == LONG
    assert len(web.requests) == 2


def test_a_server_that_knows_no_ranges_is_read_only_to_their_end(web: Any, fetcher: Fetcher) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(LONG)
        except OSError:
            return

    web.answers["/endless"] = answer
    memory = Memory()
    fetcher.copy(reference(web.url("/endless"), byte_range=(1_048_570, 1_048_580)), memory, fetcher.limits)
    assert memory.fetched().content == LONG[1_048_570:1_048_580]


def test_an_object_that_is_overwritten_while_it_is_read_is_tried_again(fetcher: Fetcher) -> None:
    """It comes by many requests, and nothing but the look afterwards says that they were of one content."""
    fsspec.filesystem("memory").pipe_file("/shelf/torn", LONG)

    class Meddling(Memory):
        def write(self, piece: bytes) -> None:
            super().write(piece)
            MemoryFileSystem.store.pop("/shelf/torn", None)
            fsspec.filesystem("memory").pipe_file("/shelf/torn", LONG)

    with pytest.raises(StoreUnavailableError, match="written to"):
        fetcher.copy(reference("memory://shelf/torn"), Meddling(), fetcher.limits)
    version = fetcher.fetch(reference("memory://shelf/torn")).facts.version
    with pytest.raises(SupersededError):
        fetcher.copy(reference("memory://shelf/torn", version=version), Meddling(), fetcher.limits)


def test_a_file_that_is_written_to_while_it_is_read_is_tried_again(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "growing").write_bytes(LONG)

    class Meddling(Memory):
        def write(self, piece: bytes) -> None:
            super().write(piece)
            with (tmp_path / "growing").open("ab") as file:
                file.write(piece)

    with pytest.raises(StoreUnavailableError, match="written to"):
        fetcher.copy(reference(str(tmp_path / "growing")), Meddling(), fetcher.limits)


def test_what_keeps_coming_earns_its_time() -> None:
    spent = -1.0  # the time is over before it begins
    strict = Intake(reference("x"), Memory(), FetchLimits(total_timeout_s=spent))
    patient = Intake(reference("x"), Memory(), FetchLimits(total_timeout_s=spent, slowest_bytes_per_s=10.0))
    patient.begin(Head("", certain=False))
    patient.write(b"x" * 10_000)
    assert patient.left_s > 900
    with pytest.raises(StoreUnavailableError, match="too slow"):
        strict.write(b"x" * 10_000)


def test_a_copy_that_trickles_is_hung_up_on(web: Any, fetcher: Fetcher) -> None:
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
        limits = FetchLimits(total_timeout_s=0.3, slowest_bytes_per_s=1e6)
        fetcher.copy(reference(web.url("/slow")), Memory(), limits)
