"""When a speed is back, from events in time."""

from __future__ import annotations

import pytest

from tests.recovery.speed import LOOK_S, Curve


def steady(from_s: float, to_s: float, hz: float) -> list[tuple[float, float]]:
    count = round((to_s - from_s) * hz)
    return [(from_s + (number + 1) / hz, 1.0) for number in range(count)]


def test_the_speed_is_what_was_done_a_second() -> None:
    assert Curve(steady(0, 10, 20)).hz(2, 8) == pytest.approx(20)


def test_after_a_gap_it_is_back_once_a_whole_look_has_its_speed() -> None:
    curve = Curve([*steady(0, 10, 20), (14.0, 0.0), *steady(14, 30, 20)])
    # A tenth of the look may lie in the gap.
    assert curve.back_s(10.0, 20.0, now_s=30.0) == pytest.approx(4.0 - 0.1 * LOOK_S, abs=0.15)


def test_it_is_not_back_while_it_is_slower() -> None:
    curve = Curve([*steady(0, 10, 20), *steady(10, 30, 15)])
    assert curve.back_s(10.0, 20.0, now_s=30.0) is None


def test_what_never_slowed_down_was_never_away() -> None:
    assert Curve(steady(0, 30, 20)).back_s(10.0, 20.0, now_s=30.0) == 0.0


def test_what_shows_late_is_looked_for_later() -> None:
    curve = Curve([*steady(0, 12, 20), (15.0, 0.0), *steady(15, 30, 20)])
    assert curve.back_s(9.0, 20.0, now_s=30.0) == 0.0
    assert curve.back_s(9.0, 20.0, now_s=30.0, late_s=2.0) == pytest.approx(6.0 - 0.1 * LOOK_S, abs=0.15)


def test_without_events_nothing_is_done() -> None:
    assert Curve([]).hz(0, 1) == 0.0
