from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from operators.errors import MediatokError, NotFoundError
from operators.records import ContentFacts, MediaReference, Origin
from pipeline.fetch import HeldFile
from pipeline.runtime.contents import Content, OnDisk


@dataclass(frozen=True)
class Lease:
    reference: MediaReference
    cursor: Any = None
    facts: ContentFacts | None = None


class Shelf:
    """Files that are held and released; those named "none" are not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: list[str] = []
        self.asked: list[tuple[str, ContentFacts | None]] = []

    def hold(self, reference: MediaReference, facts: ContentFacts | None = None) -> HeldFile:
        self.asked.append((reference.uri, facts))
        if reference.uri == "none":
            raise NotFoundError("none: no such file")
        path = self.folder / reference.uri
        path.write_text(f"content of {reference.uri}")
        self.held.append(reference.uri)
        return HeldFile(path, ContentFacts("1", reference.uri, 1))

    def release(self, held: HeldFile) -> None:
        self.held.remove(held.path.name)


def lease(uri: str, **fields: Any) -> Lease:
    return Lease(MediaReference(uri, Origin("s", 0, 0, 0)), **fields)


def taken(shelf: Shelf, leases: Sequence[Lease]) -> list[Content | MediatokError]:
    return list(OnDisk(shelf).each(leases))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("count", [1, 3])
def test_files_come_in_order_and_are_let_go_each_after_its_turn(count: int, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    seen: list[str] = []
    for content in OnDisk(shelf).each([lease(f"{n}") for n in range(count)]):  # pyright: ignore[reportArgumentType]
        assert isinstance(content, Content)
        assert content.facts.sha256 in shelf.held
        assert not set(seen) & set(shelf.held)
        seen.append(content.facts.sha256)
        assert content.first(7) == b"content"
    assert seen == [f"{n}" for n in range(count)]
    assert shelf.held == []


def test_one_that_is_not_there_is_an_error_in_its_place(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first, second, third = taken(shelf, [lease("a"), lease("none"), lease("b")])
    assert isinstance(first, Content)
    assert isinstance(second, NotFoundError)
    assert isinstance(third, Content)
    assert shelf.held == []


def test_a_further_segment_says_of_what_content_it_must_be(tmp_path: Path) -> None:
    shelf, facts = Shelf(tmp_path), ContentFacts("7", "abc", 3)
    taken(shelf, [lease("a", cursor={"segment": 1}, facts=facts)])
    assert shelf.asked == [("a", facts)]


@pytest.mark.parametrize("count", [1, 9])
def test_a_reader_that_stops_early_lets_go_of_all_there_is(count: int, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    contents = OnDisk(shelf).each([lease("abcdefghi"[n]) for n in range(count)])  # pyright: ignore[reportArgumentType]
    next(contents)
    assert "a" in shelf.held
    contents.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert shelf.held == []
