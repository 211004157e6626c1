from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from pipeline.flow.call_times import KNOWN_CALLS, CallTimes, Deadlines

PREPARE = "prepare"


def known(took_s: float, deadlines: Deadlines | None = None) -> CallTimes:
    """A stage whose calls have taken so long until 1,000 s, when somebody looked."""
    times = CallTimes(deadlines)
    for call in range(-KNOWN_CALLS, 0):
        times.begin(call, PREPARE, "w", 1000.0 - took_s)
        times.end(call, 1000.0)
    assert times.overdue(1000.0) == ()
    return times


def looked(times: CallTimes, from_s: float, until_s: float) -> list[int]:
    """Calls that are overdue at `until_s`, for somebody who looks every second."""
    for second in range(int(from_s), int(until_s)):
        times.overdue(float(second))
    return [age.call for age in times.overdue(until_s)]


def test_how_long_calls_take_is_unknown_before_enough_have_ended() -> None:
    times = CallTimes()
    for call in range(KNOWN_CALLS):
        assert times.p99_s(PREPARE) is None
        times.begin(call, PREPARE, "w", 0.0)
        times.end(call, 2.0)
    assert times.p99_s(PREPARE) == 2.0


def test_a_call_behind_another_one_is_not_old() -> None:
    times = CallTimes()
    times.begin(1, PREPARE, "w", 0.0)
    times.begin(2, PREPARE, "w", 1.0)
    assert [(age.call, age.age_s) for age in times.under_way(10.0)] == [(1, 10.0), (2, 0.0)]
    times.end(1, 10.0)
    assert [(age.call, age.age_s) for age in times.under_way(12.0)] == [(2, 2.0)]


def test_fast_calls_have_the_least_deadline_and_slow_ones_a_multiple_of_what_they_take() -> None:
    assert known(0.1).deadline_s(PREPARE) == 60.0
    assert known(10.0).deadline_s(PREPARE) == 200.0
    assert known(200.0).deadline_s(PREPARE) == 1800.0
    assert known(0.1, Deadlines(least_of_s={PREPARE: 600.0})).deadline_s(PREPARE) == 600.0
    assert known(0.1, Deadlines(most_s=3.0)).deadline_s(PREPARE) == 3.0


def test_a_stage_that_has_not_shown_its_speed_is_given_longer() -> None:
    assert CallTimes().deadline_s(PREPARE) == 600.0


def test_a_call_past_its_deadline_is_overdue() -> None:
    times = known(0.1)
    times.begin(1, PREPARE, "v", 1000.0)
    assert looked(times, 1000.0, 1059.0) == []
    assert looked(times, 1059.0, 1060.0) == [1]
    times.end(1, 1060.0, answered=False)
    assert looked(times, 1060.0, 1061.0) == []


def test_time_in_which_nobody_looked_makes_no_call_overdue() -> None:
    times = known(0.1)
    times.begin(1, PREPARE, "v", 1000.0)
    assert looked(times, 1000.0, 1002.0) == []
    assert times.overdue(9000.0) == ()
    assert looked(times, 9000.0, 9057.0) == []
    assert looked(times, 9057.0, 9058.0) == [1]


def test_what_was_not_answered_says_nothing_about_how_long_calls_take() -> None:
    times = CallTimes()
    for call in range(2 * KNOWN_CALLS):
        times.begin(call, PREPARE, "w", 0.0)
        times.end(call, 5.0, answered=False)
    assert times.p99_s(PREPARE) is None
    assert times.ended == 2 * KNOWN_CALLS


def test_the_percentile_leaves_out_one_in_a_hundred() -> None:
    times = CallTimes()
    for call in range(200):
        times.begin(call, PREPARE, "w", 0.0)
        times.end(call, 900.0 if call in {7, 77} else 1.0)
    assert times.p99_s(PREPARE) == 1.0


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 20.0)), max_size=60))
def test_a_call_is_never_older_than_since_it_was_sent_and_each_ends_once(
    calls: list[tuple[int, float]],
) -> None:
    times, now_s, sent = CallTimes(), 0.0, dict[int, float]()
    for call, (worker, gap_s) in enumerate(calls):
        times.begin(call, PREPARE, f"w{worker}", now_s)
        sent[call] = now_s
        now_s += gap_s
        ages = times.under_way(now_s)
        assert {age.call for age in ages} == set(sent)
        assert all(0.0 <= age.age_s <= now_s - sent[age.call] + 1e-9 for age in ages)
        if gap_s > 10.0:
            times.end(sent.popitem()[0], now_s)
    for call in list(sent):
        times.end(call, now_s)
        times.end(call, now_s)
    assert times.ended == len(calls)
    assert times.under_way(now_s) == ()
