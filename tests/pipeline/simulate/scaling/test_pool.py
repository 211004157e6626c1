from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.simulate.scaling.pool import FluidPool
from pipeline.simulate.scaling.scenario import Stage

STEP_S = 2.0
STEPS = 5_000


def worked(stage: Stage, arrivals: float, room: float = math.inf) -> tuple[FluidPool, float]:
    """A pool after many steps in each of which so many items come, and what it has finished."""
    pool, done = FluidPool(stage, np.random.default_rng(5)), 0.0
    for step in range(STEPS):
        pool.arrive(arrivals)
        done += pool.work(room, STEP_S, step * STEP_S)
    return pool, done


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("workers", [1, 7, 100])
@pytest.mark.parametrize("load", [0.05, 0.5, 0.9, 1.0, 1.1, 3.0])
def test_the_measured_service_time_is_the_true_one_however_idle_or_busy_the_pool_is(
    spread: float, workers: int, load: float
) -> None:
    stage = Stage("s", service_s=0.4, spread=spread, workers=workers)
    pool, done = worked(stage, load * workers * STEP_S / stage.service_s)
    # Five standard errors, and the item that is not done yet.
    rel = 5.0 * spread / math.sqrt(done) + 1e-3
    assert pool.busy_s / done == pytest.approx(stage.service_s, rel=rel)
    assert pool.busy_s / (STEPS * STEP_S * workers) == pytest.approx(min(load, 1.0), rel=rel + 0.01)


@pytest.mark.parametrize("room", [0.3, 4.0])
def test_it_is_the_true_one_too_where_a_later_stage_leaves_no_room(room: float) -> None:
    pool, done = worked(Stage("s", service_s=0.4, spread=2.0), 100.0, room)
    assert pool.busy_s / done == pytest.approx(0.4, rel=10.0 / math.sqrt(done))
    assert done <= room * STEPS


def test_an_item_that_outlasts_many_steps_keeps_its_worker_busy_until_it_is_done() -> None:
    pool = FluidPool(Stage("s", service_s=100.0, spread=0.0), np.random.default_rng(0))
    pool.arrive(2.0)
    done = [pool.work(math.inf, STEP_S, step * STEP_S) for step in range(100)]
    assert [step for step, items in enumerate(done) if items] == [0, 50]
    assert pool.busy_s == 200.0
    pool.work(math.inf, STEP_S, 200.0)
    assert pool.busy == 0.0


def test_workers_that_wait_for_a_slow_store_are_busy() -> None:
    pool = FluidPool(Stage("s", service_s=0.1, workers=10, shared_hz=lambda _: 5.0), np.random.default_rng(0))
    pool.arrive(1000.0)
    assert pool.work(math.inf, STEP_S, 0.0) == 10.0
    assert pool.busy == 10.0


def test_nobody_works_where_nobody_is() -> None:
    pool = FluidPool(Stage("s", service_s=0.1, workers=0), np.random.default_rng(0))
    pool.arrive(10.0)
    assert pool.work(math.inf, STEP_S, 0.0) == 0.0
    assert pool.busy == 0.0
