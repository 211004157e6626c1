from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ConfigError
from pipeline.config import PoolConfig
from pipeline.runtime.placement import PoolPlan, place
from pipeline.scale.allocate import Node


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
