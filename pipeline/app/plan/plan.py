"""From what was measured to a plan: which operators share a process, how many workers, what to expect. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.app.plan.layout import (
    Laid,
    Way,
    as_apart,
    as_configured,
    as_fused,
    lay_out,
    service_s,
    unlimited,
)
from pipeline.app.plan.measured import Measured
from pipeline.app.plan.needs import Need, PoolMemory, needs_of
from pipeline.app.plan.nodes import Machines
from pipeline.config import Config, PoolConfig
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan
from pipeline.runtime.placement import PoolPlan
from pipeline.scale.arrange import ENOUGH, Arrangement, Layouts, arrange
from pipeline.scale.forecast import LaneForecast


@dataclass(frozen=True, slots=True)
class PlannedPool:
    """A pool.

    Attributes:
        workers: with all lanes busy.
        alone: with its lane alone busy.
        service_s: what a reference takes one worker.
        worker_bytes: what one has of its own.
    """

    pool: PoolPlan
    workers: int
    alone: int
    service_s: float
    worker_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedLane:
    """A lane.

    Attributes:
        arrangement: of its operators.
        expected: with all lanes busy, laid out so.
        configured_hz: references a second as it is configured now.
        alone_hz: laid out so, and no other lane busy.
    """

    name: str
    modality: Modality
    arrangement: Arrangement
    pools: tuple[PlannedPool, ...]
    expected: LaneForecast
    configured_hz: float
    alone_hz: float
    measured: Measured


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it.

    Attributes:
        changes: YAML that would make it so, line by line; none where the config is as good.
        needs: memory and disk.
        notes: for people.
    """

    machines: Machines
    lanes: tuple[PlannedLane, ...]
    busy_cpus: float
    changes: tuple[str, ...]
    needs: tuple[Need, ...]
    notes: tuple[str, ...]


def make_plan(config: Config, lanes: Sequence[LanePlan], measured: Mapping[str, Measured], machines: Machines) -> Plan:
    """Lay every lane out the faster way, with as many workers as the machines have room for.

    Raises:
        ConfigError: the configured pools can't all start on these machines; says which one lacks what.
    """
    now = {lane.name: as_configured(lane) for lane in lanes}
    configured = lay_out(lanes, now, measured, machines.nodes)
    arrangements = {lane.name: _arrange(lane, measured, machines) for lane in lanes}
    ways = {lane.name: unlimited(as_apart(lane) if arrangements[lane.name].apart else as_fused(lane)) for lane in lanes}
    best = lay_out(lanes, ways, measured, machines.nodes)
    alone = {lane.name: lay_out([lane], ways, measured, machines.nodes) for lane in lanes}
    planned = tuple(
        PlannedLane(
            name=lane.name,
            modality=lane.modality,
            arrangement=arrangements[lane.name],
            pools=tuple(_pools(lane.name, best, alone[lane.name], measured[lane.name], len(machines.nodes))),
            expected=best.forecast.lanes[lane.name],
            configured_hz=configured.forecast.lanes[lane.name].rate_hz,
            alone_hz=alone[lane.name].forecast.lanes[lane.name].rate_hz,
            measured=measured[lane.name],
        )
        for lane in lanes
    )
    changes = tuple(line for lane, each in zip(lanes, planned, strict=True) for line in _changes(lane, each))
    needs = needs_of(config, lanes, [pool for each in planned for pool in _needs(each)], measured, machines)
    notes = (*configured.notes, *_notes(planned, machines))
    return Plan(machines, planned, best.forecast.busy_cpus, ("lanes:", *changes) if changes else (), needs, notes)


def _arrange(lane: LanePlan, measured: Mapping[str, Measured], machines: Machines) -> Arrangement:
    """As if the lane had the machines for itself, with as many workers as fit."""

    def rate(way: Way, *, free_hop: bool = False) -> float:
        try:
            laid = lay_out([lane], {lane.name: unlimited(way)}, measured, machines.nodes, free_hop=free_hop)
        except ConfigError:
            return 0.0  # this way its pools can't start
        return laid.forecast.lanes[lane.name].rate_hz

    fused, apart = as_fused(lane), as_apart(lane)
    assert apart.tokenize is not None
    return arrange(
        Layouts(
            fused_hz=rate(fused),
            apart_hz=rate(apart),
            apart_free_hz=rate(apart, free_hop=True),
            gpus=apart.tokenize.gpus,
            apart_now=lane.config.tokenize is not None,
        )
    )


def _pools(lane: str, best: Laid, alone: Laid, measured: Measured, nodes: int) -> Iterator[PlannedPool]:
    for name, pool in best.pools.items():
        if pool.lane == lane:
            fused = len(pool.stages) > 1 and PREPARE in pool.stages
            own = measured.memory.prepare if PREPARE in pool.stages else measured.memory.tokenize
            yield PlannedPool(
                pool,
                best.forecast.workers[name],
                alone.forecast.workers[name],
                service_s(pool, measured, 1 - 1 / nodes),
                measured.memory.fused if fused else own,
            )


def _needs(lane: PlannedLane) -> Iterator[PoolMemory]:
    for each in lane.pools:
        yield PoolMemory(each.pool.name, each.workers, each.worker_bytes, each.pool.config.memory_bytes)


def _changes(lane: LanePlan, planned: PlannedLane) -> Iterator[str]:
    """Lines for the config where the plan differs from it."""
    apart_now, apart = lane.config.tokenize is not None, planned.arrangement.apart
    pools = {"tokenize" if PREPARE not in each.pool.stages else "workers": each for each in planned.pools}
    current = {"workers": lane.config.workers, "tokenize": lane.config.tokenize}
    lines: list[str] = []
    for key, each in pools.items():
        configured = current[key]
        grows = (
            configured is not None
            and each.alone > configured.max
            and planned.configured_hz < (ENOUGH * max(planned.expected.rate_hz, planned.alone_hz))
        )
        if grows or apart != apart_now:
            lines.append(f"    {key}: {_flow(each.pool.config, each.alone)}")
    if apart_now and not apart:
        lines.append("    tokenize: null")
    if lines:
        yield f"  {lane.name}: # {planned.arrangement.reason.explanation}" if apart != apart_now else f"  {lane.name}:"
        yield from lines


def _flow(pool: PoolConfig, most: int) -> str:
    """A pool in one line of YAML."""
    fields = pool.model_dump(mode="json", exclude_defaults=True) | {"max": max(1, most, pool.min)}
    return "{" + ", ".join(f"{name}: {fields[name]}" for name in PoolConfig.model_fields if name in fields) + "}"


def _notes(lanes: Sequence[PlannedLane], machines: Machines) -> Iterator[str]:
    stolen = max(lane.measured.stolen for lane in lanes)
    if stolen > 1 - ENOUGH:
        yield (
            f"this machine had other work: up to {stolen:.0%} of the time went to that; it is taken out, but caches "
            "were shared"
        )
    for lane in lanes:
        measured = lane.measured
        gpus = any(each.pool.gpus for each in lane.pools)
        if gpus and measured.device == "cpu":
            yield f"lane {lane.name}: its tokenizers were measured on a CPU; on their GPUs they are faster"
        for code, count in measured.refused.items():
            yield f"lane {lane.name}: {count} samples were left out, they end as {code}"
    if machines.gpus and not any(each.pool.gpus for lane in lanes for each in lane.pools):
        yield f"{machines.gpus} GPUs are not used: no pool has `gpus`"
