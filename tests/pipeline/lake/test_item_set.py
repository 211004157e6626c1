from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.records import Origin
from pipeline.lake.item_set import ItemSet
from pipeline.records import SourcePartition

ORIGINS = st.builds(
    Origin, st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 20) | st.just(1 << 40), st.integers(0, 2)
)


@given(st.sets(ORIGINS), st.sets(ORIGINS))
def test_an_item_set_agrees_with_a_set(left: set[Origin], right: set[Origin]) -> None:
    some, others = ItemSet(left), ItemSet(right)
    assert set(some) == left
    assert len(some) == len(left)
    assert set(some & others) == left & right
    assert all((origin in others) == (origin in right) for origin in left | right)
    some.update(others)
    assert set(some) == left | right
    assert set(others) == right, "it shares nothing with the set that took it in"
    messages = {(log, offset) for log, offsets in some.messages().items() for offset in offsets}
    assert messages == {(SourcePartition(o.source_id, o.partition), o.offset) for o in left | right}


def test_offsets_are_added_by_the_array() -> None:
    items, log = ItemSet(), SourcePartition("a", 0)
    items.add(log, 0, np.array([5, 3, 3], np.int64))
    items.add(log, 0, np.array([7], np.int64))
    items.add(log, 2, np.array([3], np.int64))
    assert sorted(items) == [Origin("a", 0, 3, 0), Origin("a", 0, 3, 2), Origin("a", 0, 5, 0), Origin("a", 0, 7, 0)]
