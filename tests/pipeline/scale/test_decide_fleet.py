"""What a decision remembers, and how it sizes pools of thousands and pools within a lane."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.scale.allocate import GrantReason, Node, Wish, allocate
from pipeline.scale.decide import decide
from pipeline.scale.plan import PoolRequest, plan
from pipeline.scale.records import LaneView, PoolLimits, PoolMemory, PoolSignals, ScaleReason

WIDE = PoolLimits(1, 100_000)
TEN_A_SECOND = PoolMemory(finished_items=1000, items=200.0, busy_s=20.0, arrived=1000.0, left=1000.0, worked_s=100.0)


def seen(workers: int, queued: int = 0, arrived: int = 0, **more: int) -> PoolSignals:
    made = PoolSignals(queued, queued, workers, 0, workers, 0, 0, arrived, 0, 0.0, 1.0)
    return replace(made, **more)


@pytest.mark.parametrize(("load", "busy"), [(2, 0.65), (20, 0.68), (400, 0.9), (4000, 0.96)])
def test_the_larger_the_pool_the_less_rest_its_workers_need(load: int, busy: float) -> None:
    memory = replace(TEN_A_SECOND, arrival_hz=load * 10.0)
    decision = decide(
        seen(1, arrived=load * 10, upstream_items=10**6), replace(WIDE, growth=1e9), memory, 1.0, LaneView(load=load)
    )
    assert busy <= load / decision.target_workers < 1.0


def test_lag_at_the_source_counts_for_the_first_pool() -> None:
    assert decide(seen(2, upstream_items=10_000), WIDE, TEN_A_SECOND, 1.0).reason is not ScaleReason.UP_BACKLOG
    lagging = decide(seen(2, upstream_items=10_000, lag_items=10_000), WIDE, TEN_A_SECOND, 1.0)
    assert (lagging.target_workers, lagging.reason) == (8, ScaleReason.UP_BACKLOG)


def test_no_worker_is_started_for_what_is_gone_before_it_is_ready() -> None:
    queue = seen(10, queued=1000, arrived=10)
    memory = replace(TEN_A_SECOND, arrival_hz=80.0)
    assert decide(queue, WIDE, memory, 1.0).target_workers > 10
    assert decide(queue, WIDE, replace(memory, start_s=60.0), 1.0).target_workers == 10


def test_a_lull_shorter_than_a_start_moves_nobody() -> None:
    memory = replace(TEN_A_SECOND, start_s=120.0, low_since_s=0.0)
    assert decide(seen(9), WIDE, memory, 100.0).reason is ScaleReason.HOLD_HYSTERESIS
    assert decide(seen(9), WIDE, memory, 120.0).reason is ScaleReason.DOWN_OVERSIZED


def test_a_start_is_measured_from_the_first_worker_that_starts_to_the_last_that_is_ready() -> None:
    memory = TEN_A_SECOND
    for now_s, starting in ((1.0, 2), (5.0, 3), (20.0, 1), (31.0, 0)):
        memory = decide(seen(4, workers_starting=starting), WIDE, memory, now_s).memory
    assert memory.start_s == 30.0


def test_whoever_shrank_and_soon_grew_again_waits_twice_as_long() -> None:
    memory = replace(TEN_A_SECOND, down_s=0.0)
    grown = decide(seen(2, queued=5000, arrived=20), WIDE, memory, 60.0)
    assert grown.reason is ScaleReason.UP_BACKLOG
    assert (grown.memory.regrets, grown.memory.down_s) == (1, None)
    low = replace(grown.memory, low_since_s=100.0, low_peak=1, arrival_hz=0.0)
    assert decide(seen(9), WIDE, low, 159.0).reason is ScaleReason.HOLD_HYSTERESIS
    assert decide(seen(9), WIDE, low, 160.0).reason is ScaleReason.DOWN_OVERSIZED
    assert decide(seen(2, queued=5000), WIDE, replace(grown.memory, down_s=0.0), 9e9).memory.regrets == 0


def test_a_thousand_workers_of_whom_a_few_are_free_are_still_the_bottleneck() -> None:
    memory = replace(TEN_A_SECOND, arrival_hz=10_000.0)
    busy = seen(1000, queued=10**6, arrived=10_000)
    assert decide(replace(busy, in_flight_units=950), WIDE, memory, 1.0).reason is ScaleReason.UP_BACKLOG
    assert decide(replace(busy, in_flight_units=500), WIDE, memory, 1.0).reason is ScaleReason.HOLD_NOT_BOTTLENECK


def lane(prepare: int, tokenize: int, lag: int) -> dict[str, PoolRequest]:
    """The first stage does 20 a second, the second 5."""
    fast = replace(TEN_A_SECOND, items=400.0, worked_s=50.0)
    slow = replace(TEN_A_SECOND, items=100.0, worked_s=200.0)
    first = seen(prepare, queued=lag and 2000, lag_items=lag, upstream_items=lag)
    second = seen(tokenize, upstream_items=lag)
    return {
        "image/workers": PoolRequest(first, WIDE, fast, lane="image"),
        "image/tokenize": PoolRequest(second, WIDE, slow, lane="image"),
    }


def test_a_lanes_stages_grow_together_not_one_after_the_other() -> None:
    plans = plan(lane(4, 16, lag=10**6), [Node(1000)], 1.0)
    workers = {name: each.decision.target_workers for name, each in plans.items()}
    assert workers == {"image/workers": 16, "image/tokenize": 64}


def test_too_few_machines_are_split_so_that_the_stages_are_equally_fast() -> None:
    plans = plan(lane(40, 10, lag=10**6), [Node(50)], 1.0)
    workers = {name: each.decision.target_workers for name, each in plans.items()}
    assert workers == {"image/workers": 10, "image/tokenize": 40}


def test_a_split_that_is_good_enough_stays() -> None:
    plans = plan(lane(40, 160, lag=10**6), [Node(202)], 1.0)
    workers = {name: each.decision.target_workers for name, each in plans.items()}
    assert workers == {"image/workers": 40, "image/tokenize": 160}
    assert {each.grant.reason for each in plans.values()} == {GrantReason.KEPT}


def test_what_would_not_make_its_lane_faster_is_left_to_others() -> None:
    wishes = {
        "a/prepare": Wish(100, lane="a", speed=1.0),
        "a/tokenize": Wish(100, cpus=0.0, gpus=1.0, lane="a", speed=1.0),
        "b": Wish(90),
    }
    grants = allocate(wishes, [Node(100, 4)])
    assert {name: grant.workers for name, grant in grants.items()} == {"a/prepare": 5, "a/tokenize": 4, "b": 90}
    assert grants["a/prepare"].reason is GrantReason.LANE_LIMITED
