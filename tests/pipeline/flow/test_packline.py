from __future__ import annotations

from collections.abc import Iterable

from operators.records import MediaReference, Origin
from pipeline.flow.calls import Block, SealReason
from pipeline.flow.packline import DELIVERIES_A_CALL, RESEAL_S, PackLine, Parcel
from pipeline.records import Delivery, PackReport, SourcePartition

LOG = SourcePartition("s", 0)


def parcel(offset: int, tokens: Block | None = None) -> Parcel:
    return Parcel(Delivery("p", 1, 1, MediaReference("x", Origin("s", 0, offset, 0))), tokens)


def line_with(parcels: Iterable[Parcel]) -> PackLine:
    line = PackLine("packer")
    for one in parcels:
        line.add(one)
    return line


def report(waiting: int, spooled: int = 0) -> PackReport:
    return PackReport((), spooled, waiting)


def reason(line: PackLine, now_s: float, *, starved: bool = False, draining: bool = False) -> SealReason | None:
    return line.seal_reason(now_s, most_age_s=30.0, starved=starved, draining=draining)


def test_one_call_at_a_time_and_each_batch_of_tokens_once() -> None:
    first, second = Block("a", 1), Block("b", 1)
    line = line_with([parcel(0, first), parcel(1, second), parcel(2, first), parcel(3)])
    deliveries, blocks, stale = line.take(lambda _: True, 0.0)
    assert [one.batch for one in deliveries] == [0, 1, 0, -1]
    assert blocks == (first, second)
    assert stale == ()
    line.add(parcel(4))
    assert line.take(lambda _: True, 0.0) == ((), (), ())
    assert line.answered(report(4)) == (first, second, first)
    assert [one.reference.origin.offset for one in line.take(lambda _: True, 0.0)[0]] == [4]


def test_a_call_is_bounded_and_the_rest_keeps_its_order() -> None:
    line = line_with(parcel(offset) for offset in range(DELIVERIES_A_CALL + 5))
    assert len(line.take(lambda _: True, 0.0)[0]) == DELIVERIES_A_CALL
    line.answered(report(1))
    assert [one.reference.origin.offset for one in line.take(lambda _: True, 0.0)[0]] == [256, 257, 258, 259, 260]


def test_what_is_no_longer_wanted_is_not_sent_and_its_tokens_are_given_back() -> None:
    block = Block("a", 1)
    line = line_with([parcel(0, block), parcel(1), parcel(2, block)])
    deliveries, blocks, stale = line.take(lambda one: one.reference.origin.offset == 2, 0.0)
    assert len(deliveries) == 1
    assert blocks == (block,)
    assert stale == (block,)


def test_a_line_of_stale_parcels_only_sends_nothing_and_is_free() -> None:
    line = line_with([parcel(0), parcel(1)])
    assert line.take(lambda _: False, 0.0) == ((), (), ())
    assert not line.busy
    assert len(line) == 0


def test_logs_are_forgotten_before_anything_else_is_sent_but_not_during_a_call() -> None:
    line = line_with([parcel(0)])
    line.take(lambda _: True, 0.0)
    line.forget(frozenset({LOG}))
    assert line.take_forget() == frozenset()
    line.answered(report(1))
    assert line.take_forget() == {LOG}
    assert line.busy
    line.answered(report(0))
    assert line.take_forget() == frozenset()


def test_shards_are_closed_at_their_age_counted_from_the_first_rows() -> None:
    line = line_with([parcel(0)])
    assert reason(line, 99.0) is None
    line.take(lambda _: True, 100.0)
    assert reason(line, 200.0) is None, "a call is on its way"
    line.answered(report(1))
    assert reason(line, 129.9) is None
    assert reason(line, 130.0) is SealReason.AGE
    line.begin_seal(130.0)
    line.answered(report(1))
    assert reason(line, 159.0) is None, "what a seal left behind ages from there"
    assert reason(line, 160.0) is SealReason.AGE


def test_age_counts_although_parcels_keep_coming() -> None:
    line = line_with([parcel(0)])
    line.take(lambda _: True, 100.0)
    line.answered(report(1))
    line.add(parcel(1))
    assert reason(line, 130.0) is SealReason.AGE


def test_an_empty_packer_is_never_told_to_seal() -> None:
    line = line_with([parcel(0)])
    line.take(lambda _: True, 0.0)
    line.answered(report(0))
    assert reason(line, 1e9, starved=True, draining=True) is None


def test_draining_waits_for_the_line_and_starving_does_not() -> None:
    line = line_with([parcel(0)])
    line.take(lambda _: True, 0.0)
    line.answered(report(1))
    assert reason(line, 0.0, draining=True) is SealReason.DRAIN
    line.add(parcel(1))
    assert reason(line, 0.0, draining=True) is None
    assert reason(line, 0.0, draining=True, starved=True) is SealReason.STARVED


def test_a_seal_that_changed_nothing_is_not_repeated_at_once() -> None:
    line = line_with([parcel(0)])
    line.take(lambda _: True, 0.0)
    line.answered(report(1))
    line.begin_seal(0.0)
    line.answered(report(1))
    assert reason(line, 0.0, starved=True, draining=True) is None
    assert reason(line, RESEAL_S, draining=True) is SealReason.DRAIN
    line.add(parcel(1))
    line.take(lambda _: True, 0.5)
    line.answered(report(2))
    assert reason(line, 0.5, draining=True) is SealReason.DRAIN


def test_parcels_are_sent_between_two_seals_however_seldom_the_line_is_asked() -> None:
    line = line_with([parcel(0)])
    line.take(lambda _: True, 0.0)
    line.answered(report(1))
    line.begin_seal(100.0)
    line.answered(report(1))
    line.add(parcel(1))
    assert reason(line, 1000.0, starved=True) is None
    line.take(lambda _: True, 1000.0)
    line.answered(report(2))
    assert reason(line, 1000.0) is SealReason.AGE


def test_a_lost_packer_gives_back_every_batch_of_tokens_once_a_parcel() -> None:
    block = Block("a", 1)
    line = line_with([parcel(0, block), parcel(1)])
    line.take(lambda _: True, 0.0)
    line.add(parcel(2, block))
    line.forget(frozenset({LOG}))
    assert line.lost() == (block, block)
    assert (len(line), line.busy, line.holds_rows, line.spooled_bytes) == (0, False, False, 0)
    assert line.take_forget() == frozenset(), "its successor never knew these logs"
