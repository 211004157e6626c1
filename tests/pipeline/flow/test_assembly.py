from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import InvariantError
from operators.records import EmptyReason, MediaReference, Origin, VoidReason, WindowMeta
from pipeline.flow.assembly import Assembler, AttemptOrder, StoredRow, Verdict
from pipeline.records import Delivery, Empty, SourcePartition

P, Q = "p-00000000", "q-00000000"


def delivery(
    offset: int = 0,
    item: int = 0,
    *,
    items: int = 1,
    attempt: int = 1,
    starts: tuple[int, ...] = (),
    last: bool = True,
    total: int | None = None,
    ended: VoidReason | Empty | None = None,
    product: str = P,
    partition: int = 0,
) -> Delivery:
    """By default a last segment counts the windows up to its own."""
    if total is None:
        total = max(starts, default=-1) + 1 if last else -1
    return Delivery(
        product=product,
        items=items,
        attempt=attempt,
        reference=MediaReference(f"u{offset}", Origin("s", partition, offset, item)),
        windows=tuple(WindowMeta(start, start + 1) for start in starts),
        last=last,
        total=total,
        ended=ended,
    )


def test_a_message_of_one_window_is_whole_at_once():
    assembler = Assembler([P])
    assert assembler.accept(delivery(7, starts=(0,)), slot=3, row=5, size_bytes=100).verdict is Verdict.ACCEPTED
    assert (assembler.whole_messages(P), assembler.whole_bytes(P)) == (1, 100)
    (message,) = assembler.take_whole(P)
    assert (message.log, message.offset) == (SourcePartition("s", 0), 7)
    assert message.items[0].rows == (StoredRow(3, 5, 100),)
    assert (assembler.whole_messages(P), assembler.whole_bytes(P), assembler.waiting_messages) == (0, 0, 0)


def test_an_item_is_whole_with_its_last_segment():
    assembler = Assembler([P])
    assembler.accept(delivery(starts=(0, 1), last=False), slot=0)
    assert assembler.take_whole(P) == []
    assembler.accept(delivery(starts=(2,)), slot=1, row=9)
    assert [row[:2] for row in assembler.take_whole(P)[0].items[0].rows] == [(0, 0), (0, 1), (1, 9)]


def test_a_segment_without_windows_may_be_the_last():
    assembler = Assembler([P])
    assembler.accept(delivery(starts=(0,), last=False))
    assert assembler.accept(delivery(total=1)).verdict is Verdict.ACCEPTED
    assert assembler.whole_messages(P) == 1


def test_a_last_segment_that_overtakes_the_others_waits_for_them():
    assembler = Assembler([P])
    assert assembler.accept(delivery(starts=(4,)), slot=2).verdict is Verdict.ACCEPTED
    assert assembler.accept(delivery(starts=(4,)), slot=3).verdict is Verdict.DUPLICATE
    assembler.accept(delivery(starts=(0, 1), last=False), slot=0)
    assert assembler.take_whole(P) == []
    assembler.accept(delivery(starts=(2, 3), last=False), slot=1)
    assert [row[:2] for row in assembler.take_whole(P)[0].items[0].rows] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


def test_a_last_segment_without_windows_may_overtake_too():
    assembler = Assembler([P])
    assert assembler.accept(delivery(total=2)).verdict is Verdict.ACCEPTED
    assert assembler.accept(delivery(total=2)).verdict is Verdict.DUPLICATE
    assert assembler.whole_messages(P) == 0
    assembler.accept(delivery(starts=(0, 1), last=False))
    assert assembler.whole_messages(P) == 1


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (delivery(starts=(0, 1), last=False), delivery(total=1)),
        (delivery(total=1), delivery(starts=(0, 1), last=False)),
    ],
)
def test_more_windows_than_the_last_segment_counts_stop_the_run(first: Delivery, then: Delivery):
    assembler = Assembler([P])
    assembler.accept(first)
    with pytest.raises(InvariantError, match="2 rows of 1"):
        assembler.accept(then)


def test_a_message_waits_for_all_its_items_in_each_product_for_itself():
    assembler = Assembler([P, Q])
    assembler.accept(delivery(0, 1, items=2, starts=(0,)))
    assembler.accept(delivery(0, 1, items=2, starts=(0,), product=Q))
    assembler.accept(delivery(0, 0, items=2, ended=VoidReason.REMOVAL, product=Q))
    assert assembler.take_whole(P) == []
    (message,) = assembler.take_whole(Q)
    assert [item.ended for item in message.items] == [VoidReason.REMOVAL, None]


def test_messages_come_ascending_by_log_and_offset():
    assembler = Assembler([P])
    for offset, partition in ((5, 1), (3, 0), (1, 1), (9, 0), (0, 1)):
        assembler.accept(delivery(offset, partition=partition, starts=(0,)))
    taken = [(message.log.partition, message.offset) for message in assembler.take_whole(P)]
    assert taken == [(0, 3), (0, 9), (1, 0), (1, 1), (1, 5)]


