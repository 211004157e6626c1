from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from pipeline.scale.records import Decision, PoolLimits, PoolMemory, ScaleReason
from pipeline.simulate.scaling.figures import Figures, figures_of, reversals
from pipeline.simulate.scaling.fleet import Fleet, History, Move
from pipeline.simulate.scaling.scenario import LaneOfStages, Scenario, Stage, steady
from pipeline.simulate.scaling.scenarios import SCENARIOS

QUICK = {"slow_store", "backlog"}
"""Those that take a second or two."""


@cache
def run(name: str, seed: int = 0) -> tuple[History, Figures]:
    return run_it(SCENARIOS[name], seed)


def run_it(scenario: Scenario, seed: int = 0) -> tuple[History, Figures]:
    history = Fleet(scenario, seed).run()
    return history, figures_of(scenario, history)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in SCENARIOS]
)
def test_every_scenario_keeps_its_promise(name: str) -> None:
    _, figures = run(name)
    print(name, figures)
    assert not figures.broken


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_scenario_is_judged_over_an_hour_at_least(scenario: Scenario) -> None:
    assert scenario.lasts_s - scenario.settled_s >= 3600.0
    # To zero and back every hour, the load itself turns twice.
    assert scenario.promise.reversals_an_hour <= (3 if scenario.name == "zero" else 2)


def test_a_seed_gives_the_same_run_each_time() -> None:
    scenario = replace(SCENARIOS["backlog"], lasts_s=100.0)
    first = run_it(scenario, 3)[0]
    assert run_it(scenario, 3)[0] == first
    assert run_it(scenario, 4)[0] != first


def test_nobody_leaves_while_the_backlog_drains() -> None:
    history, figures = run("backlog")
    assert figures.drain_s is not None
    downs = [move for move in history.moves if move.decision.target_workers < move.before]
    assert downs
    assert min(move.now_s for move in downs) >= figures.drain_s


def test_the_lanes_split_the_gpus_by_their_weights() -> None:
    history, _ = run_it(replace(SCENARIOS["weights"], lasts_s=650.0))
    workers = history.moments[-1].workers
    assert workers["heavy/tokenize"] + workers["light/tokenize"] >= 0.97 * 256
    assert workers["heavy/tokenize"] / workers["light/tokenize"] == pytest.approx(3.0, rel=0.05)


def test_a_store_at_its_limit_is_not_stormed() -> None:
    history, _ = run("slow_store")
    while_slow = [moment.workers["image/prepare"] for moment in history.moments if 1200 <= moment.now_s < 2400]
    # A pool that only looked at its load would be at the 4,096 that there are.
    assert max(while_slow) < 4 * while_slow[0]


def test_what_comes_after_a_pause_is_ready_one_start_up_later() -> None:
    scenario = replace(SCENARIOS["zero"], lasts_s=3700.0)
    history, _ = run_it(scenario)
    zero = [moment.now_s for moment in history.moments if moment.workers[scenario.watch] == 0]
    assert any(1800.0 < now_s < 3600.0 for now_s in zero)
    back = next(move for move in history.moves if move.now_s >= 3600.0)
    assert back.decision.reason is ScaleReason.UP_FROM_ZERO
    assert back.now_s <= 3603.0


def test_a_broken_promise_is_told() -> None:
    scenario = SCENARIOS["lull"]
    (lane,) = scenario.lanes
    # Forty workers do 400 a second, and 500 come.
    short = replace(lane, stages=(replace(lane.stages[0], limits=PoolLimits(1, 40)),))
    _, figures = run_it(replace(scenario, lanes=(short,), lasts_s=1000.0, settled_s=600.0))
    assert any(broken.startswith("lag in seconds") for broken in figures.broken)


def test_a_pool_that_turns_back_is_counted_in_its_worst_hour() -> None:
    def moves(*steps: tuple[float, int]) -> list[Move]:
        memory = PoolMemory()
        return [
            Move(at_s, "p", 10, Decision(10 + change, ScaleReason.UP_BACKLOG, 0, 0, None, memory))
            for at_s, change in steps
        ]

    assert reversals(moves((0.0, 1), (1.0, 1))) == 0
    assert reversals(moves((0.0, 1), (100.0, -1), (200.0, 1), (5000.0, -1))) == 2


def test_a_lane_in_which_nobody_can_work_is_stuck_and_one_with_a_long_item_is_not() -> None:
    def stuck(last: Stage) -> Figures:
        lane = LaneOfStages("image", (Stage("prepare", 0.1), last), steady(5.0))
        scenario = replace(SCENARIOS["backlog"], lanes=(lane,), watch="image/prepare", lasts_s=200.0, decide_s=1e3)
        return run_it(scenario)[1]

    closed = stuck(Stage("tokenize", 0.1, room_items=0.0))
    assert closed.stuck_s >= 195.0
    assert any(broken.startswith("seconds without progress") for broken in closed.broken)
    assert stuck(Stage("tokenize", 1e4, spread=0.0, room_items=10.0)).stuck_s == 0.0
