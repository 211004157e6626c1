from __future__ import annotations

from dataclasses import dataclass

from operators.decode.kept import MOST, Kept
from operators.records import ContentFacts


@dataclass
class Opened:
    closed: bool = False

    def close(self) -> None:
        self.closed = True


def facts(name: str) -> ContentFacts:
    return ContentFacts("1", name, 1)


def test_what_was_kept_is_handed_out_once_and_for_its_place_only() -> None:
    kept: Kept[Opened] = Kept()
    opened = Opened()
    kept.keep(facts("a"), "3", opened)
    assert kept.take(facts("a"), "2") is None
    assert kept.take(facts("b"), "3") is None
    assert kept.take(facts("a"), "3") is opened
    assert kept.take(facts("a"), "3") is None
    assert not opened.closed


def test_the_one_that_was_left_longest_is_closed() -> None:
    kept: Kept[Opened] = Kept()
    all_opened = [Opened() for _ in range(MOST + 2)]
    for number, opened in enumerate(all_opened):
        kept.keep(facts(str(number)), "1", opened)
    assert [opened.closed for opened in all_opened] == [True, True] + [False] * MOST


def test_two_items_of_the_same_content_keep_one_each() -> None:
    kept: Kept[Opened] = Kept()
    first, second = Opened(), Opened()
    kept.keep(facts("a"), "1", first)
    kept.keep(facts("a"), "1", second)
    assert [kept.take(facts("a"), "1") for _ in range(3)] == [first, second, None]
    assert not (first.closed or second.closed)


def test_what_is_dropped_is_closed_and_nothing_else() -> None:
    kept: Kept[Opened] = Kept()
    first, second = Opened(), Opened()
    kept.keep(facts("a"), "1", first)
    kept.keep(facts("a"), "2", second)
    kept.drop(facts("a"), "1")
    kept.drop(facts("a"), "3")
    assert (first.closed, second.closed) == (True, False)
    assert kept.take(facts("a"), "1") is None
