from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.scale.allocate import GrantReason, Node
from pipeline.scale.plan import PoolRequest, plan
from pipeline.scale.records import PoolLimits, PoolMemory, PoolSignals, ScaleReason


def pool(workers: int, queued: int, limits: PoolLimits, cpus: float = 1.0) -> PoolRequest:
    seen = PoolSignals(queued, queued, workers, 0, workers, 0, 0, queued, 0, 0.0, 1.0)
    return PoolRequest(seen, limits, PoolMemory(finished_items=100, items=100.0, busy_s=10.0), cpus)


def test_pools_that_fit_get_what_they_want() -> None:
    plans = plan({"image": pool(1, 300, PoolLimits(0, 8)), "text": pool(0, 0, PoolLimits(0, 8))}, [Node(8)], 1.0)
    assert plans["image"].decision.reason == ScaleReason.UP_BACKLOG
    assert plans["image"].grant.reason == GrantReason.GRANTED
    assert plans["text"].decision.target_workers == 0


def test_pools_that_compete_share_and_say_so() -> None:
    requests = {"image": pool(4, 3000, PoolLimits(1, 32)), "audio": pool(1, 3000, PoolLimits(1, 32))}
    plans = plan(requests, [Node(6)], 1.0)
    assert {name: each.decision.target_workers for name, each in plans.items()} == {"image": 3, "audio": 3}
    assert {each.decision.reason for each in plans.values()} == {ScaleReason.CLAMPED_CAPACITY}
    assert plans["image"].decision.wanted_workers == 16


def test_a_pool_that_cannot_start_says_why_at_once() -> None:
    requests = {name: pool(0, 0, PoolLimits(1, 4)) for name in ("a", "b", "c")}
    plans = plan(requests, [Node(2)], 0.0)
    assert [name for name, each in plans.items() if not each.grant.starts] == ["c"]
    assert plans["c"].decision.reason == ScaleReason.CLAMPED_CAPACITY
    assert plans["c"].grant.detail == "0 of 1 workers fit: a worker takes 1 CPU, at most 0 are free on a node"


def lone(name: str, workers: int, worked_s: float, seen: int = 1000, starting: int = 0) -> PoolRequest:
    """A lane of one pool with more to do than there will ever be workers; `seen` items took `worked_s`."""
    limits, queued = PoolLimits(1, 1000), 10**6
    signals = PoolSignals(queued, queued, workers, 0, workers - starting, starting, 0, queued, 0, 0.0, 1.0)
    memory = PoolMemory(1000, 100.0, 100.0 * worked_s / seen, arrived=seen, left=seen, worked_s=worked_s)
    return PoolRequest(signals, limits, memory, lane=name)


def sizes(requests: dict[str, PoolRequest], cpus: float) -> dict[str, int]:
    return {name: each.decision.target_workers for name, each in plan(requests, [Node(cpus)], 1.0).items()}


def test_what_a_pool_is_about_to_need_is_not_lent_to_another() -> None:
    # The small one grows fourfold a step; the other does not take what it will need two steps later.
    assert sizes({"a": lone("a", 1, 100.0), "b": lone("b", 40, 100.0)}, 128) == {"a": 4, "b": 64}


@pytest.mark.parametrize(("seen", "after"), [(10_000, {"a": 50, "b": 50}), (100, {"a": 46, "b": 54})])
def test_workers_are_not_moved_for_what_may_be_a_measuring_error(seen: int, after: dict[str, int]) -> None:
    requests = {name: lone(name, workers, seen / 10.0, seen) for name, workers in (("a", 46), ("b", 54))}
    assert sizes(requests, 100) == after


def test_a_lane_that_comes_back_after_hours_gets_its_share_of_full_machines() -> None:
    faded = lone("a", 0, 1e-3, seen=1)
    memory = replace(faded.memory, left=0.01, arrived=0.01)
    assert sizes({"a": replace(faded, memory=memory), "b": lone("b", 100, 100.0)}, 100)["a"] > 0


def test_nobody_is_moved_for_workers_that_still_start() -> None:
    slow, fast = lone("a", 20, 100.0, starting=15), lone("b", 80, 100.0)
    assert sizes({"a": slow, "b": fast}, 100) == {"a": 20, "b": 80}
    ready = replace(slow, signals=replace(slow.signals, workers_ready=20, workers_starting=0))
    assert sizes({"a": ready, "b": fast}, 100) == {"a": 50, "b": 50}
