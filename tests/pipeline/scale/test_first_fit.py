from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.scale.first_fit import may_be_stuck, start_order
from pipeline.scale.packing import Node, Room, Share, pack

NODES = st.lists(st.builds(Node, st.sampled_from([1.0, 2.0, 4.0, 5.0]), st.integers(0, 2)), min_size=1, max_size=4)
SHARES = st.builds(Share, st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]), st.sampled_from([0.0, 0.0, 0.3, 0.5, 0.6, 1, 2]))


def test_workers_of_one_size_always_start() -> None:
    assert may_be_stuck([(Share(1, 0), 8)], [Node(4), Node(4)]) is None
    assert may_be_stuck([(Share(0.1, 0.5), 4)], [Node(4, 2)]) is None


def test_small_workers_that_start_first_may_leave_no_node_for_a_large_one() -> None:
    small, large = (Share(1, 0), 2), (Share(2, 0), 1)
    assert may_be_stuck([small, large], [Node(2), Node(2)]) == Share(2, 0)
    assert may_be_stuck([large, small], [Node(2), Node(2)]) is None


def test_workers_without_a_gpu_that_start_first_may_take_the_cpus_beside_it() -> None:
    decoders, encoder = (Share(1, 0), 4), (Share(1, 1), 1)
    assert may_be_stuck([decoders, encoder], [Node(4), Node(4, 1)]) == Share(1, 1)
    assert may_be_stuck(start_order([decoders, encoder]), [Node(4), Node(4, 1)]) is None


def test_a_cluster_with_room_to_spare_raises_no_alarm() -> None:
    pools = start_order([(Share(1, 0), 1), (Share(4, 0), 1), (Share(2, 0.5), 4), (Share(1, 1), 2)])
    assert may_be_stuck(pools, [Node(16, 4)] * 8) is None


@given(NODES, st.lists(st.tuples(SHARES, st.integers(1, 3)), min_size=1, max_size=4), st.booleans(), st.data())
def test_what_raises_no_alarm_starts_whichever_nodes_are_chosen(
    nodes: list[Node], workers: list[tuple[Share, int]], ordered: bool, data: st.DataObject
) -> None:
    assume(pack(Room(nodes), workers) is not None)
    workers = start_order(workers) if ordered else workers
    assume(may_be_stuck(workers, nodes) is None)
    rooms = [Room([node]) for node in nodes]
    for share, count in workers:
        for _ in range(count):
            fitting = [number for number, room in enumerate(rooms) if Room(room).place(share)]
            assert fitting, f"{share} is stuck"
            rooms[data.draw(st.sampled_from(fitting))].place(share)
