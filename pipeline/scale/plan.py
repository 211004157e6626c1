"""One round of scaling for all pools that share the same machines.

The first pool of a lane sees what the source holds; a later one sees only what the ones before let through, and would
grow when they have grown, one start-up after the other. So each lane's rate is settled first: what its first pool asks
for, as far as that pool may grow. The others are sized for that rate at once, by how many of their items one reference
makes. Where the machines are too few, `allocate` splits them so that a lane's stages are equally fast.

A split that is within `ENOUGH` of the best one stays: speeds are measured, and workers moved for a per cent of it would
be moved back a minute later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.scale.allocate import Grant, GrantReason, Node, Wish, allocate
from pipeline.scale.decide import decide, service_hz
from pipeline.scale.records import ALONE, Decision, LaneView, PoolLimits, PoolMemory, PoolSignals

ENOUGH = 0.96


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """One pool's turn.

    Attributes:
        cpus, gpus: of one worker.
        weight: of the pool, against the others; within a lane all have the same.
        lane: whose pool it is; "": it has nothing to do with the others.
    """

    signals: PoolSignals
    limits: PoolLimits
    memory: PoolMemory
    cpus: float = 1.0
    gpus: float = 0.0
    weight: float = 1.0
    lane: str = ""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What comes of it: `decision` is to be carried out, `grant` says what the machines had room for."""

    decision: Decision
    grant: Grant


def plan(pools: Mapping[str, PoolRequest], nodes: Sequence[Node], now_s: float) -> dict[str, PoolPlan]:
    """Decide for each lane as if it were alone, share the machines, then decide again where the share is smaller.

    Args:
        pools: by name, e.g. "image/tokenize", those of a lane in the order in which work passes them; their
            `feasible_workers` is set here.
        nodes: as in `allocate`.
        now_s: as in `decide`.
    """
    lanes: dict[str, list[str]] = {}
    for name, pool in pools.items():
        lanes.setdefault(pool.lane or f"{name}\0", []).append(name)
    sights = {name: sight for names in lanes.values() for name, sight in _look(pools, names, now_s).items()}
    alone = {name: _decide(pool, now_s, sights[name].lane, None) for name, pool in pools.items()}
    wishes = {
        name: Wish(
            alone[name].target_workers,
            pool.limits.min_workers,
            pool.cpus,
            pool.gpus,
            pool.weight,
            pool.lane,
            sights[name].speed,
        )
        for name, pool in pools.items()
    }
    grants = _share(pools, wishes, nodes, list(lanes.values()))
    return {
        name: PoolPlan(
            alone[name]
            if grants[name].workers >= alone[name].target_workers
            else _decide(pool, now_s, sights[name].lane, grants[name].workers),
            grants[name],
        )
        for name, pool in pools.items()
    }


def _decide(pool: PoolRequest, now_s: float, lane: LaneView, feasible: int | None) -> Decision:
    return decide(pool.signals, replace(pool.limits, feasible_workers=feasible), pool.memory, now_s, lane)


@dataclass(frozen=True, slots=True)
class _Sight:
    """A pool as a part of its lane: references a second of one worker (0: unknown), and what the lane means for it."""

    speed: float
    lane: LaneView = ALONE


def _look(pools: Mapping[str, PoolRequest], names: Sequence[str], now_s: float) -> dict[str, _Sight]:
    """How a lane's pools see each other. As long as their speeds are not all known, each looks after itself."""
    alone = {name: _decide(pools[name], now_s, ALONE, None) for name in names}
    first = names[0]
    speeds: dict[str, float] = {}
    each, left = 1.0, math.inf
    for name in names:
        memory, limits = alone[name].memory, pools[name].limits
        if name != first:
            # What one leaves the next one gets: what came here over what left there is how many one makes.
            each *= memory.arrived / left if left >= limits.known_items else 0.0
        left = memory.left
        # Of the last minutes, not seconds: a split that follows the lengths of the last few items never rests.
        known = service_hz(memory, limits) is not None and memory.worked_s > 0.0 and each > 0.0
        speeds[name] = memory.left / memory.worked_s / each if known else 0.0
    if len(names) == 1 or not all(speeds.values()):
        return {name: _Sight(speeds[name]) for name in names}
    wanted_hz = min(alone[first].load or 0.0, float(alone[first].target_workers)) * speeds[first]
    views = {name: LaneView(load=wanted_hz / speeds[name]) for name in names[1:]} | {first: ALONE}
    decided = {name: _decide(pools[name], now_s, views[name], None) for name in names}
    # As fast as the slowest can be after its next step; a little more, so that none of the others is it by chance.
    most_hz = min(decided[name].target_workers * speeds[name] for name in names) / pools[first].limits.high
    return {name: _Sight(speeds[name], replace(views[name], most=most_hz / speeds[name])) for name in names}


def _share(
    pools: Mapping[str, PoolRequest], wishes: Mapping[str, Wish], nodes: Sequence[Node], lanes: Sequence[Sequence[str]]
) -> dict[str, Grant]:
    """What each gets: the best split, or, where it is hardly worse, the present one."""
    best = allocate(wishes, nodes)
    if all(grant.workers == wishes[name].workers for name, grant in best.items()):
        return best
    now = {name: min(pools[name].signals.workers, wish.workers) for name, wish in wishes.items()}
    levels = [_levels(wishes, lanes, nodes, count) for count in (now, {name: best[name].workers for name in wishes})]
    # From the worst off to the best off: which lane is which does not matter, or equal ones would take turns.
    if any(have < ENOUGH * could for have, could in zip(*levels, strict=True)):
        return best
    kept = allocate({name: replace(wish, workers=now[name]) for name, wish in wishes.items()}, nodes)
    if any(kept[name].workers < now[name] for name in wishes):
        return best
    return {
        name: grant if grant.workers == now[name] else Grant(now[name], GrantReason.KEPT, grant.starts, _KEPT)
        for name, grant in best.items()
    }


_KEPT = "the machines are full, and another split would hardly be faster"


def _levels(
    wishes: Mapping[str, Wish], lanes: Sequence[Sequence[str]], nodes: Sequence[Node], workers: Mapping[str, int]
) -> list[float]:
    """What each lane has of its share, ascending: what it does, by what that costs of the scarcest resource."""
    cpus, gpus = sum(node.cpus for node in nodes) or 1.0, float(sum(node.gpus for node in nodes)) or 1.0
    found: list[float] = []
    for names in lanes:
        # Stages of unknown speed count their workers, each for itself.
        parts = [[name for name in names if wishes[name].speed], *([name] for name in names if not wishes[name].speed)]
        for part in filter(None, parts):
            pairs = [(wishes[name], wishes[name].speed or 1.0) for name in part]
            cost = max(
                sum(wish.cpus / speed for wish, speed in pairs) / cpus,
                sum(wish.gpus / speed for wish, speed in pairs) / gpus,
            )
            rate = min(workers[name] * (wishes[name].speed or 1.0) for name in part)
            found.append(rate * cost / wishes[part[0]].weight)
    return sorted(found)
