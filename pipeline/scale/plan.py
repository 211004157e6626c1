"""One round of scaling for all pools that share the same machines.

The first pool of a lane sees what the source holds; a later one sees only what the ones before let through, and would
grow when they have grown, one start-up after the other. So each lane's rate is settled first: what its first pool asks
for, as far as that pool may grow. The others are sized for that rate at once, by how many of their items one reference
makes. Where the machines are too few, `allocate` splits them so that a lane's stages are equally fast.

Pools grow step by step, machines are shared by what they will come to: else a large pool takes in one minute what it
has to give back in the next. A split that is within `ENOUGH` of the best one stays, and so does one that differs by
less than the speeds are known: workers moved for a measuring error would be moved back a minute later. So does one
from which others would move for a pool that still starts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.scale.allocate import Grant, GrantReason, Node, Wish, allocate
from pipeline.scale.decide import judge, observe, service_hz
from pipeline.scale.packing import Room, pack
from pipeline.scale.records import ALONE, Decision, LaneView, PoolLimits, PoolMemory, PoolSignals, ScaleReason

ENOUGH = 0.96
_NOISE = 2.0
"""Standard errors of a speed, were service times exponential: twice 1 / root(items)."""
_UNFAIR = 0.5
"""Whoever has less than this part of its share gets it, however little is known."""
_RISING = 1.25
"""From so many times its present workers on, a pool has a long way to go."""


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
    pools = {
        name: replace(pool, memory=observe(pool.signals, pool.limits, pool.memory, now_s))
        for name, pool in pools.items()
    }
    sights = {name: sight for names in lanes.values() for name, sight in _look(pools, names, now_s).items()}
    alone = {name: _judge(pool, now_s, sights[name].lane) for name, pool in pools.items()}
    wishes = {
        name: Wish(
            max(alone[name].target_workers, sights[name].eventual),
            pool.limits.min_workers,
            pool.cpus,
            pool.gpus,
            pool.weight,
            pool.lane,
            sights[name].speed,
        )
        for name, pool in pools.items()
    }
    steps = {name: decision.target_workers for name, decision in alone.items()}
    grants = _share(pools, wishes, steps, nodes, list(lanes.values()))
    return {
        name: PoolPlan(
            alone[name]
            if grants[name].workers >= alone[name].target_workers
            else _judge(pool, now_s, sights[name].lane, grants[name].workers),
            grants[name],
        )
        for name, pool in pools.items()
    }


def _judge(pool: PoolRequest, now_s: float, lane: LaneView, feasible: int | None = None) -> Decision:
    limits = pool.limits
    if limits.feasible_workers != feasible:
        limits = replace(limits, feasible_workers=feasible)
    return judge(pool.signals, limits, pool.memory, now_s, lane)


@dataclass(frozen=True, slots=True)
class _Sight:
    """A pool as a part of its lane.

    Attributes:
        speed: references a second of one worker; 0: unknown.
        lane: what the lane means for it.
        eventual: workers that it will come to want, with its lane.
    """

    speed: float
    lane: LaneView = ALONE
    eventual: int = 0


def _look(pools: Mapping[str, PoolRequest], names: Sequence[str], now_s: float) -> dict[str, _Sight]:
    """How a lane's pools see each other. As long as their speeds are not all known, each looks after itself."""
    first = names[0]
    speeds: dict[str, float] = {}
    each, left = 1.0, math.inf
    for name in names:
        memory, limits = pools[name].memory, pools[name].limits
        if name != first:
            # What one leaves the next one gets: what came here over what left there is how many one makes.
            each *= memory.arrived / left if left >= limits.known_items else 0.0
        left = memory.left
        # Of the last minutes, not seconds: a split that follows the lengths of the last few items never rests.
        known = service_hz(memory, limits) is not None and memory.worked_s > 0.0 and each > 0.0
        speeds[name] = memory.left / memory.worked_s / each if known else 0.0
    alone = _judge(pools[first], now_s, ALONE)
    if len(names) == 1:
        return {first: _Sight(speeds[first], eventual=alone.eventual_workers)}
    if not all(speeds.values()):
        return {name: _Sight(speeds[name]) for name in names}
    wanted_hz = min(alone.load or 0.0, float(alone.target_workers)) * speeds[first]
    views = {name: LaneView(load=wanted_hz / speeds[name]) for name in names[1:]} | {first: ALONE}
    decided = {name: _judge(pools[name], now_s, views[name]) for name in names}
    # As fast as the slowest can be after its next step; a little more, so that none of the others is it by chance.
    most_hz = min(_next(pools[name], decided[name]) * speeds[name] for name in names) / pools[first].limits.high
    eventual_hz = min(decided[name].eventual_workers * speeds[name] for name in names) / pools[first].limits.high
    return {
        name: _Sight(
            speeds[name],
            replace(views[name], most=most_hz / speeds[name]),
            min(decided[name].eventual_workers, math.ceil(eventual_hz / speeds[name])),
        )
        for name in names
    }


