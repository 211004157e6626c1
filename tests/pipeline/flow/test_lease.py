from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from operators.records import MediaReference, Origin
from pipeline.flow.calls import Lease
from pipeline.flow.lease import RETRY_FIRST_S, RETRY_MOST_S, LeaseQueue, backoff_s
from pipeline.flow.outages import Outages


def lease(number: int, tries: int = 0) -> Lease:
    return Lease(number, MediaReference("x", Origin("s", 0, number, 0)), tries=tries)


def outages() -> Outages:
    return Outages(window_s=30.0, outage_most_s=600.0, most_tries=6, rng=random.Random(2))


def queue(dead: set[int] | None = None) -> LeaseQueue:
    return LeaseQueue(lambda one: one.attempt not in (dead or ()), random.Random(1), outages())


def numbers(leases: tuple[Lease, ...]) -> list[int]:
    return [one.attempt for one in leases]


@given(st.integers(0, 2000), st.integers(0, 99))
def test_backing_off_never_passes_its_bound(tries: int, seed: int) -> None:
    wait_s = backoff_s(tries, random.Random(seed))
    assert 0 <= wait_s <= min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(tries, 100))


def test_leases_go_first_in_first_out_and_no_more_than_asked() -> None:
    waiting = queue()
    for number in range(5):
        waiting.add(lease(number))
    assert numbers(waiting.take(3)) == [0, 1, 2]
    assert numbers(waiting.take(3)) == [3, 4]
    assert waiting.take(3) == ()


def test_a_further_segment_waits_for_the_worker_that_gave_the_one_before() -> None:
    waiting = queue(dead={4})
    waiting.add(lease(1))
    waiting.go_on(lease(2), "w1")
    waiting.go_on(lease(3), "w2")
    waiting.go_on(lease(4), "w2")
    assert (len(waiting), waiting.unbound, waiting.bound_workers) == (4, 1, ("w1", "w2"))
    assert numbers(waiting.take_bound("w2", 5)) == [3]
    assert numbers(waiting.take(5)) == [1]
    assert waiting.bound_workers == ("w1",)


def test_what_was_bound_to_a_worker_that_is_gone_goes_before_what_has_not_begun() -> None:
    waiting = queue()
    waiting.add(lease(1))
    waiting.go_on(lease(2), "w1")
    waiting.go_on(lease(3), "w1")
    waiting.unbind("w1")
    assert (waiting.ranges, waiting.fresh) == (2, 1)
    assert numbers(waiting.take_ranges(5)) == [2, 3]


def test_further_ranges_of_what_began_first_go_first_and_never_two_of_one_item() -> None:
    waiting = queue()
    later, first = (replace(lease(number), cursor={"at": number}) for number in (1, 2))
    waiting.fork([later, replace(later, cursor={"at": 8})])
    waiting.fork([first, replace(first, cursor={"at": 9})])
    waiting.add(lease(3))
    assert (len(waiting), waiting.unbound, waiting.ranges, waiting.fresh) == (5, 5, 4, 1)
    assert [one.cursor for one in waiting.take_ranges(5)] == [{"at": 2}]
    assert [one.cursor for one in waiting.take_ranges(5)] == [{"at": 9}, {"at": 1}]
    assert [one.cursor for one in waiting.take_ranges(5)] == [{"at": 8}]
    assert numbers(waiting.take(5)) == [3]


def test_a_range_that_is_tried_again_keeps_its_place_in_its_item() -> None:
    waiting = queue()
    waiting.retry_later(replace(lease(1, tries=1), cursor={"at": 5}), "down", now_s=0.0)
    waiting.wake(now_s=60.0)
    assert (waiting.ranges, waiting.fresh) == (1, 0)


def test_further_segments_that_nobody_wants_are_named_with_the_workers_that_have_their_files() -> None:
    dead: set[int] = set()
    waiting = queue(dead)
    waiting.go_on(lease(1), "w1")
    waiting.go_on(lease(2), "w1")
    waiting.go_on(lease(3), "w2")
    assert waiting.take_abandoned() == ()
    dead |= {2, 3}
    assert sorted((worker, one.attempt) for worker, one in waiting.take_abandoned()) == [("w1", 2), ("w2", 3)]
    assert waiting.take_abandoned() == ()
    assert waiting.bound_workers == ("w1",)


def test_suspects_go_as_their_own_group_and_never_mixed() -> None:
    waiting = queue()
    waiting.add(lease(1))
    waiting.add_apart([lease(2), lease(3), lease(4)])
    waiting.add_apart([])
    waiting.add_apart([lease(5)])
    assert len(waiting) == 5
    assert numbers(waiting.take(2)) == [2, 3, 4]
    assert numbers(waiting.take(2)) == [5]
    assert numbers(waiting.take(2)) == [1]


def test_what_is_no_longer_wanted_is_dropped_when_its_turn_comes() -> None:
    waiting = queue(dead={1, 2, 4})
    waiting.add_apart([lease(1), lease(2)])
    waiting.add_apart([lease(3), lease(4)])
    waiting.add(lease(4))
    waiting.add(lease(5))
    assert numbers(waiting.take(9)) == [3]
    assert numbers(waiting.take(9)) == [5]
    assert len(waiting) == 0


def test_a_retry_waits_until_it_is_due() -> None:
    waiting = queue()
    waiting.retry_later(lease(1, tries=3), "503", now_s=100.0)
    due_s = waiting.next_due_s
    assert due_s is not None and 100.0 <= due_s <= 104.0
    waiting.wake(due_s - 1e-6)
    assert (len(waiting), waiting.delayed) == (0, 1)
    waiting.wake(due_s)
    assert (len(waiting), waiting.delayed, waiting.next_due_s) == (1, 0, None)


@given(st.lists(st.integers(0, 8), max_size=30), st.integers(0, 9))
def test_retries_come_back_in_the_order_of_their_dues_and_none_is_lost(tries: list[int], seed: int) -> None:
    waiting = LeaseQueue(lambda _: True, random.Random(seed), outages())
    for number, count in enumerate(tries):
        waiting.retry_later(lease(number, count), "503", now_s=float(number))
    back: list[int] = []
    now_s = 0.0
    while waiting.next_due_s is not None:
        assert waiting.next_due_s >= now_s
        now_s = waiting.next_due_s
        waiting.wake(now_s)
        back += numbers(waiting.take(99))
    assert sorted(back) == list(range(len(tries)))