def test_a_window_that_comes_twice_counts_once():
    assembler = Assembler([P])
    assembler.accept(delivery(starts=(0, 1), last=False), slot=0)
    again = assembler.accept(delivery(starts=(0, 1), last=False), slot=1)
    assert (again.verdict, [row.slot for row in again.released]) == (Verdict.DUPLICATE, [1, 1])
    partly = assembler.accept(delivery(starts=(1, 2)), slot=2)
    assert (partly.verdict, partly.released) == (Verdict.ACCEPTED, (StoredRow(2, 0, 0),))
    assert [row[:2] for row in assembler.take_whole(P)[0].items[0].rows] == [(0, 0), (0, 1), (2, 1)]


def test_a_higher_attempt_replaces_what_lower_ones_brought():
    assembler = Assembler([P])
    assembler.accept(delivery(starts=(0,), attempt=1), slot=0, size_bytes=10)
    assert assembler.whole_messages(P) == 1
    answer = assembler.accept(delivery(starts=(0,), attempt=2, last=False), slot=1, size_bytes=10)
    assert (answer.verdict, answer.released) == (Verdict.ACCEPTED, (StoredRow(0, 0, 10),))
    assert (assembler.whole_messages(P), assembler.whole_bytes(P)) == (0, 0)
    assembler.accept(delivery(starts=(5,), attempt=2, total=2), slot=2, size_bytes=10)
    assert [row.slot for row in assembler.take_whole(P)[0].items[0].rows] == [1, 2]


def test_a_lower_attempt_is_stale():
    assembler = Assembler([P])
    assembler.accept(delivery(starts=(0,), attempt=2, last=False), slot=0)
    answer = assembler.accept(delivery(starts=(1,), attempt=1), slot=1)
    assert (answer.verdict, answer.released) == (Verdict.STALE, (StoredRow(1, 0, 0),))
    assert assembler.whole_messages(P) == 0


def test_an_item_that_ends_without_rows_gives_up_those_it_had():
    assembler = Assembler([P])
    empty = Empty(P, Origin("s", 0, 0, 0), "u0", EmptyReason.NO_TOKENS)
    assembler.accept(delivery(starts=(0,), last=False), slot=4)
    assert assembler.accept(delivery(ended=empty)).released == (StoredRow(4, 0, 0),)
    assert assembler.accept(delivery(ended=VoidReason.HOLE)).verdict is Verdict.DUPLICATE
    (message,) = assembler.take_whole(P)
    assert (message.items[0].rows, message.items[0].ended) == ((), empty)


def test_what_was_taken_is_not_begun_again():
    assembler = Assembler([P, Q])
    assembler.accept(delivery(starts=(0,), attempt=2))
    assembler.take_whole(P)
    for attempt in (1, 2, 3):
        assert assembler.accept(delivery(starts=(0,), attempt=attempt), slot=8).released == (StoredRow(8, 0, 0),)
    assert assembler.waiting_messages == 0
    assert assembler.accept(delivery(starts=(0,), product=Q)).verdict is Verdict.ACCEPTED


def test_what_is_given_back_is_whole_as_before():
    assembler = Assembler([P])
    assembler.accept(delivery(0, starts=(10, 20), total=2, attempt=3), slot=0, size_bytes=8)
    assembler.accept(delivery(1, ended=VoidReason.HOLE))
    before = assembler.take_whole(P)
    assembler.give_back(P, before)
    assert (assembler.whole_messages(P), assembler.whole_bytes(P), assembler.waiting_messages) == (2, 8, 2)
    assert assembler.accept(delivery(0, starts=(10, 20), total=2, attempt=3), slot=1).verdict is Verdict.DUPLICATE
    assert assembler.accept(delivery(0, starts=(10,), attempt=2), slot=1).verdict is Verdict.STALE
    assert assembler.take_whole(P) == before


def test_a_forgotten_log_leaves_nothing_behind():
    assembler = Assembler([P, Q])
    assembler.accept(delivery(0, starts=(0,)), slot=0)
    assembler.take_whole(P)
    assembler.accept(delivery(1, starts=(0,)), slot=1, size_bytes=5)
    assembler.accept(delivery(2, starts=(0,), last=False, product=Q), slot=2)
    assembler.accept(delivery(3, starts=(0,), partition=1), slot=3, size_bytes=7)
    assert sorted(row.slot for row in assembler.forget([SourcePartition("s", 0)])) == [1, 2]
    assert (assembler.waiting_messages, assembler.whole_bytes(P)) == (1, 7)
    assert assembler.accept(delivery(0, starts=(0,)), slot=4).verdict is Verdict.ACCEPTED
    assert [(message.log.partition, message.offset) for message in assembler.take_whole(P)] == [(0, 0), (1, 3)]


