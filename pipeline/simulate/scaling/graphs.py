"""Random graphs: do they find the best split of their machines, quickly and for good, and does nothing get stuck?

Each graph is one to three lanes of one to four stages with service times over two decades, fan-outs, weights and GPU
fractions, on one to six nodes that are far too few for what the lanes have to do. Then the max-min split is the best
that there is, and a split is judged by the lane that has least of its share in it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context

from pipeline.scale.packing import Node
from pipeline.simulate.scaling.figures import reversals, stuck_s
from pipeline.simulate.scaling.fleet import Fleet
from pipeline.simulate.scaling.optimum import Split, best_split, fits_once, speeds, unit_rate
from pipeline.simulate.scaling.scenario import LaneOfStages, Promise, Scenario, Stage, steady

LASTS_S = 4000.0
"""More than an hour from the moment on at which all speeds are known."""
STUCK_S = 30.0
NEAR = 0.95
MOST_DECISIONS = 3
MOST_REVERSALS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one graph.

    Attributes:
        share: what the worst lane could do with the workers of the end, of what it has in the best split.
        decisions: of the pool with most, from the first one in which all pools' speeds were known until the split was
            near the best for good. Before that nobody can know which split is the best.
        reversals: of the pool with most, from the same moment on, the search for the split included, in an hour.
        stuck_s: longest time in which nobody in a lane worked although work waited.
    """

    seed: int
    share: float
    decisions: int
    reversals: int
    stuck_s: float

    @property
    def wrong(self) -> str:
        """What is not as promised; "" if all is."""
        wrongs = {
            f"stuck for {self.stuck_s:.0f} s": self.stuck_s > STUCK_S,
            f"{self.share:.1%} of the best split": self.share < NEAR,
            f"{self.decisions} decisions": self.decisions > MOST_DECISIONS,
            f"{self.reversals} reversals": self.reversals > MOST_REVERSALS,
        }
        return ", ".join(text for text, is_wrong in wrongs.items() if is_wrong)


@dataclass(slots=True)
class GraphsReport:
    """Of many: how many broke which promise."""

    graphs: int = 0
    stuck: int = 0
    far: int = 0
    slow: int = 0
    rocking: int = 0
    worst_share: float = 1.0
    decisions: Counter[int] = field(default_factory=Counter[int])
    reversals: Counter[int] = field(default_factory=Counter[int])
    wrong: list[Verdict] = field(default_factory=list[Verdict])

    def add(self, verdict: Verdict) -> None:
        """One more."""
        self.graphs += 1
        self.stuck += verdict.stuck_s > STUCK_S
        self.far += verdict.share < NEAR
        self.slow += verdict.decisions > MOST_DECISIONS
        self.rocking += verdict.reversals > MOST_REVERSALS
        self.worst_share = min(self.worst_share, verdict.share)
        self.decisions[verdict.decisions] += 1
        self.reversals[verdict.reversals] += 1
        if verdict.wrong:
            self.wrong.append(verdict)


def random_graph(seed: int) -> Scenario:
    """The graph of a seed. Seeds whose machines can't hold one worker a stage get more machines."""
    rng = random.Random(seed)  # noqa: S311  reproducible, no secret
    lanes = tuple(_lane(rng, f"lane{number}") for number in range(rng.randint(1, 3)))
    kind = Node(rng.choice((8, 16, 32, 64)), rng.choice((1, 2, 4, 8)))
    nodes = [kind] * rng.randint(1, 6)
    while not fits_once(lanes, nodes):
        nodes.append(kind)
    # Three times what the machines can do, so that the best split is always the max-min one.
    lanes = tuple(_fed(rng, lane, 3.0 * lane.weight * unit_rate(lane, nodes)) for lane in lanes)
    best = best_split(lanes, nodes).workers
    lanes = tuple(_begun(rng, lane, best) for lane in lanes)
    return Scenario(f"graph {seed}", "", tuple(nodes), lanes, "", LASTS_S, Promise(), step_s=2.0, decide_s=4.0)


def _fed(rng: random.Random, lane: LaneOfStages, hz: float) -> LaneOfStages:
    """With arrivals, and with room for some seconds of them before each stage: a step has to fit in."""
    stages: list[Stage] = []
    arrivals = steady(hz)
    for stage in lane.stages:
        stages.append(replace(stage, room_items=max(8.0, hz * rng.choice((4.0, 20.0, 60.0)))))
        hz *= stage.makes
    return replace(lane, stages=tuple(stages), arrivals=arrivals)


def _begun(rng: random.Random, lane: LaneOfStages, best: Mapping[str, int]) -> LaneOfStages:
    """With workers to begin with: any split that has no more than the best one anywhere, so that it fits."""
    stages = (replace(stage, workers=rng.randint(1, best[f"{lane.name}/{stage.name}"])) for stage in lane.stages)
    return replace(lane, stages=tuple(stages))


def _lane(rng: random.Random, name: str) -> LaneOfStages:
    stages: list[Stage] = []
    for number in range(rng.randint(1, 4)):
        gpus = rng.choice((0.0, 0.0, 0.25, 0.5, 1.0))
        stages.append(
            Stage(
                f"stage{number}",
                service_s=10.0 ** rng.uniform(-2.0, 0.0),
                spread=rng.choice((0.0, 1.0, 2.0)),
                makes=rng.choice((1.0, 1.0, 0.5, 4.0)),
                cpus=rng.choice((0.25, 0.5, 1.0, 2.0)),
                gpus=gpus,
                unit_items=1.0,
                start_s=rng.choice((2.0, 10.0, 30.0)),
            )
        )
    return LaneOfStages(name, tuple(stages), steady(0.0), weight=rng.choice((1.0, 1.0, 2.0, 3.0)))


def judge_graph(seed: int, lasts_s: float = LASTS_S) -> Verdict:
    """Run one."""
    scenario = replace(random_graph(seed), lasts_s=lasts_s)
    fleet = Fleet(scenario, seed)
    history = fleet.run()
    best = best_split(scenario.lanes, scenario.nodes)
    known_s = max(history.known_s.get(pool, lasts_s) for pool in fleet.pools)
    near_s = next(
        (moment.now_s for moment in reversed(history.moments) if share_of_best(scenario, best, moment.workers) < NEAR),
        0.0,
    )
    late = history.by_pool(known_s - scenario.step_s).values()
    return Verdict(
        seed,
        share_of_best(scenario, best, history.moments[-1].workers),
        max((sum(move.now_s <= near_s + scenario.decide_s for move in moves) for moves in late), default=0),
        max(map(reversals, late), default=0),
        stuck_s(scenario, history),
    )


def share_of_best(scenario: Scenario, best: Split, workers: Mapping[str, int]) -> float:
    """What the worst lane could do with these workers over what it has in the best split."""
    return min(
        min(workers[pool] * speed for pool, speed in speeds(lane).items()) / best.rates[lane.name]
        for lane in scenario.lanes
    )


def judge_graphs(seeds: Iterable[int], jobs: int = 1, lasts_s: float = LASTS_S) -> Iterator[Verdict]:
    """Run them all, in so many processes; in the order of the seeds."""
    judge = partial(judge_graph, lasts_s=lasts_s)
    if jobs == 1:
        yield from map(judge, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(judge, seeds, chunksize=4)
