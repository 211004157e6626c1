from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from operators.records import Failure, MediaReference, Origin, VoidReason
from pipeline.flow.calls import Lease
from pipeline.flow.ledger import DirectKey, DirectOutcomes, Entry, Ledger
from pipeline.records import Letter, Message, Sealed, SourcePartition, Span

LOG, OTHER = SourcePartition("s", 0), SourcePartition("s", 1)


def message(offset: int, log: SourcePartition = LOG) -> Message:
    return Message(Origin(log.source_id, log.partition, offset, 0), "t", None, b"")


def reference(offset: int, item: int = 0, log: SourcePartition = LOG) -> MediaReference:
    return MediaReference("x", Origin(log.source_id, log.partition, offset, item))


def admit(ledger: Ledger, offset: int, products: str = "ab", log: SourcePartition = LOG, now_s: float = 0.0) -> Entry:
    return ledger.admit(message(offset, log), [reference(offset, 0, log)], products, now_s)


def test_runs_of_consecutive_messages_share_a_packer_in_each_log_by_itself() -> None:
    ledger = Ledger(["p", "q"], run_length=3)
    bound = [(admit(ledger, offset).packer, admit(ledger, offset, log=OTHER).packer) for offset in range(6)]
    for run in (bound[:3], bound[3:]):
        assert [len(set(packers)) for packers in zip(*run, strict=True)] == [1, 1]
    assert {packer for pair in bound for packer in pair} == {"p", "q"}


def test_a_message_is_out_of_flight_when_its_last_product_is_settled() -> None:
    ledger = Ledger(["p"], 10)
    entry = admit(ledger, 5)
    span = Span(LOG, ((5, 6),))
    assert ledger.settle("a", [span]) == 0
    assert (entry.owed, entry.uncommitted) == ({"b"}, {"b"})
    assert ledger.holds(LOG, 5)
    assert ledger.settle("a", [span]) == 0
    assert ledger.settle("b", [span]) == 1
    assert not ledger.holds(LOG, 5)
    assert len(ledger) == 0


def test_what_was_sealed_is_no_longer_owed_but_still_uncommitted() -> None:
    ledger = Ledger(["p"], 10)
    entry = admit(ledger, 5)
    ledger.sealed(Sealed("a", covers=(Span(LOG, ((0, 100),)),)))
    assert (entry.owed, entry.uncommitted) == ({"b"}, {"a", "b"})
    assert ledger.bound_to("p") == [entry]
    ledger.sealed(Sealed("b", covers=(Span(LOG, ((5, 6),)),)))
    assert ledger.bound_to("p") == []
    assert len(ledger) == 1


def test_only_the_newest_attempt_counts() -> None:
    ledger = Ledger(["p"], 10)
    entry = admit(ledger, 5)
    first = ledger.next_attempt(entry, 0)
    second = ledger.next_attempt(entry, 0)
    assert second > first
    assert not ledger.is_current(Lease(first, reference(5)))
    assert ledger.is_current(Lease(second, reference(5)))
    assert not ledger.counts(Origin("s", 0, 5, 1), second), "another item"
    ledger.settle("a", [Span(LOG, ((5, 6),))])
    ledger.settle("b", [Span(LOG, ((5, 6),))])
    assert not ledger.is_current(Lease(second, reference(5)))


def test_attempts_rise_across_a_message_that_comes_back() -> None:
    ledger = Ledger(["p"], 10)
    before = ledger.next_attempt(admit(ledger, 5), 0)
    ledger.forget([LOG])
    assert not ledger.holds(LOG, 5)
    after = ledger.next_attempt(admit(ledger, 5), 0)
    assert after > before
    assert not ledger.counts(Origin("s", 0, 5, 0), before)


def test_forgetting_a_log_leaves_the_others() -> None:
    ledger = Ledger(["p"], 10)
    admit(ledger, 5)
    other = admit(ledger, 5, log=OTHER)
    ledger.forget([LOG, SourcePartition("never seen", 9)])
    assert list(ledger) == [other]


def test_dropping_takes_out_one_message() -> None:
    ledger = Ledger(["p"], 10)
    entry, kept = admit(ledger, 5), admit(ledger, 6)
    ledger.drop(entry)
    assert list(ledger) == [kept]


def test_the_oldest_is_the_one_admitted_first_that_is_still_in_flight() -> None:
    ledger = Ledger(["p"], 10)
    assert ledger.oldest() is None
    admit(ledger, 9, "a", now_s=1.0)
    second = admit(ledger, 3, "a", OTHER, now_s=2.0)
    admit(ledger, 10, "a", now_s=3.0)
    ledger.settle("a", [Span(LOG, ((9, 10),))])
    assert ledger.oldest() is second