@pytest.mark.parametrize(
    "wrong",
    [
        delivery(starts=(0,), product="unknown"),
        delivery(6, 2, items=2, starts=(0,)),
        delivery(0, -1, items=2, starts=(0,)),
        delivery(0, 0, items=0, starts=(0,)),
        delivery(5, 0, items=3, starts=(0,)),
        delivery(starts=(0,), ended=VoidReason.HOLE),
        delivery(),
    ],
)
def test_what_cannot_be_stops_the_run(wrong: Delivery):
    assembler = Assembler([P])
    assembler.accept(delivery(5, 0, items=2, starts=(0,)))
    for item in (0, 1):
        assembler.accept(delivery(6, item, items=2, starts=(0,)))
    with pytest.raises(InvariantError):
        assembler.accept(wrong)


def test_a_message_is_whole_when_the_items_that_are_to_be_done_of_it_are():
    assembler = Assembler([P])
    assembler.accept(delivery(0, 4, items=2, starts=(0,)))
    assert not assembler.whole_messages(P)
    assembler.accept(delivery(0, 1, items=2, starts=(0,)))
    (message,) = assembler.take_whole(P)
    assert [item.item for item in message.items] == [1, 4]


@dataclass(frozen=True)
class Plan:
    """One item's attempts in order; each is a list of segments, and only the last attempt is known to finish."""

    offset: int
    item: int
    items: int
    attempts: list[list[Delivery]]


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    made: list[Plan] = []
    for offset in range(draw(st.integers(1, 3))):
        items = draw(st.integers(1, 2))
        for item in range(items):
            attempts: list[list[Delivery]] = []
            newest = draw(st.integers(1, 3))
            for attempt in range(1, newest + 1):
                cuts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
                segments: list[Delivery] = []
                start = 0
                for number, size in enumerate(cuts):
                    starts = tuple(range(start, start + size))
                    last = number == len(cuts) - 1
                    segments.append(delivery(offset, item, items=items, attempt=attempt, starts=starts, last=last))
                    start += size
                if draw(st.integers(0, 4)) == 0:
                    segments[-1] = replace(segments[-1], windows=(), ended=VoidReason.TAKEN_DOWN)
                # An attempt that was given up may have stopped anywhere, the newest runs to its end.
                attempts.append(segments if attempt == newest else segments[: draw(st.integers(0, len(segments)))])
            made.append(Plan(offset, item, items, attempts))
    return made


def interleave(draw: st.DrawFn, plan: list[Plan]) -> list[Delivery]:
    """Any order of all segments of all attempts; some repeated later."""
    queues = [[segment] for item in plan for segments in item.attempts for segment in segments]
    order: list[Delivery] = []
    while queues:
        queue = queues[draw(st.integers(0, len(queues) - 1))]
        order.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
        if draw(st.integers(0, 3)) == 0:
            order.append(order[draw(st.integers(0, len(order) - 1))])
    return order


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_every_window_is_taken_once_and_nothing_too_early(data: st.DataObject):
    plan = data.draw(plans())
    deliveries = interleave(data.draw, plan)
    assembler = Assembler([P])
    stored: dict[StoredRow, Delivery] = {}
    released: list[StoredRow] = []
    seen: dict[tuple[int, int], list[Delivery]] = {}
    taken: set[int] = set()
    rows_taken: list[StoredRow] = []

    def take() -> None:
        offsets = []
        for message in assembler.take_whole(P):
            assert message.offset not in taken
            taken.add(message.offset)
            offsets.append(message.offset)
            assert [item.item for item in message.items] == list(range(len(message.items)))
            for item in message.items:
                came = seen[message.offset, item.item]
                attempt = max(d.attempt for d in came)
                of_attempt = [d for d in came if d.attempt == attempt]
                # Not too early: the highest attempt known had come to its end.
                assert item.ended or {d.total for d in of_attempt if d.last} == {len(item.rows)}
                assert item.attempt == attempt
                expected = [] if item.ended else sorted({w.start for d in of_attempt for w in d.windows})
                got = [stored[row].windows[row.row].start for row in item.rows]
                assert got == expected
                assert all(stored[row].attempt == attempt for row in item.rows)
                rows_taken.extend(item.rows)
        assert offsets == sorted(offsets)

    for slot, brought in enumerate(deliveries):
        for row in range(len(brought.windows)):
            stored[StoredRow(slot, row, 1)] = brought
        origin = brought.reference.origin
        if origin.offset not in taken:
            seen.setdefault((origin.offset, origin.item), []).append(brought)
        released += assembler.accept(brought, slot, 0, len(brought.windows)).released
        assert assembler.whole_bytes(P) >= 0
        if data.draw(st.booleans()):
            take()
    take()
    assert taken == {item.offset for item in plan}
    assert assembler.waiting_messages == 0
    # Every row is let go or taken, and that once.
    assert sorted(released + rows_taken) == sorted(stored)


def test_a_simulator_can_plant_its_mistakes():
    numbers = count()

    class Careless(Assembler):
        def _compare_attempts(self, held: int, brought: int) -> AttemptOrder:
            return AttemptOrder.SAME

        def _window_key(self, window: WindowMeta) -> int:
            return next(numbers)

    assembler = Careless([P])
    assembler.accept(delivery(starts=(0,), attempt=2, last=False))
    assembler.accept(delivery(starts=(0,), attempt=1, total=2))
    assert len(assembler.take_whole(P)[0].items[0].rows) == 2
