"""Which pools a lane has and what each worker of them takes of a cluster. Pure sums: nothing waits unexplained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from operators.errors import ConfigError
from pipeline.config import PoolConfig
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan
from pipeline.scale.allocate import Node, Wish, allocate
from pipeline.scale.first_fit import may_be_stuck, start_order

SMALLEST_CPUS = 0.05
GPU_SHARES = (1.0, 0.5, 0.33, 0.25, 0.2, 0.1)
"""Of which a whole number fits on a GPU."""
STEPS = 10
"""Of the search for a share of the CPUs: it is found to a thousandth."""


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
    slower), so small that each finds room on one node. GPU shares are not shrunk, since they stand for memory.

    Raises:
        ConfigError: they can't all start even so; says which pool lacks what, and the sum.
    """
    smallest = _counted(pools, 0.0)
    if lacking := _lacking(smallest, nodes):
        sums = [*_gpu_sum(pools, nodes)] or [_cpu_sum(smallest, nodes)]
        raise ConfigError("\n  ".join(["pools that can't start:", *lacking, *sums]))
    factor = _factor(pools, nodes)
    notes: list[str] = []
    if factor < 1:
        notes.append(f"{_cpu_sum(pools, nodes)}: each worker is counted as {factor:.0%} of that")
        pools = _counted(pools, factor)
    order = start_order((wish(pool, pool.least).share, pool.least) for pool in pools)
    if (stuck := may_be_stuck(order, nodes)) is not None:
        gpu = f" and {stuck.gpus:g} GPU" if stuck.gpus else ""
        notes.append(
            f"all pools fit, but tightly: Ray places workers one by one, and where it spreads the others over all "
            f"nodes, one that takes {stuck.cpus:g} CPU{gpu} of a single node may have to wait for them"
        )
    return Placement(tuple(pools), tuple(notes))


def place_later(pools: Sequence[PoolPlan], nodes: Sequence[Node]) -> Placement:
    """For a cluster that grows when it is asked: every pool as configured, and a note where it has to grow first."""
    grants = allocate({pool.name: wish(pool, pool.least) for pool in pools}, nodes)
    lacking = [f"{name}: {grant.detail}: waits for nodes" for name, grant in grants.items() if not grant.starts]
    return Placement(tuple(pools), tuple(lacking))


def wish(pool: PoolPlan, workers: int) -> Wish:
    """A pool's wish for `workers` in all."""
    return Wish(workers, pool.config.min, pool.cpus, pool.gpus, pool.weight)


def hardest_first(pools: Iterable[PoolPlan]) -> list[PoolPlan]:
    """In the order in which they should start: what finds room on few nodes before what finds it on any."""
    return sorted(pools, key=lambda pool: (-pool.gpus, -pool.cpus))


def _factor(pools: Sequence[PoolPlan], nodes: Sequence[Node]) -> float:
    """The largest share of their CPUs with which all pools start; with the smallest they do."""
    needed = sum(pool.cpus * pool.least for pool in pools)
    most = min(1.0, sum(node.cpus for node in nodes) / needed)
    if not _lacking(_counted(pools, most), nodes):
        return most
    # The sum would do, but not on single nodes.
    least = 0.0
    for _ in range(STEPS):
        middle = (least + most) / 2
        if _lacking(_counted(pools, middle), nodes):
            most = middle
        else:
            least = middle
    return least


def _counted(pools: Sequence[PoolPlan], factor: float) -> tuple[PoolPlan, ...]:
    """With this share of their CPUs."""
    return tuple(pools) if factor == 1 else tuple(replace(pool, cpus=_floor(pool.cpus * factor)) for pool in pools)


def _lacking(pools: Sequence[PoolPlan], nodes: Sequence[Node]) -> list[str]:
    """A line for each pool that can't start."""
    grants = allocate({pool.name: wish(pool, pool.least) for pool in pools}, nodes)
    return [f"lanes.{name.replace('/', '.')}: {grant.detail}" for name, grant in grants.items() if not grant.starts]


def _cpu_sum(pools: Sequence[PoolPlan], nodes: Sequence[Node]) -> str:
    sums = " + ".join(f"{pool.least} × {pool.cpus:g} ({pool.name})" for pool in pools)
    needed, have = sum(pool.cpus * pool.least for pool in pools), sum(node.cpus for node in nodes)
    where = f", on {len(nodes)} nodes" if len(nodes) > 1 else ""
    return f"{sums} = {needed:g} CPUs, the cluster has {have:g}{where}"


def _gpu_sum(pools: Sequence[PoolPlan], nodes: Sequence[Node]) -> Iterator[str]:
    """What they take in all, and what a worker could take at most for all to start."""
    on_gpus = [pool for pool in pools if pool.gpus]
    if not on_gpus:
        return
    sums = " + ".join(f"{pool.least} × {pool.gpus:g} ({pool.name})" for pool in on_gpus)
    needed, have = sum(pool.gpus * pool.least for pool in on_gpus), sum(node.gpus for node in nodes)
    yield f"{sums} = {needed:g} GPUs, the cluster has {have}"
    for share in GPU_SHARES:
        smaller = [replace(pool, cpus=0.0, gpus=min(pool.gpus, share)) for pool in pools]
        if not _lacking(smaller, nodes):
            yield f"with `gpus: {share:g}` at most they would start, if that is memory enough for each"
            return


def _floor(cpus: float) -> float:
    """Down to hundredths, which Ray counts exactly."""
    return max(SMALLEST_CPUS, math.floor(cpus * 100) / 100)
