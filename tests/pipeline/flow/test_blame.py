from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.flow.blame import DEATHS_TO_BE_GUILTY, Blame, halves, judge
from pipeline.flow.calls import CallFailure


@pytest.mark.parametrize(
    ("size", "deaths", "how", "blame"),
    [
        (8, 0, CallFailure.WORKER_DIED, Blame.HALVED),
        (2, 2, CallFailure.WORKER_DIED, Blame.HALVED),
        (1, 0, CallFailure.WORKER_DIED, Blame.ALONE_AGAIN),
        (1, 1, CallFailure.WORKER_DIED, Blame.ALONE_AGAIN),
        (1, 2, CallFailure.WORKER_DIED, Blame.GUILTY),
        (8, 0, CallFailure.RAISED, Blame.HALVED),
        (1, 0, CallFailure.RAISED, Blame.GUILTY),
        (8, 0, CallFailure.WORKER_LEFT, Blame.NOBODY),
        (1, 2, CallFailure.WORKER_LEFT, Blame.NOBODY),
        (1, 2, CallFailure.VALUE_LOST, Blame.NOBODY),
        (8, 2, CallFailure.VALUE_LOST, Blame.NOBODY),
    ],
)
def test_a_failed_batch_gets_what_it_has_coming(size: int, deaths: int, how: CallFailure, blame: Blame) -> None:
    assert judge(size, deaths, how) is blame


def test_an_item_alone_is_guilty_at_its_third_death() -> None:
    assert DEATHS_TO_BE_GUILTY == 3


@given(st.lists(st.integers(), min_size=2))
def test_halves_keep_everything_in_order_and_neither_is_empty(batch: list[int]) -> None:
    first, second = halves(batch)
    assert [*first, *second] == batch
    assert first and second
    assert len(second) - len(first) in {0, 1}
