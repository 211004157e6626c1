from __future__ import annotations

from dataclasses import replace

import pytest

from operators.errors import InvariantError
from operators.records import Modality, VoidReason
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.lake.delta import Delta, Opening, OutcomeFile, ProductSpan, Skip, Start, VoidCount
from pipeline.lake.state import LakeState, covered_messages, fold, letter_messages
from pipeline.records import Product, Shard, SourcePartition, Span

LOG, OTHER = SourcePartition("t", 0), SourcePartition("t", 1)
SPEC = TokenSpec(TokenKind.CODES, Modality.IMAGE, "v", ("t",), (16,), "uint16")
PRODUCT = Product("a", 1, "1" * 64, Modality.IMAGE, SPEC)
NEXT = Product("a", 2, "2" * 64, Modality.IMAGE, SPEC)
KEY = PRODUCT.key


def delta(version: int, **parts: object) -> Delta:
    made = replace(Delta(version, 0, f"c{version}", "w", 0), **parts)
    return replace(made, base=made.oldest_base)


def covers(*ranges: tuple[int, int], product: str = KEY, log: SourcePartition = LOG) -> tuple[ProductSpan, ...]:
    return (ProductSpan(product, Span(log, ranges)),)


def shard(name: str, product: str = KEY) -> Shard:
    return Shard(product, f"data/product={product}/dt=2026-11-24/{name}.arrow", 2, 20, 9, "0" * 64)


def letters(name: str, *ranges: tuple[int, int]) -> tuple[OutcomeFile, ...]:
    return (OutcomeFile(KEY, f"_meta/letters/{name}.jsonl", 1, 0, (Span(LOG, ranges),)),)


BEGIN = [
    delta(1, openings=(Opening(PRODUCT, "image"),), starts=(Start(KEY, LOG, 10),)),
    delta(2, covers=covers((10, 15), (20, 30)), shards=(shard("part-1-x"),), outcomes=letters("1-x", (12, 13))),
]


def test_a_fold_knows_what_is_covered_open_and_live() -> None:
    state = fold(BEGIN)
    assert state.position(KEY, LOG) == 15
    assert state.next_uncovered(KEY, LOG, 22) == 30
    assert state.covers(KEY, LOG, 12)
    assert not state.covers(KEY, LOG, 15)
    assert state.overlap(KEY, Span(LOG, ((0, 25),))) == ((10, 15), (20, 25))
    assert state.logs(KEY) == (LOG,)
    assert state.position(KEY, OTHER) is None
    assert (state.counters[KEY].rows, state.counters[KEY].tokens, state.counters[KEY].letters) == (2, 20, 1)
    assert covered_messages(state, KEY) == 15
    assert letter_messages(state, "a") == 1


def test_a_successor_goes_on_where_its_predecessor_left_off_but_has_coverage_of_its_own() -> None:
    state = fold([*BEGIN, delta(3, openings=(Opening(NEXT, "image", closes=KEY),))])
    assert state.position(NEXT.key, LOG) == 15
    assert state.logs(NEXT.key) == (LOG,)
    assert state.lineage(NEXT.key) == (KEY, NEXT.key)
    state.apply(delta(4, covers=covers((15, 16), product=NEXT.key)))
    assert state.position(NEXT.key, LOG) == 16
    own = state.own_coverage[NEXT.key, LOG]
    assert (own.start, own.watermark) == (15, 16)
    assert covered_messages(state, KEY) == 15


def test_letters_that_fail_again_are_open_in_the_later_file() -> None:
    state = fold(BEGIN)
    closing = (ProductSpan(KEY, Span(LOG, ((12, 13),))),)
    state.apply(delta(3, closings=closing, outcomes=letters("2-y", (12, 13))))
    assert {path for files in state.letters.values() for path in files} == {"_meta/letters/2-y.jsonl"}
    assert letter_messages(state, "a") == 1


def test_catch_up_below_the_start_does_not_move_the_position() -> None:
    state = fold([*BEGIN, delta(3, covers=covers((0, 5)))])
    assert state.position(KEY, LOG) == 15
    assert state.covers(KEY, LOG, 3)


CLOSED = [*BEGIN, delta(3, openings=(Opening(NEXT, "image", closes=KEY),))]
FLOOR = [*BEGIN, delta(3, min_base=2)]


@pytest.mark.parametrize(
    ("before", "bad", "says"),
    [
        (BEGIN, delta(2), "can't follow"),
        (BEGIN, delta(4), "can't follow"),
        (BEGIN, replace(delta(3), base=1), "base"),
        (FLOOR, delta(4, shards=(shard("part-1-z"),)), "base 1 < 2"),
        (FLOOR, delta(4, min_base=1), "min_base"),
        (BEGIN, delta(3, min_base=3), "min_base"),
        (BEGIN, delta(3, covers=covers((14, 16))), "a second time"),
        (BEGIN, delta(3, covers=(*covers((40, 42)), *covers((41, 43)))), "a second time"),
        (BEGIN, delta(3, covers=covers((0, 3), log=OTHER)), "before a start"),
        (BEGIN, delta(3, covers=covers((40, 41), product="b-1")), "not open"),
        (BEGIN, delta(3, shards=(shard("part-1-x"),)), "a second time"),
        (BEGIN, delta(3, outcomes=letters("1-x", (13, 14))), "a second time"),
        (BEGIN, delta(3, closings=covers((13, 14))), "not open"),
        (BEGIN, delta(3, starts=(Start(KEY, LOG, 11),)), "moves the start"),
        (BEGIN, delta(3, openings=(Opening(NEXT, "image"),)), "opens"),
        (BEGIN, delta(3, openings=(Opening(PRODUCT, "image"),)), "opens"),
        (BEGIN, delta(3, openings=(Opening(replace(NEXT, revision=1), "image", closes=KEY),)), "revision: 2"),
        (CLOSED, delta(4, covers=covers((40, 41))), "not open"),
        (CLOSED, delta(4, shards=(shard("part-3-z"),)), "not open"),
        (CLOSED, delta(4, voids=(VoidCount(KEY, VoidReason.HOLE, 1),)), "not open"),
        (CLOSED, delta(4, covers=covers((12, 13), product=NEXT.key)), "a second time"),
        (CLOSED, delta(4, skips=(Skip(NEXT.key, Span(LOG, ((12, 13),))),)), "a second time"),
    ],
)
def test_what_no_commit_may_do_is_refused(before: list[Delta], bad: Delta, says: str) -> None:
    state: LakeState = fold(before)
    with pytest.raises(InvariantError, match=says):
        state.apply(bad)
