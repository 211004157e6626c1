from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ConfigError
from pipeline.app.plan.nodes import parse_nodes
from pipeline.app.plan.plan import Plan, PlannedLane, make_plan
from pipeline.config import PoolConfig
from pipeline.scale.arrange import ArrangeReason
from pipeline.scale.forecast import Limit
from tests.pipeline.app.plan.measures import MIB, lanes_of, measured


def planned(
    nodes: str, costs: tuple[float, float] = (0.01, 0.01), *, lane: Mapping[str, Any] | None = None, **changes: Any
) -> Plan:
    config, lanes = lanes_of(image=lane or {})
    return make_plan(config, lanes, {"image": measured(lanes[0], *costs, **changes)}, parse_nodes(nodes))


def image(plan: Plan) -> PlannedLane:
    (lane,) = plan.lanes
    return lane


def workers(plan: Plan) -> dict[str, int]:
    return {each.pool.name: each.workers for lane in plan.lanes for each in lane.pools}


def test_a_small_host_keeps_one_fused_pool() -> None:
    plan = planned("2cpu")
    assert workers(plan) == {"image/workers": 2}
    assert not image(plan).arrangement.apart
    assert image(plan).expected.rate_hz == pytest.approx(1.95 / 0.0202, rel=0.05)
    assert plan.changes == ()


def test_two_pools_on_a_small_host_are_fused_where_that_is_faster() -> None:
    plan = planned("2cpu", (0.002, 0.02), lane={"tokenize": {"max": 4}})
    assert image(plan).arrangement.reason is ArrangeReason.FUSED_SMALL_HOST
    assert yaml.safe_load("\n".join(plan.changes))["lanes"]["image"]["tokenize"] is None


def test_tokenizers_on_gpus_get_a_pool_of_their_own_and_the_decoders_that_they_need() -> None:
    plan = planned("16cpu,1gpu", (0.02, 0.004), lane={"workers": {"gpus": 1}})
    assert image(plan).arrangement.reason is ArrangeReason.APART_GPU
    assert workers(plan) == {"image/workers": 5, "image/tokenize": 1}
    assert image(plan).expected.bottleneck == "image/tokenize"
    changes = yaml.safe_load("\n".join(plan.changes))["lanes"]["image"]
    assert changes == {"workers": {"max": 5}, "tokenize": {"max": 1, "gpus": 1.0}}


def test_a_most_that_leaves_cpus_idle_is_raised() -> None:
    plan = planned("8x16cpu", lane={"workers": {"max": 4}})
    assert image(plan).configured_hz == pytest.approx(4 / 0.02)
    assert yaml.safe_load("\n".join(plan.changes)) == {"lanes": {"image": {"workers": {"max": 128}}}}


def test_windows_that_are_large_stay_on_their_node() -> None:
    lane = {"tokenize": {"max": 64}, "workers": {"max": 64}}
    plan = planned("8x16cpu", (0.01, 0.01), lane=lane, window_bytes=100 * MIB, put_s=0.001)
    assert image(plan).arrangement.reason is ArrangeReason.FUSED_HOP_COSTS_MORE


def test_decoders_that_need_one_cpu_are_apart_from_tokenizers_that_need_eight() -> None:
    plan = planned("2x16cpu", (0.05, 0.01), lane={"workers": {"cpus": 1}, "tokenize": {"cpus": 8}})
    assert image(plan).arrangement.reason is ArrangeReason.APART_SPEEDS_DIFFER


def test_pools_that_cannot_start_are_refused_with_the_sum() -> None:
    with pytest.raises(ConfigError, match=r"3 × 0.6 \(image/workers\) = 1.8 GPUs, the cluster has 2"):
        planned("8cpu,2gpu", lane={"workers": {"min": 3, "gpus": 0.6}})


def test_memory_is_summed_and_said_to_be_too_much() -> None:
    plan = planned("16cpu,4gb", lane={"workers": {"max": 16}})
    needs = {need.what: need for need in plan.needs}
    assert needs["image/workers"].size_bytes == 16 * 450 * MIB
    assert needs["memory in all"].short == "the machines have 4.0 GiB"
    assert needs["memory in all"].size_bytes == sum(
        need.size_bytes for what, need in needs.items() if what != "memory in all" and not what.startswith("disk")
    )


def test_credits_beyond_the_object_store_and_a_limit_that_is_passed_are_said() -> None:
    config, lanes = lanes_of(image={}, text={"workers": {"memory_bytes": 100 * MIB}})
    costs = {lane.name: measured(lane, 0.01, 0.01) for lane in lanes}
    needs = {need.what: need for need in make_plan(config, lanes, costs, parse_nodes("4cpu")).needs}
    assert "768 MiB (image) + 768 MiB (text) = 1536 MiB" in needs["object store"].detail
    assert "less than the lanes' credits" in needs["object store"].short
    assert "memory_bytes" in needs["text/workers"].short


def test_what_makes_the_measurement_doubtful_is_said() -> None:
    lane = {"workers": {"max": 1}, "tokenize": {"max": 1, "gpus": 1}}
    plan = planned("4cpu,2gpu", lane=lane, stolen=0.4, refused={"decode.failed": 2})
    notes = "\n".join(plan.notes)
    assert "40% of the time" in notes
    assert "measured on a CPU" in notes
    assert "2 samples were left out, they end as decode.failed" in notes
    assert "8 GPUs are not used" in "\n".join(planned("2x4cpu,4gpu").notes)


def test_lanes_share_the_machines_and_each_is_told_what_it_has_alone() -> None:
    config, lanes = lanes_of(image={"workers": {"max": 8}}, text={"workers": {"max": 8}})
    costs = {lane.name: measured(lane, 0.01, 0.01) for lane in lanes}
    plan = make_plan(config, lanes, costs, parse_nodes("8cpu"))
    assert workers(plan) == {"image/workers": 4, "text/workers": 4}
    assert [lane.alone_hz / lane.expected.rate_hz for lane in plan.lanes] == pytest.approx([2, 2], rel=0.05)


TIMES = st.floats(1e-5, 1.0)
POOL = st.builds(
    PoolConfig, max=st.integers(1, 40), cpus=st.sampled_from([0.5, 1.0, 2.0]), gpus=st.sampled_from([0.0, 0.0, 0.5, 1])
)


@settings(max_examples=30)
@given(TIMES, TIMES, POOL, st.none() | POOL, st.sampled_from(["2cpu,2gpu", "16cpu,4gpu", "4x8cpu,2gpu + 2x16cpu"]))
def test_what_is_planned_is_hardly_slower_than_what_is_configured_and_its_yaml_is_valid(
    prepare_s: float, tokenize_s: float, pool: PoolConfig, tokenize: PoolConfig | None, nodes: str
) -> None:
    lane = {"workers": pool.model_dump(), "tokenize": tokenize and tokenize.model_dump()}
    plan = planned(nodes, (prepare_s, tokenize_s), lane=lane)
    assert image(plan).expected.rate_hz >= 0.94 * image(plan).configured_hz
    assert plan.busy_cpus <= plan.machines.cpus + 1e-6
    assert image(plan).expected.limit is not Limit.MOST_WORKERS
    changes = yaml.safe_load("\n".join(plan.changes)) if plan.changes else {"lanes": {"image": {}}}
    again = planned(nodes, (prepare_s, tokenize_s), lane=lane | changes["lanes"]["image"])
    assert image(again).configured_hz >= 0.94 * image(plan).expected.rate_hz
