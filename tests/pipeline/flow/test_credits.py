from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import InvariantError
from pipeline.flow.credits import Credits, Valve


def test_what_fits_is_admitted_and_what_does_not_is_not() -> None:
    room = Credits(100)
    room.take(60)
    assert room.admits(40)
    assert not room.admits(41)


def test_one_reservation_larger_than_the_budget_is_admitted_when_nothing_is_held() -> None:
    room = Credits(100)
    assert room.admits(1000)
    room.take(1000)
    assert not room.admits(1)
    room.give(1000)
    assert room.admits(1000)


def test_giving_back_more_than_was_taken_is_an_invariant_broken() -> None:
    room = Credits(100)
    room.take(10)
    with pytest.raises(InvariantError, match="1 bytes more"):
        room.give(11)


@given(st.integers(1, 1000), st.lists(st.tuples(st.booleans(), st.integers(1, 2000))))
def test_the_budget_is_passed_only_by_one_that_runs_alone(limit: int, steps: list[tuple[bool, int]]) -> None:
    room, held = Credits(limit), list[int]()
    for taking, size in steps:
        if taking and room.admits(size):
            room.take(size)
            held.append(size)
        elif not taking and held:
            room.give(held.pop(size % len(held)))
        assert room.used_bytes == sum(held)
        assert room.used_bytes <= limit or len(held) == 1
        assert room.peak_bytes >= room.used_bytes


def test_a_valve_closes_at_the_high_mark_and_opens_at_the_low_one() -> None:
    valve = Valve(low=2, high=8)
    seen = [valve.update(level) for level in (0, 7, 8, 5, 3, 2, 7, 8)]
    assert seen == [False, False, True, True, True, False, False, True]


@given(st.lists(st.integers(0, 20)))
def test_between_the_marks_a_valve_stays_as_it_was(levels: list[int]) -> None:
    valve, before = Valve(low=5, high=15), False
    for level in levels:
        now = valve.update(level)
        assert now is (True if level >= 15 else False if level <= 5 else before)
        before = now
