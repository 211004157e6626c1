"""The best that could be done: how the machines should be split, and how fast a backlog can be gone.

A lane at `rate` needs ceil(rate / speed) workers in each stage. The max-min split raises all lanes together, each by
its weight over what a reference costs it of its scarcest resource, until nothing fits any more: a linear program but
for the rounding, and with one number to find, so that a bisection does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.scale.packing import Node, Room, Share, pack
from pipeline.simulate.scaling.scenario import LaneOfStages

_STEPS = 60


@dataclass(frozen=True, slots=True)
class Split:
    """What each lane could do at best.

    Attributes:
        level: the common share, by weight, of all lanes.
        rates: by lane, references a second.
        workers: by pool.
    """

    level: float
    rates: Mapping[str, float]
    workers: Mapping[str, int]


def speeds(lane: LaneOfStages) -> dict[str, float]:
    """By pool, references a second that one worker does."""
    found: dict[str, float] = {}
    items = 1.0
    for stage in lane.stages:
        found[f"{lane.name}/{stage.name}"] = 1.0 / (items * stage.service_s)
        items *= stage.makes
    return found


def unit_rate(lane: LaneOfStages, nodes: Sequence[Node]) -> float:
    """References a second for all of the scarcest resource, were it divisible."""
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    pairs = list(zip(lane.stages, speeds(lane).values(), strict=True))
    most = max(
        sum(stage.cpus / speed for stage, speed in pairs) / max(cpus, 1e-9),
        sum(stage.gpus / speed for stage, speed in pairs) / gpus if gpus else 0.0,
    )
    return 1.0 / most


def fits_once(lanes: Sequence[LaneOfStages], nodes: Sequence[Node]) -> bool:
    """Whether every stage can have one worker at the same time."""
    return (
        pack(Room(nodes), [(Share(stage.cpus, stage.gpus), 1) for lane in lanes for stage in lane.stages]) is not None
    )


def best_split(lanes: Sequence[LaneOfStages], nodes: Sequence[Node]) -> Split:
    """The max-min split for lanes that could all use more than there is."""
    empty = Room(nodes)

    def at(level: float) -> Split | None:
        rates = {lane.name: level * lane.weight * unit_rate(lane, nodes) for lane in lanes}
        workers: dict[str, int] = {}
        placed: list[tuple[Share, int]] = []
        for lane in lanes:
            for stage, (pool, speed) in zip(lane.stages, speeds(lane).items(), strict=True):
                workers[pool] = max(1, math.ceil(rates[lane.name] / speed - 1e-9))
                placed.append((Share(stage.cpus, stage.gpus), workers[pool]))
        return None if pack(empty, placed) is None else Split(level, rates, workers)

    low, high = 0.0, 2.0 / min(lane.weight for lane in lanes)
    best = at(low)
    if best is None:
        raise ValueError("not even one worker a stage fits")
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = at(middle)
        if found is None:
            high = middle
        else:
            low, best = middle, found
    return best


def least_drain_s(backlog: float, capacity_hz: float, arrivals_hz: float, start_s: float) -> float:
    """No backlog is gone sooner: at the full capacity, once its workers have started.

    Raises:
        ValueError: as much comes as can be done.
    """
    if arrivals_hz >= capacity_hz:
        raise ValueError(f"{arrivals_hz:g} come a second, {capacity_hz:g} can be done: it is never gone")
    return backlog / (capacity_hz - arrivals_hz) + start_s
