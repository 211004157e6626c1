from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.timing import Call, Marks, calls_in, warm_rate_hz


def test_a_side_is_not_charged_for_a_process_that_comes_late():
    """Two processes of 10 files a second, the second one 5 s late: 20 a second once both are there."""
    first = [Call("a", 10, float(t), t + 1.0) for t in range(10)]
    second = [Call("b", 10, float(t), t + 1.0) for t in range(5, 10)]
    assert warm_rate_hz([*first, *second], 10.0) == pytest.approx(20)


def test_a_call_that_began_before_counts_with_its_part():
    calls = [Call("a", 8, 0.0, 8.0), Call("b", 4, 4.0, 8.0)]
    assert warm_rate_hz(calls, 8.0) == pytest.approx((4 + 4) / 4)


def test_what_is_written_after_the_last_call_takes_its_time():
    assert warm_rate_hz([Call("a", 10, 0.0, 1.0)], 2.0) == pytest.approx(5)


def test_nothing_called_has_no_rate():
    with pytest.raises(ValueError, match="nothing"):
        warm_rate_hz([], 1.0)


def test_marks_are_read_back_in_order_by_process(tmp_path: Path):
    one, other = Marks(tmp_path), Marks(tmp_path)
    for marks, amount in ((one, 1), (other, 2), (one, 3)):
        with marks.call(amount):
            pass
    calls = calls_in(tmp_path)
    assert [call.amount for call in calls] == [1, 2, 3]
    assert calls[0].process == calls[2].process != calls[1].process
    assert all(call.began_s <= call.ended_s for call in calls)


def test_without_a_folder_nothing_is_noted():
    with Marks(None).call(1):
        pass
