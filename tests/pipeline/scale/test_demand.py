from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from pipeline.scale.demand import HOLD_S, Demand, PoolDemand, joined, told
from pipeline.scale.packing import Share

CPU, GPU = Share(1.0, 0.0), Share(2.0, 0.5)

POOLS = st.fixed_dictionaries(
    {
        name: st.builds(
            PoolDemand, st.just(share), present=st.integers(0, 9), wanted=st.integers(0, 9), short=st.booleans()
        )
        for name, share in (("image/workers", CPU), ("image/tokenize", GPU), ("text/workers", CPU))
    }
)
ROUNDS = st.lists(st.tuples(POOLS, st.floats(0.0, 20.0)), min_size=1, max_size=40)


def test_nothing_is_asked_for_while_everything_fits() -> None:
    fits = {"a": PoolDemand(CPU, present=3, wanted=5, short=False)}
    assert Demand().update(fits, 0.0) == {}


def test_a_missing_worker_is_asked_for_together_with_all_there_are() -> None:
    pools = {
        "a": PoolDemand(CPU, present=3, wanted=5, short=True),
        "b": PoolDemand(GPU, present=2, wanted=2, short=False),
    }
    assert Demand().update(pools, 0.0) == {CPU: 5, GPU: 2}


def test_a_wish_that_is_granted_is_withdrawn_after_a_while() -> None:
    demand = Demand()
    demand.update({"a": PoolDemand(CPU, 0, 1, short=True)}, 0.0)
    granted = {"a": PoolDemand(CPU, 1, 1, short=False)}
    assert demand.update(granted, HOLD_S) == {CPU: 1}
    assert demand.update(granted, HOLD_S + 1.0) == {}


def test_a_wish_that_comes_and_goes_each_second_is_asked_for_once() -> None:
    demand = Demand()
    asked = [
        demand.update({"a": PoolDemand(CPU, 1, wanted, short=wanted > 1)}, float(now_s))
        for now_s, wanted in enumerate([4, 1, 3, 1, 4, 2, 1, 4])
    ]
    assert asked == [{CPU: 4}] * 8


def test_a_smaller_wish_takes_the_place_of_a_larger_one_that_is_old() -> None:
    demand = Demand()
    for now_s in range(60):
        bundles = demand.update({"a": PoolDemand(CPU, 1, 9 if now_s == 0 else 3, short=True)}, float(now_s))
    assert bundles == {CPU: 3}


@given(ROUNDS)
def test_what_is_short_is_in_what_is_asked_for_and_nothing_is_beyond_what_was_wished(
    rounds: list[tuple[dict[str, PoolDemand], float]],
) -> None:
    demand, now_s = Demand(), 0.0
    most: dict[str, int] = dict.fromkeys(rounds[0][0], 0)
    for pools, gap_s in rounds:
        now_s += gap_s
        bundles = demand.update(pools, now_s)
        for name, pool in pools.items():
            most[name] = max(most[name], pool.wanted, pool.present)
        for share in (CPU, GPU):
            mine = [name for name, pool in pools.items() if pool.share == share]
            assert bundles.get(share, 0) <= sum(most[name] for name in mine)
            if any(pool.short for pool in pools.values()):
                needed = sum(max(pools[name].present, pools[name].wanted * pools[name].short) for name in mine)
                assert bundles.get(share, 0) >= needed
        assert 0 not in bundles.values()


@given(ROUNDS)
def test_without_a_shortage_all_is_withdrawn(rounds: list[tuple[dict[str, PoolDemand], float]]) -> None:
    demand, now_s = Demand(), 0.0
    for pools, gap_s in rounds:
        now_s += gap_s
        demand.update(pools, now_s)
    assert demand.update({name: PoolDemand(CPU, 5, 5, short=False) for name in rounds[0][0]}, now_s + HOLD_S + 1) == {}


def test_processes_on_one_cluster_ask_for_their_sum() -> None:
    assert joined({"a": {CPU: 2}, "b": {CPU: 1, GPU: 4}, "c": {}}) == {CPU: 3, GPU: 4}


def test_what_is_asked_for_in_words() -> None:
    assert told({CPU: 3, GPU: 1}) == "1 × 2 CPU and 0.5 GPU, 3 × 1 CPU"
    assert told({}) == ""
