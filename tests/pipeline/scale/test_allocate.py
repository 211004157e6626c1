from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scale.allocate import GrantReason, Node, Wish, allocate

nodes_ = st.lists(st.builds(Node, st.integers(0, 8).map(lambda n: n / 2), st.integers(0, 3)), max_size=3)
wishes_ = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(
        Wish,
        workers=st.integers(0, 6),
        min_workers=st.integers(0, 2),
        cpus=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
        gpus=st.sampled_from([0.0, 0.1, 0.5, 0.6, 1.0, 2.0]),
        weight=st.sampled_from([0.5, 1.0, 3.0]),
    ),
)


def test_three_of_six_tenths_do_not_fit_on_two_gpus() -> None:
    grant = allocate({"video": Wish(3, 3, cpus=0.1, gpus=0.6)}, [Node(8, 2)])["video"]
    assert (grant.workers, grant.reason, grant.starts) == (2, GrantReason.GPU_FRAGMENTED, False)
    assert grant.detail == ("2 of 3 workers fit: a worker takes 0.6 GPU, 0.8 are free but no more than 0.4 on one")


def test_halves_fill_one_gpu_before_they_break_another() -> None:
    grants = allocate({"a": Wish(2, 2, cpus=0, gpus=0.5), "b": Wish(1, cpus=0, gpus=1)}, [Node(1, 2)])
    assert {name: grant.workers for name, grant in grants.items()} == {"a": 2, "b": 1}


def test_twenty_twentieths_fit_into_one() -> None:
    assert allocate({"a": Wish(20, cpus=0.05)}, [Node(1)])["a"].workers == 20
    assert allocate({"a": Wish(20, cpus=0, gpus=0.05)}, [Node(0, 1)])["a"].workers == 20
    assert allocate({"a": Wish(10, cpus=0.1)}, [Node(1)])["a"].workers == 10
    assert allocate({"a": Wish(10, cpus=0, gpus=0.1)}, [Node(0, 1)])["a"].workers == 10


def test_cpu_workers_leave_the_gpu_nodes_to_those_who_need_them() -> None:
    grants = allocate({"cpu": Wish(4, 4), "gpu": Wish(2, gpus=1)}, [Node(4, 2), Node(4)])
    assert grants["gpu"].workers == 2


def test_minimums_come_before_growth_and_firsts_before_seconds() -> None:
    grants = allocate({"a": Wish(8, 2), "b": Wish(8, 2), "c": Wish(1, 1)}, [Node(4)])
    assert {name: grant.workers for name, grant in grants.items()} == {"a": 2, "b": 1, "c": 1}
    assert [name for name, grant in grants.items() if not grant.starts] == ["b"]
    assert grants["b"].reason == GrantReason.SHORT_OF_CPUS


def test_no_weight_buys_another_pools_minimum() -> None:
    grants = allocate({"heavy": Wish(8, 0, weight=10), "light": Wish(3, 3)}, [Node(4)])
    assert (grants["heavy"].workers, grants["light"].workers) == (1, 3)


def test_the_rest_is_shared_by_weight() -> None:
    grants = allocate({"a": Wish(99, weight=3), "b": Wish(99)}, [Node(8)])
    assert (grants["a"].workers, grants["b"].workers) == (6, 2)


def test_what_one_does_not_want_the_others_get() -> None:
    grants = allocate({"a": Wish(1), "b": Wish(99), "c": Wish(0, 2)}, [Node(8)])
    assert {name: grant.workers for name, grant in grants.items()} == {"a": 1, "b": 7, "c": 0}


def test_on_two_cores_fused_lanes_all_start() -> None:
    lanes = {name: Wish(4, 1, cpus=0.25) for name in ("image", "audio", "video", "text")}
    assert all(grant.starts for grant in allocate(lanes, [Node(2)]).values())


def test_what_no_node_can_hold_says_so() -> None:
    grants = allocate({"big": Wish(1, 1, cpus=6), "gpu": Wish(1, 1, gpus=1)}, [Node(4), Node(4)])
    assert {grant.reason for grant in grants.values()} == {GrantReason.NEVER_FITS}
    assert not any(grant.starts for grant in grants.values())


@given(wishes_, nodes_)
def test_nobody_gets_more_than_wished_or_than_there_is(wishes: dict[str, Wish], nodes: list[Node]) -> None:
    grants = allocate(wishes, nodes)
    assert grants.keys() == wishes.keys()
    assert all(grants[name].workers <= wish.workers for name, wish in wishes.items())
    assert sum(grants[name].workers * wish.cpus for name, wish in wishes.items()) <= sum(n.cpus for n in nodes) + 1e-3
    assert sum(grants[name].workers * wish.gpus for name, wish in wishes.items()) <= sum(n.gpus for n in nodes) + 1e-3
    for name, grant in grants.items():
        assert (grant.reason == GrantReason.GRANTED) == (grant.workers == wishes[name].workers) == (not grant.detail)


@given(wishes_, nodes_)
def test_equal_wishes_give_equal_grants_in_whatever_order(wishes: dict[str, Wish], nodes: list[Node]) -> None:
    assert allocate(dict(reversed(wishes.items())), nodes) == allocate(wishes, nodes)


def test_a_share_of_one_and_a_half_gpus_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        Wish(1, gpus=1.5)
