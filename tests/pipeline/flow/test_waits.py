from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.flow.waits import WaitClock, WaitReason


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.sampled_from(WaitReason)), min_size=1, max_size=30))
def test_every_second_belongs_to_the_reason_that_held(steps: list[tuple[float, WaitReason | None]]) -> None:
    steps.sort(key=lambda step: step[0])
    clock = WaitClock()
    for at_s, reason in steps:
        clock.enter(reason, at_s)
    ends = [*steps, (200.0, None)]
    expected = {reason: sum(b[0] - a[0] for a, b in pairwise(ends) if a[1] == reason) for reason in WaitReason}
    assert {reason: clock.totals(200.0).get(reason, 0.0) for reason in WaitReason} == pytest.approx(expected)


def test_only_a_change_is_news() -> None:
    clock = WaitClock()
    assert not clock.enter(None, 0.0)
    assert clock.enter(WaitReason.NO_BYTES, 1.0)
    assert not clock.enter(WaitReason.NO_BYTES, 5.0)
    assert (clock.reason, clock.waiting_s(6.0)) == (WaitReason.NO_BYTES, 5.0)
    assert clock.enter(WaitReason.COMMITTING, 6.0)
    assert clock.totals(8.0) == {WaitReason.NO_BYTES: 5.0, WaitReason.COMMITTING: 2.0}
    assert clock.enter(None, 8.0)
    assert clock.waiting_s(9.0) == 0.0


@pytest.mark.parametrize("reason", WaitReason)
def test_each_reason_is_explained_in_one_line(reason: WaitReason) -> None:
    assert 10 < len(reason.explanation) < 100
    assert "\n" not in reason.explanation
