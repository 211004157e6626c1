from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.scale.records import PoolLimits, ScaleReason
from pipeline.simulate.scaling.figures import Figures, figures_of
from pipeline.simulate.scaling.fleet import Fleet, History
from pipeline.simulate.scaling.scenario import Scenario
from pipeline.simulate.scaling.scenarios import SCENARIOS

LARGE = {"steady", "burst", "full", "dying_nodes", "day"}


def run(scenario: Scenario, seed: int = 0) -> tuple[History, Figures]:
    history = Fleet(scenario, seed).run()
    return history, figures_of(scenario, history)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak) if name in LARGE else name for name in SCENARIOS]
)
def test_every_scenario_keeps_its_promise(name: str) -> None:
    _, figures = run(SCENARIOS[name])
    print(name, figures)
    assert not figures.broken


def test_a_seed_gives_the_same_run_each_time() -> None:
    scenario = replace(SCENARIOS["backlog"], lasts_s=200.0)
    assert run(scenario, 3)[0] == run(scenario, 3)[0]
    assert run(scenario, 3)[0] != run(scenario, 4)[0]


def test_nobody_leaves_while_the_backlog_drains() -> None:
    history, figures = run(SCENARIOS["backlog"])
    assert figures.drain_s is not None
    downs = [move for move in history.moves if move.decision.target_workers < move.before]
    assert downs
    assert min(move.now_s for move in downs) >= figures.drain_s


def test_the_lanes_split_the_gpus_by_their_weights() -> None:
    history, _ = run(SCENARIOS["weights"])
    workers = history.moments[-1].workers
    assert workers["heavy/tokenize"] + workers["light/tokenize"] >= 0.97 * 256
    assert workers["heavy/tokenize"] / workers["light/tokenize"] == pytest.approx(3.0, rel=0.05)


def test_a_store_at_its_limit_is_not_stormed() -> None:
    history, _ = run(SCENARIOS["slow_store"])
    while_slow = [moment.workers["image/prepare"] for moment in history.moments if 1200 <= moment.now_s < 2400]
    # A pool that only looked at its load would be at the 4,096 that there are.
    assert max(while_slow) < 4 * while_slow[0]


def test_what_comes_after_a_pause_is_ready_one_start_up_later() -> None:
    history, _ = run(SCENARIOS["zero"])
    scenario = SCENARIOS["zero"]
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
    _, figures = run(replace(scenario, lanes=(short,)))
    assert any(broken.startswith("lag in seconds") for broken in figures.broken)
