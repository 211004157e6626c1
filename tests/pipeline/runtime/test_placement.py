from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ConfigError
from pipeline.config import PoolConfig
from pipeline.runtime.placement import PoolPlan, hardest_first, place, wish
from pipeline.scale.allocate import Node
from pipeline.scale.packing import Room


def pool(name: str, cpus: float = 1.0, gpus: float = 0.0, least: int = 0) -> PoolPlan:
    return PoolPlan(f"{name}/workers", name, ("prepare",), cpus, gpus, PoolConfig(min=least, max=64), 1.0)


def test_pools_that_fit_are_left_as_configured() -> None:
    pools = (pool("image"), pool("text"))
    placement = place(pools, [Node(cpus=2)])
    assert placement.pools == pools
    assert placement.notes == ()


@given(st.lists(st.floats(0.5, 4), min_size=1, max_size=5), st.floats(1, 4))
def test_on_a_small_host_everything_starts(cpus: list[float], host_cpus: float) -> None:
    pools = [pool(str(number), cpus=round(each, 2)) for number, each in enumerate(cpus)]
    placement = place(pools, [Node(cpus=host_cpus)])
    assert sum(p.cpus * p.least for p in placement.pools) <= max(host_cpus, 0.05 * len(pools)) + 1e-6
    if sum(p.cpus for p in pools) > host_cpus:
        assert "CPUs" in placement.notes[0]


def test_gpu_shares_that_cannot_fit_are_refused_with_the_sum() -> None:
    with pytest.raises(ConfigError) as caught:
        place([pool("image", gpus=0.6, least=3)], [Node(cpus=8, gpus=2)])
    assert "lanes.image.workers" in str(caught.value)
    assert "2 of 3 workers fit" in str(caught.value)
    assert "0.6 GPU" in str(caught.value)


def test_a_gpu_pool_on_a_host_without_gpus_says_so_at_once() -> None:
    with pytest.raises(ConfigError, match="GPU"):
        place([pool("image", gpus=1.0)], [Node(cpus=8)])


def test_the_sum_of_the_gpus_is_said_and_what_would_fit() -> None:
    with pytest.raises(ConfigError) as caught:
        place([pool("image", gpus=0.6, least=3)], [Node(cpus=8, gpus=2)])
    assert "3 × 0.6 (image/workers) = 1.8 GPUs, the cluster has 2" in str(caught.value)
    assert "`gpus: 0.5` at most" in str(caught.value)


def test_whole_gpus_must_be_of_one_node() -> None:
    place([pool("image", gpus=2)], [Node(cpus=8, gpus=2)])
    with pytest.raises(ConfigError, match="on one node; no node is that large"):
        place([pool("image", gpus=2)], [Node(cpus=8, gpus=1), Node(cpus=8, gpus=1)])


def test_the_cpus_beside_a_gpu_are_shared_where_they_are_too_few() -> None:
    placement = place([pool("image", cpus=4, gpus=1.0)], [Node(cpus=64), Node(cpus=2, gpus=1)])
    assert placement.pools[0].cpus == pytest.approx(2.0, abs=0.02)
    assert "the cluster has 66, on 2 nodes" in placement.notes[0]


def test_workers_that_only_the_sum_has_cpus_for_are_repacked() -> None:
    placement = place([pool("image", cpus=1, least=3)], [Node(cpus=1.5), Node(cpus=1.5)])
    assert placement.pools[0].cpus == pytest.approx(0.75, abs=0.01)
    assert placement.notes[0].startswith("3 × 1 (image/workers) = 3 CPUs, the cluster has 3, on 2 nodes")


def test_pools_without_gpus_that_are_too_many_say_their_cpus() -> None:
    with pytest.raises(ConfigError, match=r"= 2 CPUs, the cluster has 1$"):
        place([pool("image", least=40)], [Node(cpus=1)])


def test_a_tight_fit_that_ray_may_miss_is_said() -> None:
    nodes = [Node(cpus=5), Node(cpus=4, gpus=1)]
    (note,) = place([pool("video", cpus=3), pool("image", cpus=2, least=2), pool("text", cpus=2)], nodes).notes
    assert "one that takes 2 CPU of a single node may have to wait" in note


def test_what_is_hard_to_place_starts_first() -> None:
    pools = [pool("text"), pool("video", cpus=4), pool("image", gpus=0.5)]
    assert [each.lane for each in hardest_first(pools)] == ["image", "video", "text"]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 0.6, 1, 2]), st.integers(0, 3)),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.builds(Node, st.sampled_from([1.0, 4.0, 8.0]), st.integers(0, 2)), min_size=1, max_size=4),
    st.data(),
)
def test_what_is_accepted_without_a_word_starts_wherever_ray_puts_it(
    given: list[tuple[float, float, int]], nodes: list[Node], data: st.DataObject
) -> None:
    pools = [pool(str(number), *each) for number, each in enumerate(given)]
    try:
        placement = place(pools, nodes)
    except ConfigError:
        return
    if any("tightly" in note for note in placement.notes):
        return
    rooms = [Room([node]) for node in nodes]
    for planned in hardest_first(placement.pools):
        share = wish(planned, planned.least).share
        for _ in range(planned.least):
            fitting = [number for number, room in enumerate(rooms) if Room(room).place(share)]
            assert fitting, f"{planned.name} waits for ever"
            rooms[data.draw(st.sampled_from(fitting))].place(share)
