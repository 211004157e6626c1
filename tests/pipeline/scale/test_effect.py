from __future__ import annotations

from pipeline.scale.effect import NO_EFFECT, PAUSE_S, Effect


def watched(effect: Effect, items: int, busy_s: float, from_s: float = 0.0, seconds: int = 5) -> Effect:
    for second in range(seconds):
        effect = effect.seen(items, busy_s, 1.0, starting=False, now_s=from_s + second)
    return effect


def test_a_growth_that_brought_nothing_ends_the_climb_for_a_while() -> None:
    # Ten workers did 10 a second each; forty together still do 100.
    effect = watched(NO_EFFECT.grown(10, 10.0, 40), items=100, busy_s=40.0)
    assert effect.forbids(5.0)
    assert effect.failures == 1
    assert not effect.forbids(4.0 + PAUSE_S)


def test_each_further_one_waits_twice_as_long() -> None:
    effect = watched(NO_EFFECT.grown(10, 10.0, 40), items=100, busy_s=40.0)
    effect = watched(effect.grown(40, 2.5, 50), items=100, busy_s=50.0, from_s=200.0)
    assert effect.failures == 2
    assert effect.forbids(200.0 + 1.5 * PAUSE_S)
    assert not effect.forbids(205.0 + 2.0 * PAUSE_S)


def test_one_that_helped_is_no_reason_to_wait() -> None:
    effect = watched(NO_EFFECT.grown(10, 10.0, 40), items=400, busy_s=40.0)
    assert not effect.forbids(5.0)
    assert effect.failures == 0


def test_it_is_not_judged_while_workers_start_nor_before_they_have_done_something() -> None:
    effect = NO_EFFECT.grown(10, 10.0, 40)
    assert effect.seen(100, 40.0, 1.0, starting=True, now_s=1.0) == effect
    assert not effect.is_awaited(30.0, 1.0)
    ready = effect.seen(2, 40.0, 1.0, starting=False, now_s=2.0)
    assert ready.is_awaited(30.0, 20.0)
    assert not ready.is_awaited(30.0, 40.0)


def test_a_growth_that_brought_what_it_should_earns_a_bolder_one() -> None:
    grown = NO_EFFECT.grown(4, 10.0, 16)
    assert not grown.earned
    assert grown.seen(160, 16.0, 1.0, starting=False, now_s=1.0).earned
    assert not grown.seen(160, 64.0, 1.0, starting=False, now_s=1.0).earned
    # A worker more tells nothing of a thousand.
    assert not NO_EFFECT.grown(16, 10.0, 17).seen(170, 17.0, 1.0, starting=False, now_s=1.0).earned
