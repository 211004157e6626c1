"""One round of scaling for all pools that share the same machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.scale.allocate import Grant, Node, Wish, allocate
from pipeline.scale.decide import decide
from pipeline.scale.records import Decision, PoolLimits, PoolMemory, PoolSignals


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """One pool's turn.

    Attributes:
        cpus, gpus: of one worker.
        weight: of the pool, against the others.
    """

    signals: PoolSignals
    limits: PoolLimits
    memory: PoolMemory
    cpus: float = 1.0
    gpus: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What comes of it: `decision` is to be carried out, `grant` says what the machines had room for."""

    decision: Decision
    grant: Grant


def plan(pools: Mapping[str, PoolRequest], nodes: Sequence[Node], now_s: float) -> dict[str, PoolPlan]:
    """Decide for each pool as if it were alone, share the machines, then decide again where the share is smaller.

    Args:
        pools: by name, e.g. "image/tokenize"; their `feasible_workers` is set here.
        nodes: as in `allocate`.
        now_s: as in `decide`.
    """
    alone = {
        name: decide(pool.signals, replace(pool.limits, feasible_workers=None), pool.memory, now_s)
        for name, pool in pools.items()
    }
    wishes = {
        name: Wish(alone[name].target_workers, pool.limits.min_workers, pool.cpus, pool.gpus, pool.weight)
        for name, pool in pools.items()
    }
    grants = allocate(wishes, nodes)
    return {
        name: PoolPlan(
            alone[name]
            if grants[name].workers >= alone[name].target_workers
            else decide(pool.signals, replace(pool.limits, feasible_workers=grants[name].workers), pool.memory, now_s),
            grants[name],
        )
        for name, pool in pools.items()
    }