@given(
    st.sets(st.integers(0, 60)),
    st.lists(st.tuples(st.integers(0, 1 << 50), st.integers(1, 1 << 50)), max_size=4),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6),
    st.integers(0, 9),
)
def test_a_span_settles_what_lies_in_it_however_much_wider_than_what_is_in_flight(
    offsets: set[int], wide: list[tuple[int, int]], narrow: list[tuple[int, int]], seed: int
) -> None:
    ledger = Ledger(["p"], 4)
    shuffled = sorted(offsets)
    random.Random(seed).shuffle(shuffled)
    for offset in shuffled:
        admit(ledger, offset, "a")
    ranges = tuple((start, start + size) for start, size in [*wide, *narrow])
    inside = {offset for offset in offsets if any(start <= offset < end for start, end in ranges)}
    assert ledger.settle("a", [Span(LOG, ranges)]) == len(inside)
    assert {entry.message.origin.offset for entry in ledger} == offsets - inside


def letter(offset: int, log: SourcePartition = LOG) -> Letter:
    origin = Origin(log.source_id, log.partition, offset, 0)
    return Letter("a", origin, "", Failure("x.y", "x", "no"), "t", None, None, (), 1, 0)


def test_direct_outcomes_come_out_once_with_their_ranges_merged() -> None:
    direct = DirectOutcomes()
    assert not direct
    assert direct.take() == ()
    direct.void("a", LOG, 5, 8, VoidReason.HOLE)
    direct.message(DirectKey("a", LOG, 8), [letter(8)], [VoidReason.REMOVAL, VoidReason.REMOVAL])
    direct.message(DirectKey("a", LOG, 8), [letter(8)], [VoidReason.REMOVAL])
    direct.message(DirectKey("a", LOG, 3), [], [VoidReason.TOMBSTONE])
    direct.message(DirectKey("b", LOG, 8), [], [VoidReason.NOT_MINE])
    assert direct
    assert direct.lettered == 1
    direct.release(DirectKey("a", LOG, 8))
    assert direct.lettered == 1
    by_product = {sealed.product: sealed for sealed in direct.take()}
    assert by_product["a"].covers == (Span(LOG, ((3, 4), (5, 9))),)
    assert [one.origin.offset for one in by_product["a"].letters] == [8]
    assert by_product["a"].voids == {VoidReason.HOLE: 3, VoidReason.TOMBSTONE: 1, VoidReason.REMOVAL: 2}
    assert sorted(by_product["a"].voided, key=lambda pair: pair[0]) == [
        (VoidReason.HOLE, Span(LOG, ((5, 8),))),
        (VoidReason.REMOVAL, Span(LOG, ((8, 9),))),
        (VoidReason.REMOVAL, Span(LOG, ((8, 9),))),
        (VoidReason.TOMBSTONE, Span(LOG, ((3, 4),))),
    ]
    assert by_product["b"].voids == {VoidReason.NOT_MINE: 1}
    assert not direct
    assert direct.take() == ()


def test_forgetting_a_log_takes_its_letters_and_voids_with_it_and_no_others() -> None:
    direct = DirectOutcomes()
    for log in (LOG, OTHER):
        direct.message(DirectKey("a", log, 1), [letter(1, log)], [VoidReason.TEST_EVENT])
    direct.forget([LOG])
    for log in (LOG, OTHER):
        direct.release(DirectKey("a", log, 1))
    (left,) = direct.take()
    assert left.covers == (Span(OTHER, ((1, 2),)),)
    assert [one.origin.partition for one in left.letters] == [1]
    assert left.voids == {VoidReason.TEST_EVENT: 1}


def test_a_message_with_letters_is_held_until_it_is_released_and_what_has_none_is_not() -> None:
    direct = DirectOutcomes()
    key = DirectKey("a", LOG, 4)
    direct.message(key, [letter(4)], [VoidReason.REMOVAL])
    assert (bool(direct), direct.ready, direct.holds(key), direct.take()) == (True, False, True, ())
    direct.void("a", LOG, 5, 7, VoidReason.HOLE)
    direct.message(DirectKey("a", LOG, 8), [], [VoidReason.TOMBSTONE])
    (sealed,) = direct.take()
    assert (sealed.covers, sealed.letters) == ((Span(LOG, ((5, 7), (8, 9))),), ())
    direct.release(key)
    (sealed,) = direct.take()
    assert (sealed.covers, sealed.letters, sealed.voids) == (
        (Span(LOG, ((4, 5),)),),
        (letter(4),),
        {VoidReason.REMOVAL: 1},
    )
    assert not direct


def test_a_message_whose_letters_are_withheld_is_no_longer_there() -> None:
    direct = DirectOutcomes()
    key = DirectKey("a", LOG, 4)
    direct.message(key, [letter(4)], [])
    direct.withhold(key)
    direct.release(key)
    assert (bool(direct), direct.lettered, direct.holds(key), direct.take()) == (False, 0, False, ())
