from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.follow import MOST_AT_ONCE, ReadAhead
from pipeline.lake.pace import CONFLICTS_BORNE, JITTER, MOST_STRETCH, Pace, PaceReason
from tests.pipeline.lake.replicas import Latency, Replicas

CROWD = CONFLICTS_BORNE + 1


def steady(interval_s: float = 10.0) -> Pace:
    return Pace(interval_s, lambda: 0.5)


def test_without_conflicts_commits_keep_the_configured_interval() -> None:
    pace = steady()
    for began_s in (100.0, 110.0, 120.0):
        due = pace.after(began_s, took_s=0.2, conflicts=CONFLICTS_BORNE)
        assert (due.at_s, due.interval_s, due.reason) == (began_s + 10, 10, PaceReason.CONFIGURED)


def test_conflicts_stretch_the_interval_up_to_a_cap_and_calm_shrinks_it_back() -> None:
    pace = steady()
    crowded = [pace.after(0, 0.2, CROWD) for _ in range(20)]
    assert [due.interval_s for due in crowded[:2]] == [12.5, 15.625]
    assert crowded[-1].interval_s == 10 * MOST_STRETCH
    assert {due.reason for due in crowded} == {PaceReason.CROWDED}
    calm = [pace.after(0, 0.2, 0) for _ in range(30)]
    assert [due.reason for due in calm[:2]] == [PaceReason.CALMING] * 2
    assert calm[0].interval_s > calm[1].interval_s > calm[2].interval_s
    assert (calm[-1].interval_s, calm[-1].reason) == (10, PaceReason.CONFIGURED)


def test_a_slow_commit_leaves_room_before_the_next_but_an_outage_does_not_stop_the_run() -> None:
    slow = steady().after(0, took_s=8, conflicts=0)
    assert (slow.interval_s, slow.reason) == (24, PaceReason.SLOW)
    assert steady().after(0, took_s=600, conflicts=0).interval_s == 10 * MOST_STRETCH


def test_replicas_that_start_together_spread() -> None:
    rng = random.Random(0)
    first = sorted(Pace(10, rng.random).first(0).at_s for _ in range(100))
    assert 5 <= first[0] < 6
    assert 9 < first[-1] <= 10


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 100)), max_size=50),
    st.floats(0.01, 100),
    st.randoms(use_true_random=False),
)
def test_the_interval_stays_within_its_bounds(
    commits: list[tuple[float, int]], interval_s: float, rng: random.Random
) -> None:
    pace = Pace(interval_s, rng.random)
    for took_s, conflicts in commits:
        due = pace.after(7, took_s, conflicts)
        least_s, most_s = interval_s * (1 - JITTER), interval_s * MOST_STRETCH * (1 + JITTER)
        assert least_s * 0.999 <= due.interval_s <= most_s * 1.001
        assert due.at_s == 7 + due.interval_s


# --- reading ahead


def test_reading_ahead_grows_while_there_is_more_and_never_trusts_an_absence_twice() -> None:
    ahead, there, asked = ReadAhead(), 100, list[int]()
    version = 1
    while True:
        wanted = ahead.wanted(version)
        if wanted:
            asked.append(len(wanted))
            ahead.give({each: b"v" if each <= there else None for each in wanted})
        if ahead.take(version) is None:
            break
        version += 1
    assert version == there + 1
    assert asked[:6] == [1, 2, 4, 8, MOST_AT_ONCE, MOST_AT_ONCE]
    assert len(ahead.wanted(version)) > 0, "it has been told once; the next time it is read again"


def test_after_a_put_that_went_through_one_version_is_read() -> None:
    ahead = ReadAhead()
    ahead.give({1: b"a"})
    ahead.give({2: b"b", 3: b"c"})
    ahead.after_put(exists=False)
    assert ahead.wanted(3) == range(3, 4)
    ahead.give({3: b"mine"})
    ahead.after_put(exists=True)
    assert ahead.wanted(4) == range(4, 8)


# --- many replicas, by the model


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@pytest.mark.parametrize(("replicas", "p99_s"), [(1, 0.25), (8, 0.6), (32, 1.2)])
def test_replicas_share_a_log(replicas: int, p99_s: float) -> None:
    world = Replicas(random.Random(0), [Latency()] * replicas, interval_s=10)
    landed = world.run(80)
    assert len(landed) >= 7 * replicas
    assert percentile([each.took_s for each in landed], 0.99) < p99_s


def test_where_the_log_is_crowded_the_pace_makes_fewer_versions_and_faster_commits() -> None:
    took_s = dict[bool, float]()
    for adapts in (False, True):
        world = Replicas(random.Random(0), [Latency()] * 48, interval_s=1, adapts=adapts)
        took_s[adapts] = percentile([each.took_s for each in world.run(20) if each.at_s > 5], 0.99)
    assert took_s[True] < 0.7 * took_s[False]


def test_no_replica_is_starved_not_even_one_with_a_slow_store() -> None:
    slow = Latency(put_s=(0.06, 0.2), read_s=(0.04, 0.12))
    world = Replicas(random.Random(0), [*[Latency()] * 31, slow], interval_s=2)
    commits = Counter(each.replica for each in world.run(80))
    assert min(commits[replica] for replica in range(31)) > 10
    assert commits[31] > 5
    assert max(each.took_s for each in world.landed if each.replica == 31) < 15
