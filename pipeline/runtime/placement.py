"""Which pools a lane has and what each worker of them takes of a cluster. Pure sums: nothing waits unexplained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from operators.errors import ConfigError
from pipeline.config import PoolConfig
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan
from pipeline.scale.allocate import Node, Wish, allocate

SMALLEST_CPUS = 0.05


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool of equal workers.

    Attributes:
        name: "<lane>/workers" or "<lane>/tokenize".
        stages: that its workers serve.
        cpus, gpus: of one worker, as Ray accounts them.
        config: as configured.
        weight: its lane's.
    """

    name: str
    lane: str
    stages: tuple[str, ...]
    cpus: float
    gpus: float
    config: PoolConfig
    weight: float

    @property
    def least(self) -> int:
        """Workers that must fit at once, together with every other pool's."""
        return max(1, self.config.min)


@dataclass(frozen=True, slots=True)
class Placement:
    """Pools that fit, and what was changed so that they do.

    Attributes:
        notes: for people, one line each.
    """

    pools: tuple[PoolPlan, ...]
    notes: tuple[str, ...] = ()


def pools_of(lane: LanePlan) -> tuple[PoolPlan, ...]:
    """One fused pool, or two where the tokenizers have one of their own."""
    config = lane.config
    name = lane.name
    if config.tokenize is None:
        stages = (PREPARE, *lane.keys)
        workers = config.workers
        return (PoolPlan(f"{name}/workers", name, stages, workers.cpus, workers.gpus, workers, config.weight),)
    prepare, tokenize = config.workers, config.tokenize
    return (
        PoolPlan(f"{name}/workers", name, (PREPARE,), prepare.cpus, prepare.gpus, prepare, config.weight),
        PoolPlan(f"{name}/tokenize", name, lane.keys, tokenize.cpus, tokenize.gpus, tokenize, config.weight),
    )


def place(pools: Sequence[PoolPlan], nodes: Sequence[Node]) -> Placement:
    """Make sure that every pool can have its least number of workers at the same time.

    Too few CPUs are shared: all workers are counted with the same smaller fraction (a small host starts everything,
    slower). GPU shares are not shrunk, since they stand for memory.

    Raises:
        ConfigError: they can't all start even so; says which pool lacks what.
    """
    notes: list[str] = []
    needed = sum(pool.cpus * pool.least for pool in pools)
    total = sum(node.cpus for node in nodes)
    if needed > total:
        factor = total / needed
        sums = " + ".join(f"{pool.least} × {pool.cpus:g} ({pool.name})" for pool in pools)
        notes.append(
            f"{sums} = {needed:g} CPUs, the cluster has {total:g}: each worker is counted as {factor:.0%} of that"
        )
        pools = [replace(pool, cpus=_floor(pool.cpus * factor)) for pool in pools]
    grants = allocate({pool.name: wish(pool, pool.least) for pool in pools}, nodes)
    lacking = [f"lanes.{name.replace('/', '.')}: {grant.detail}" for name, grant in grants.items() if not grant.starts]
    if lacking:
        raise ConfigError("pools that can't start:\n  " + "\n  ".join(lacking))
    return Placement(tuple(pools), tuple(notes))


def wish(pool: PoolPlan, workers: int) -> Wish:
    """A pool's wish for `workers` in all."""
    return Wish(workers, pool.config.min, pool.cpus, pool.gpus, pool.weight)


def _floor(cpus: float) -> float:
    """Down to hundredths, which Ray counts exactly."""
    return max(SMALLEST_CPUS, math.floor(cpus * 100) / 100)
