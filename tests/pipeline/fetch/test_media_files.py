"""What a lane sees: references become files, with facts that are never wrong."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import fsspec
import pytest

from operators.errors import (
    ContentChangedError,
    InvariantError,
    NotFoundError,
    ReferenceMalformedError,
    ReferenceRefusedError,
    StoreUnavailableError,
    SupersededError,
    TooLargeError,
)
from operators.records import ContentFacts, MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy, HeldFile, MediaFiles

FILM = bytes(range(256)) * 8_000  # two pieces
OTHER = FILM[::-1]


def reference(uri: str, **fields: Any) -> MediaReference:
    return MediaReference(uri, Origin("t", 0, 0, 0), **fields)


def facts_of(content: bytes, version: str) -> ContentFacts:
    return ContentFacts(version, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture
def fetcher(endpoint: str, roots: Path) -> Fetcher:
    options = {"key": "a", "secret": "b", "endpoint_url": endpoint}
    policy = FetchPolicy(frozenset({"s3", "file", "memory", "http"}), roots=(str(roots),), allow_private_addresses=True)
    return Fetcher(FetchLimits(max_object_bytes=1000, retry_budget_s=0), policy, {"s3": options})


@pytest.fixture
def files(fetcher: Fetcher, tmp_path: Path) -> Iterator[MediaFiles]:
    files = MediaFiles(fetcher, tmp_path / "held", limit_bytes=100_000_000, max_object_bytes=10_000_000)
    yield files
    files.close()


def downloads(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.media"))


def test_a_local_file_is_read_where_it_lies(files: MediaFiles, roots: Path, tmp_path: Path) -> None:
    (roots / "film.mkv").write_bytes(FILM)
    (roots / "link.mkv").symlink_to(roots / "film.mkv")
    for name in ("film.mkv", "link.mkv"):
        with files.holding(reference((roots / name).as_uri())) as held:
            assert held.path == roots / "film.mkv"
            assert held.facts == facts_of(FILM, held.facts.version)
            assert held.facts.version.endswith(f"-{len(FILM):x}")
    assert downloads(tmp_path / "held") == []


def test_a_local_file_is_hashed_once(files: MediaFiles, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = roots / "film.mkv"
    path.write_bytes(FILM)
    first = files.hold(reference(str(path)))
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert files.hold(reference(str(path)), first.facts) == first
    assert files.hold(reference(str(path), time_range_s=(60.0, 120.0))) == first


def test_a_local_file_that_changed_is_noticed(files: MediaFiles, roots: Path) -> None:
    path = roots / "film.mkv"
    path.write_bytes(FILM)
    first = files.hold(reference(str(path)))
    os.utime(path, ns=(1, 1))  # touched, but the same content: the item goes on with the facts that it has
    assert files.hold(reference(str(path)), first.facts) == first
    path.write_bytes(OTHER)
    with pytest.raises(ContentChangedError, match="changed since the item's first segment"):
        files.hold(reference(str(path)), first.facts)
    with pytest.raises(SupersededError):
        files.hold(reference(str(path), version=first.facts.version))
    assert files.hold(reference(str(path))).facts.sha256 == facts_of(OTHER, "").sha256


def test_what_is_no_file_below_the_roots_is_refused(files: MediaFiles, roots: Path, tmp_path: Path) -> None:
    os.mkfifo(roots / "pipe")
    (roots / "folder").mkdir()
    (roots / "device").symlink_to("/dev/zero")
    (tmp_path / "secret").write_bytes(b"secret")
    (roots / "link").symlink_to(tmp_path / "secret")
    with (roots / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for name, error in {
        "pipe": ReferenceRefusedError,
        "folder": NotFoundError,
        "nothing": NotFoundError,
        "device": ReferenceRefusedError,
        "link": ReferenceRefusedError,
        "../secret": ReferenceRefusedError,
        "huge": TooLargeError,
    }.items():
        with pytest.raises(error):
            files.hold(reference(str(roots / name)))
        if name != "huge":
            with pytest.raises(error):
                files.hold(reference(str(roots / name), byte_range=(0, 1)))


@pytest.fixture(params=["http", "s3", "memory"])
def placed(request: pytest.FixtureRequest, web: Any, s3: Any) -> MediaReference:
    match request.param:
        case "http":
            web.serve("/film", FILM, ETag='"abc"', Content_Type="video/mp4")
            return reference(web.url("/film"))
        case "s3":
            s3.put_object(Bucket="media", Key="film", Body=FILM, ContentType="video/mp4")
            return reference("s3://media/film")
        case _:
            fsspec.filesystem("memory").pipe_file("/shelf/film", FILM)
            return reference("memory://shelf/film")


def test_a_download_has_the_content_and_its_facts(placed: MediaReference, files: MediaFiles, tmp_path: Path) -> None:
    with files.holding(placed) as held:
        assert held.path.read_bytes() == FILM
        assert held.facts == facts_of(FILM, held.facts.version)
        assert held.facts.version
        assert held.content_type == (None if placed.uri.startswith("memory") else "video/mp4")
        assert downloads(tmp_path / "held") == [held.path]
        assert list((tmp_path / "held").glob("*.part")) == []


def test_later_segments_ask_the_store_for_nothing(placed: MediaReference, files: MediaFiles, web: Any, s3: Any) -> None:
    with files.holding(placed) as first:
        pass
    web.answers.clear()
    s3.delete_object(Bucket="media", Key="film")
    fsspec.filesystem("memory").store.clear()
    requests = len(web.requests)
    with files.holding(placed, first.facts) as later:
        assert later == first
    assert len(web.requests) == requests


def test_what_was_deleted_for_room_is_fetched_again_if_it_is_the_same(
    placed: MediaReference, files: MediaFiles
) -> None:
    with files.holding(placed) as first:
        pass
    first.path.unlink()
    with files.holding(placed, first.facts) as later:
        assert later == first
        assert later.path.read_bytes() == FILM


def test_an_object_that_changed_under_an_item_makes_it_begin_anew(
    placed: MediaReference, files: MediaFiles, web: Any, s3: Any, tmp_path: Path
) -> None:
    with files.holding(placed) as first:
        pass
    first.path.unlink()
    web.serve("/film", OTHER, ETag='"new"')
    s3.put_object(Bucket="media", Key="film", Body=OTHER)
    fsspec.filesystem("memory").pipe_file("/shelf/film", OTHER)
    # Where the version is certain, the headers tell; else only all of the content does.
    how = "its sha256 is" if placed.uri.startswith("memory") else f"its version is .*, and was {first.facts.version}"
    with pytest.raises(ContentChangedError, match=f"changed since the item's first segment: {how}"):
        files.hold(placed, first.facts)
    with pytest.raises(SupersededError):
        files.hold(reference(placed.uri, version=first.facts.version), first.facts)
    with files.holding(placed) as anew:
        assert anew.facts == facts_of(OTHER, anew.facts.version)
        assert anew.path.read_bytes() == OTHER
    assert [path for path in (tmp_path / "held").iterdir() if path.suffix == ".part"] == []


def test_byte_ranges_are_files_of_their_own(placed: MediaReference, files: MediaFiles) -> None:
    with files.holding(placed) as whole, files.holding(reference(placed.uri, byte_range=(5, 9))) as part:
        assert part.path.read_bytes() == FILM[5:9]
        assert part.facts == facts_of(FILM[5:9], whole.facts.version)
    with pytest.raises(ReferenceMalformedError, match="byte_range"):
        files.hold(reference(placed.uri, byte_range=(2_000_000, 3_000_000)))


def test_byte_ranges_of_local_files_are_copied(files: MediaFiles, roots: Path) -> None:
    (roots / "film").write_bytes(FILM)
    with files.holding(reference(str(roots / "film"), byte_range=(1_000_000, 1_000_004))) as held:
        assert held.path.parent != roots
        assert held.path.read_bytes() == FILM[1_000_000:1_000_004]


def test_inline_content_is_a_file_too(files: MediaFiles) -> None:
    """Two messages may call different things by one name, even by one version."""
    for content in (b"one", b"two"):
        inline = reference("sound:1", inline=content, version="1", content_type="audio/wav")
        with files.holding(inline) as held:
            assert held.path.read_bytes() == content
            assert (held.facts, held.content_type) == (facts_of(content, "1"), "audio/wav")
        with files.holding(inline, held.facts) as again:
            assert again == held
    with files.holding(reference("sound:1", inline=b"abcdef", byte_range=(2, 4))) as held:
        assert held.path.read_bytes() == b"cd"


def test_a_named_version_is_fetched_once(files: MediaFiles, web: Any) -> None:
    web.serve("/film", FILM, ETag='"abc"')
    for version in ("abc", '"abc"'):
        with files.holding(reference(web.url("/film"), version=version)) as held:
            assert held.facts == facts_of(FILM, "abc")
    assert len(web.requests) == 1


def test_without_a_named_version_the_stores_is_looked_at(files: MediaFiles, web: Any) -> None:
    bodies: list[bytes] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", '"abc"')
        handler.send_header("Content-Length", str(len(FILM)))
        handler.end_headers()
        if not bodies:  # a second one would never come
            bodies.append(FILM)
            handler.wfile.write(FILM)

    web.answers["/film"] = answer
    with files.holding(reference(web.url("/film"))) as first, files.holding(reference(web.url("/film"))) as second:
        assert first == second
    assert len(web.requests) == 2


@pytest.mark.parametrize("headers", [{}, {"Last_Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, {"ETag": 'W/"abc"'}])
def test_what_has_no_certain_version_is_fetched_for_every_item(
    files: MediaFiles, web: Any, headers: dict[str, str], tmp_path: Path
) -> None:
    contents = iter([FILM, OTHER, OTHER])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        web.serve("/now", next(contents), **headers)
        web.answers["/now"](handler)

    web.answers["/film"] = answer
    held: list[HeldFile] = [files.hold(reference(web.url("/film"))) for _ in range(3)]
    assert [item.path.read_bytes() for item in held] == [FILM, OTHER, OTHER]
    assert [item.facts.sha256 for item in held] == [facts_of(body, "").sha256 for body in (FILM, OTHER, OTHER)]
    assert len(downloads(tmp_path / "held")) == 2
    assert files.hold(reference(web.url("/film")), held[0].facts) == held[0]
    assert len(web.requests) == 3


def test_several_threads_share_one_download(files: MediaFiles, web: Any) -> None:
    web.serve("/film", FILM, ETag='"abc"')
    together = threading.Barrier(8, timeout=10)
    found: list[HeldFile] = []

    def hold() -> None:
        together.wait()
        found.append(files.hold(reference(web.url("/film"), version="abc")))

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert len(web.requests) == 1


def test_a_second_try_begins_anew_even_with_another_version(fetcher: Fetcher, web: Any, tmp_path: Path) -> None:
    answers = iter([("one", FILM[:1_500_000], len(FILM)), ("two", OTHER[:-5], len(FILM) - 5)])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        version, body, announced = next(answers)
        web.serve("/now", body, ETag=f'"{version}"', Content_Length=str(announced))
        web.answers["/now"](handler)

    web.answers["/film"] = answer
    patient = Fetcher(FetchLimits(retry_budget_s=10.0), fetcher.policy)
    files = MediaFiles(patient, tmp_path / "held", limit_bytes=100_000_000, max_object_bytes=10_000_000)
    with files.holding(reference(web.url("/film"))) as held:
        assert held.facts == facts_of(OTHER[:-5], "two")
        assert held.path.read_bytes() == OTHER[:-5]
    files.close()


def test_a_second_try_of_the_same_version_begins_anew(fetcher: Fetcher, web: Any, tmp_path: Path) -> None:
    bodies = iter([FILM[:1_500_000], FILM])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        web.serve("/now", next(bodies), ETag='"abc"', Content_Length=str(len(FILM)))
        web.answers["/now"](handler)

    web.answers["/film"] = answer
    patient = Fetcher(FetchLimits(retry_budget_s=10.0), fetcher.policy)
    files = MediaFiles(patient, tmp_path / "held", limit_bytes=100_000_000, max_object_bytes=10_000_000)
    with files.holding(reference(web.url("/film"), version="abc")) as held:
        assert held.facts == facts_of(FILM, "abc")
        assert held.path.read_bytes() == FILM
    files.close()


def test_what_fails_leaves_nothing_behind(files: MediaFiles, web: Any, tmp_path: Path) -> None:
    web.serve("/half", FILM[:1_500_000], Content_Length=str(len(FILM)))
    web.serve("/big", b"", Content_Length="10000001")
    for path, error in {"/half": StoreUnavailableError, "/big": TooLargeError}.items():
        with pytest.raises(error):
            files.hold(reference(web.url(path)))
    assert {path.name for path in (tmp_path / "held").iterdir()} == {"folder.lock"}


def test_the_limit_holds_for_what_is_there_already(
    fetcher: Fetcher, files: MediaFiles, web: Any, tmp_path: Path
) -> None:
    web.serve("/film", FILM, ETag='"abc"')
    files.release(files.hold(reference(web.url("/film"), version="abc")))
    strict = MediaFiles(fetcher, tmp_path / "held", limit_bytes=100_000_000, max_object_bytes=1000)
    with pytest.raises(TooLargeError):
        strict.hold(reference(web.url("/film"), version="abc"))


def test_what_is_released_too_often_is_a_mistake(files: MediaFiles, roots: Path) -> None:
    (roots / "film").write_bytes(FILM)
    for meant in (reference("a", inline=b"abc"), reference(str(roots / "film"))):
        first, second = files.hold(meant), files.hold(meant)
        files.release(first)
        files.release(second)
        with pytest.raises(InvariantError, match="not held"):
            files.release(first)