def _next(pool: PoolRequest, decision: Decision) -> int:
    """The size after the pool's next step, which it takes when those that start are ready."""
    if decision.reason is not ScaleReason.HOLD_STARTING:
        return decision.target_workers
    return min(decision.eventual_workers, math.ceil(pool.limits.growth * pool.signals.workers))


def _share(
    pools: Mapping[str, PoolRequest],
    wishes: Mapping[str, Wish],
    steps: Mapping[str, int],
    nodes: Sequence[Node],
    lanes: Sequence[Sequence[str]],
) -> dict[str, Grant]:
    """What each gets: the best split, or, where it is hardly worse, the present one.

    Args:
        steps: how many each would like now; its wish is what it will come to.
    """
    best = allocate(wishes, nodes)
    if all(grant.workers == wishes[name].workers for name, grant in best.items()):
        return best
    now = {name: min(pools[name].signals.workers, wish.workers) for name, wish in wishes.items()}
    if pack(Room(nodes), [(wish.share, now[name]) for name, wish in wishes.items()]) is None:
        return best

    def reached(counts: Mapping[str, int]) -> list[float]:
        """The levels after this decision: who grows step by step, or still starts, is not there yet."""
        soon = {name: min(count, max(steps[name], now[name])) for name, count in counts.items()}
        return _levels(wishes, lanes, nodes, soon)

    could = reached({name: grant.workers for name, grant in best.items()})
    for kept in _gentler(wishes, now, best, nodes):
        moved = [
            pools[name].memory.left
            for name, grant in best.items()
            if grant.workers != kept[name] and wishes[name].speed
        ]
        # How fast a worker is has been learnt from so many items: what differs by less than that is the same.
        noise = _NOISE / math.sqrt(max(1.0, min(moved, default=math.inf)))
        if not _is_worse(reached(kept), could, max(_UNFAIR, min(ENOUGH, 1.0 - noise))):
            return {
                name: grant if grant.workers == kept[name] else Grant(kept[name], GrantReason.KEPT, grant.starts, _KEPT)
                for name, grant in best.items()
            }
    return best


def _is_worse(levels: Sequence[float], others: Sequence[float], enough: float) -> bool:
    """From the worst off to the best off, the first that differs tells.

    Which lane is which does not matter, or equal ones would take turns; nor does what the better off have where the
    worst off have more, or two splits, each of them better for somebody, would.
    """
    for have, could in zip(levels, others, strict=True):
        if have < enough * could:
            return True
        if could < enough * have:
            return False
    return False


def _gentler(
    wishes: Mapping[str, Wish],
    now: Mapping[str, int],
    best: Mapping[str, Grant],
    nodes: Sequence[Node],
) -> Iterator[Mapping[str, int]]:
    """Splits that move fewer than the best one: nobody, or only those that have a long way to go."""
    yield now
    rising = {name for name, grant in best.items() if grant.workers > _RISING * now[name]}
    if rising:
        stay = {
            name: wish if name in rising else replace(wish, workers=now[name], min_workers=now[name])
            for name, wish in wishes.items()
        }
        yield {name: grant.workers for name, grant in allocate(stay, nodes).items()}


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
