from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.flow.positions import StartReason, choose_start


def test_the_first_start_of_a_source_follows_the_policy() -> None:
    start = choose_start({"a": None, "b": None}, source_known=False, earliest=3, by_policy=lambda: 90)
    assert (start.position, dict(start.new)) == (90, {"a": 90, "b": 90})
    assert set(start.reasons.values()) == {StartReason.POLICY}


def test_a_new_partition_of_a_known_source_is_owed_whole() -> None:
    start = choose_start({"a": None}, source_known=True, earliest=3, by_policy=lambda: 90)
    assert (start.position, dict(start.new)) == (3, {"a": 3})
    assert start.reasons["a"] is StartReason.NEW_PARTITION


def test_a_joining_product_starts_at_the_lanes_live_position() -> None:
    start = choose_start({"a": 40, "b": 45, "c": None}, source_known=True, earliest=3, by_policy=lambda: 90)
    assert (start.position, dict(start.new)) == (40, {"c": 40})
    assert start.reasons["c"] is StartReason.JOINING
    assert start.reasons["a"] is StartReason.COMMITTED


def test_what_the_lake_has_decides_and_the_policy_is_not_asked_again() -> None:
    start = choose_start({"a": 7}, source_known=True, earliest=0, by_policy=lambda: 1000)
    assert (start.position, dict(start.new)) == (7, {})


@pytest.mark.parametrize("known", [True, False])
@given(nexts=st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 50), min_size=1), policy=st.integers())
def test_the_position_is_never_above_what_some_product_is_owed(
    known: bool, nexts: dict[str, int | None], policy: int
) -> None:
    start = choose_start(nexts, source_known=known, earliest=0, by_policy=lambda: policy)
    owed = [*(offset for offset in nexts.values() if offset is not None), *start.new.values()]
    assert start.position == min(owed)
    assert set(start.new) == {key for key, offset in nexts.items() if offset is None}
    assert set(start.reasons) == set(nexts)
