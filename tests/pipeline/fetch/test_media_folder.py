"""One budget of disk for all processes of a node; here each is an object: locks belong to descriptors, not to pids."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from operators.errors import SpoolDiskFullError, StoreUnavailableError, TooLargeError
from operators.records import ContentFacts, MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy, HeldFile, MediaFiles
from pipeline.fetch.media_folder import Entry, MediaFolder, Part

LIMIT = 1000


def inline(name: str, size: int) -> MediaReference:
    return MediaReference(name, Origin("t", 0, 0, 0), inline=name.encode() * size)


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(FetchLimits(retry_budget_s=0), FetchPolicy(frozenset({"http"}), allow_private_addresses=True))


def another(fetcher: Fetcher, folder: Path, limit: int = LIMIT) -> MediaFiles:
    return MediaFiles(fetcher, folder, limit_bytes=limit, max_object_bytes=1_000_000)


@pytest.fixture
def files(fetcher: Fetcher, tmp_path: Path) -> Iterator[MediaFiles]:
    files = another(fetcher, tmp_path)
    yield files
    files.close()


def used(files: MediaFiles, name: str, size: int) -> HeldFile:
    """Held and released."""
    with files.holding(inline(name, size)) as held:
        return held


def names(folder: Path) -> str:
    """Of the downloads that are there: each is full of its name."""
    return "".join(sorted(path.read_text()[0] for path in folder.glob("*.media")))


def test_the_longest_unused_goes_first(files: MediaFiles, tmp_path: Path) -> None:
    for name in "abc":
        used(files, name, 300)
    used(files, "a", 300)
    used(files, "d", 300)
    assert names(tmp_path) == "acd"
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_what_is_held_stays_whoever_holds_it(files: MediaFiles, fetcher: Fetcher, tmp_path: Path) -> None:
    other = another(fetcher, tmp_path)
    held = other.hold(inline("a", 300))
    for name in "bcd":
        used(files, name, 300)
    assert names(tmp_path) == "acd"
    assert held.path.read_text() == "a" * 300
    other.release(held)
    used(files, "b", 300)
    assert names(tmp_path) == "abd"  # its release was its last use
    other.close()


def test_what_two_hold_stays_until_both_have_released_it(files: MediaFiles, fetcher: Fetcher, tmp_path: Path) -> None:
    other = another(fetcher, tmp_path)
    first, second = files.hold(inline("a", 300)), other.hold(inline("a", 300))
    assert first == second
    files.release(first)
    for name in "bcd":
        used(files, name, 300)
    assert names(tmp_path) == "acd"
    other.close()
    used(files, "e", 900)
    assert names(tmp_path) == "e"


def test_where_others_hold_the_space_there_is_none_for_now(files: MediaFiles, fetcher: Fetcher, tmp_path: Path) -> None:
    other = another(fetcher, tmp_path)
    other.hold(inline("a", 300))
    other.hold(inline("b", 300))
    with pytest.raises(StoreUnavailableError, match=r"no room for 500 bytes.*600 of 1000 are in use"):
        files.hold(inline("c", 500))
    used(files, "c", 400)
    other.close()  # as when the process is killed: its descriptors are closed
    used(files, "d", 900)
    assert names(tmp_path) == "d"


def test_what_alone_does_not_fit_never_will(files: MediaFiles, tmp_path: Path) -> None:
    used(files, "a", 300)
    with pytest.raises(TooLargeError, match=r"1001 bytes, where fetch\.disk_bytes allows 1000"):
        files.hold(inline("b", 1001))
    assert names(tmp_path) == "a"
    used(files, "c", 1000)
    assert names(tmp_path) == "c"


def test_content_whose_size_nobody_tells_is_held_to_the_budget(files: MediaFiles, web: Any, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"w" * int(handler.path[1:]))

    for size in (600, 1001):
        web.answers[f"/{size}"] = answer
    for name in "ab":
        used(files, name, 300)
    with files.holding(MediaReference(web.url("/600"), Origin("t", 0, 0, 0))) as held:
        assert held.facts.size_bytes == 600
    assert names(tmp_path) == "bw"
    with pytest.raises(TooLargeError, match=r"fetch\.disk_bytes"):
        files.hold(MediaReference(web.url("/1001"), Origin("t", 0, 0, 0)))


def test_a_smaller_budget_holds_from_the_start(files: MediaFiles, fetcher: Fetcher, tmp_path: Path) -> None:
    for name in "abc":
        used(files, name, 300)
    another(fetcher, tmp_path, limit=700).close()
    assert names(tmp_path) == "bc"


def part_of(claimed: Part | Entry | None) -> Part:
    assert isinstance(claimed, Part)
    return claimed


def test_a_reservation_counts_before_anything_is_written(tmp_path: Path) -> None:
    folder, other = MediaFolder(tmp_path, LIMIT), MediaFolder(tmp_path, LIMIT)
    part = part_of(folder.claim("a"))
    folder.restart(part, 700)
    second = part_of(other.claim("b"))
    with pytest.raises(StoreUnavailableError, match="700 of 1000 are in use"):
        other.restart(second, 400)
    folder.restart(part, 600)  # a second try, of something smaller
    other.restart(second, 400)
    with pytest.raises(StoreUnavailableError):
        folder.extend(part, 601)
    other.drop(second)
    folder.extend(part, 1000)
    folder.drop(part)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.lock"]


def test_what_was_reserved_too_much_is_given_back(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path, LIMIT)
    part = part_of(folder.claim("a"))
    folder.restart(part, 900)
    folder.write(part, b"abc")
    entry = folder.publish(part, "a", ContentFacts("1", "x", 3), None)
    assert entry.path.read_bytes() == b"abc"
    folder.restart(part_of(folder.claim("b")), 997)


def test_one_writes_and_the_others_find(tmp_path: Path) -> None:
    folder, other = MediaFolder(tmp_path, LIMIT), MediaFolder(tmp_path, LIMIT)
    part = part_of(folder.claim("a"))
    assert other.claim("a") is None
    folder.restart(part, 3)
    folder.write(part, b"abc")
    entry = folder.publish(part, "a", ContentFacts("1", "x", 3), "audio/wav")
    other.wait("a")
    found = other.claim("a")
    assert isinstance(found, Entry)
    assert (found.path, found.facts, found.content_type) == (entry.path, ContentFacts("1", "x", 3), "audio/wav")


def test_what_a_killed_process_left_half_written_is_removed_at_the_start(tmp_path: Path) -> None:
    alive, killed = MediaFolder(tmp_path, LIMIT), MediaFolder(tmp_path, LIMIT)
    writing, left = part_of(alive.claim("a")), part_of(killed.claim("b"))
    alive.restart(writing, 100)
    killed.restart(left, 800)
    os.close(left.handle)
    (tmp_path / "lost.json").write_text("{}")
    third = MediaFolder(tmp_path, LIMIT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.part", "folder.lock"]
    third.restart(part_of(third.claim("c")), 900)


def test_what_it_left_since_is_written_over_or_removed_for_room(tmp_path: Path) -> None:
    alive, killed = MediaFolder(tmp_path, LIMIT), MediaFolder(tmp_path, LIMIT)
    for key in "ab":
        left = part_of(killed.claim(key))
        killed.restart(left, 400)
        os.close(left.handle)
    alive.wait("a")  # nobody is writing it
    alive.restart(part_of(alive.claim("a")), 600)
    alive.restart(part_of(alive.claim("c")), 400)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.part", "c.part", "folder.lock"]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A disk with so many bytes free, for content."""
    free = [0]
    pwrite = os.pwrite

    def limited(handle: int, data: bytes, at: int) -> int:
        if at == 0 and len(data) == 32:
            return pwrite(handle, data, at)  # the folder's count of bytes
        if len(data) > free[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(handle, data, at)

    monkeypatch.setattr(os, "pwrite", limited)
    yield free


def test_a_full_disk_stops_the_run_if_nothing_here_fills_it(files: MediaFiles, full: list[int], tmp_path: Path) -> None:
    with pytest.raises(SpoolDiskFullError, match=r"fetch\.disk_bytes promises 1000"):
        files.hold(inline("a", 300))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.lock"]


def test_a_full_disk_is_made_room_on_if_there_is_what_nobody_holds(
    files: MediaFiles, full: list[int], tmp_path: Path
) -> None:
    full[0] = 300
    used(files, "a", 300)
    used(files, "b", 300)
    full[0] = 0
    with pytest.raises(StoreUnavailableError, match="300 bytes of unused media were deleted, 300 are left"):
        files.hold(inline("c", 300))
    assert names(tmp_path) == "b"


def test_a_full_disk_is_waited_for_if_others_hold_the_space(files: MediaFiles, full: list[int]) -> None:
    full[0] = 300
    files.hold(inline("a", 300))
    full[0] = 0
    with pytest.raises(StoreUnavailableError, match="0 bytes of unused media were deleted, 300 are left"):
        files.hold(inline("b", 300))
