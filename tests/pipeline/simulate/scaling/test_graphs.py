from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from pipeline.flow import core, tokenize_stage
from pipeline.simulate.scaling.graphs import LASTS_S, GraphsReport, Verdict, judge_graphs, random_graph
from pipeline.simulate.scaling.lanes import judge_lane
from pipeline.simulate.scaling.optimum import best_split, speeds, unit_rate
from pipeline.simulate.scaling.scenario import Scenario

LANES = 150


def judged(seeds: Iterable[int], lasts_s: float) -> GraphsReport:
    report = GraphsReport()
    for verdict in judge_graphs(seeds, lasts_s=lasts_s):
        report.add(verdict)
    print(report)
    return report


def test_random_graphs_come_to_their_best_split_in_three_decisions_and_rest_there() -> None:
    report = judged(range(8), lasts_s=300.0)
    assert report.graphs == 8
    assert not report.wrong


@pytest.mark.marathon
def test_random_graphs_rest_for_an_hour() -> None:
    report = judged(range(100, 140), LASTS_S)
    assert (report.stuck, report.far) == (0, 0)
    # Where work varies much, a pool may be moved once more before its speed is known well.
    assert report.slow <= 1
    assert report.rocking <= 1


def test_what_is_wrong_with_a_graph_is_told() -> None:
    verdict = Verdict(7, share=0.5, decisions=4, reversals=3, stuck_s=31.0)
    assert verdict.wrong == "stuck for 31 s, 50.0% of the best split, 4 decisions, 3 reversals"
    report = GraphsReport()
    report.add(verdict)
    assert (report.stuck, report.far, report.slow, report.rocking) == (1, 1, 1, 1)


def divisible_level(scenario: Scenario) -> float:
    """The max-min linear program, workers divisible and no GPU a whole: no split of whole workers is better."""
    pools = [
        (lane, stage, speed)
        for lane in scenario.lanes
        for stage, speed in zip(lane.stages, speeds(lane).values(), strict=True)
    ]
    count = len(pools)
    rows: list[list[float]] = []
    for number, (lane, _, speed) in enumerate(pools):
        row = [0.0] * (count + 1)
        row[number], row[count] = -speed, lane.weight * unit_rate(lane, scenario.nodes)
        rows.append(row)
    cpus = [stage.cpus for _, stage, _ in pools] + [0.0]
    gpus = [stage.gpus for _, stage, _ in pools] + [0.0]
    most = [0.0] * count + [sum(node.cpus for node in scenario.nodes), sum(node.gpus for node in scenario.nodes)]
    found: Any = linprog(np.array([0.0] * count + [-1.0]), A_ub=np.array([*rows, cpus, gpus]), b_ub=np.array(most))
    return float(found.x[-1])


@pytest.mark.parametrize("seed", range(40))
def test_the_bisection_finds_what_the_linear_program_allows(seed: int) -> None:
    scenario = random_graph(seed)
    found, bound = best_split(scenario.lanes, scenario.nodes), divisible_level(scenario)
    assert found.level <= bound * (1.0 + 1e-6)
    # Rounding up costs at most a worker a stage, and a GPU's rest where fractions do not fit together.
    if min(found.workers.values()) >= 20:
        assert found.level >= 0.85 * bound


def test_no_lane_gets_stuck_however_small_its_budgets_and_whoever_dies() -> None:
    wrong = [verdict for seed in range(LANES) if (verdict := judge_lane(seed)).left_over or verdict.held_bytes]
    assert not wrong


def test_a_lane_that_loses_credits_is_found_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaks(block: core.Block, room: core.Credits) -> None:
        block.readers -= 1

    monkeypatch.setattr(tokenize_stage, "release", leaks)
    wrong = [verdict for seed in range(10) if (verdict := judge_lane(seed)).left_over]
    assert wrong
    assert "no_bytes" in wrong[0].waits
