from __future__ import annotations

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
