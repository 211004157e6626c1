from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.scale.packing import Node, Room, Share, pack


def test_a_thousand_workers_fill_equal_nodes_one_after_the_other() -> None:
    room = Room([Node(64, 8)] * 512)
    assert room.place(Share(1.0, 1.0), 4000) == 4000
    assert room.free_gpus == 96
    assert room.place(Share(2.0, 4.0), 1000) == 24
    assert room.most_free_gpu == 0


def test_workers_without_a_gpu_do_not_take_the_cpus_that_gpus_need() -> None:
    # Placed in turn, the 3,000 would fill whole nodes, and their GPUs would have no CPU left.
    left = pack(Room([Node(64, 8)] * 64), [(Share(1.0, 0.0), 3000), (Share(1.0, 1.0), 512)])
    assert left is not None
    assert left.free_gpus == 0
    assert pack(Room([Node(64, 8)] * 64), [(Share(1.0, 0.0), 3600), (Share(1.0, 1.0), 512)]) is None


def test_a_room_made_of_another_leaves_it_as_it_was() -> None:
    empty = Room([Node(4, 1)])
    assert Room(empty).place(Share(4.0, 0.0)) == 1
    assert empty.most_free_cpus == 4


@given(
    st.lists(st.tuples(st.sampled_from([0.25, 1.0, 2.0]), st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0])), max_size=4),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=3),
)
def test_many_at_once_are_placed_as_one_by_one(shares: list[tuple[float, float]], nodes: list[tuple[int, int]]) -> None:
    at_once, in_turn = (Room([Node(cpus, gpus) for cpus, gpus in nodes]) for _ in range(2))
    for share in (Share(*each) for each in shares):
        assert at_once.place(share, 5) == sum(in_turn.place(share) for _ in range(5))
