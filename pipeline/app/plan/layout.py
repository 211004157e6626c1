"""A lane's pools, fused or apart, and what a reference costs each of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.app.build import lane_settings
from pipeline.app.plan.hop import CALL_S, between_nodes_s
from pipeline.app.plan.measured import Measured
from pipeline.config import PoolConfig
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan
from pipeline.runtime.placement import Placement, PoolPlan, place, pools_of
from pipeline.scale.allocate import Node
from pipeline.scale.forecast import Beside, Forecast, Station, forecast

COORDINATOR_S = 80e-6
"""Of the coordinator's CPU a reference; `python -m tests.bench` measures it."""
PACK_TOKEN_S = 1e-7
"""Of a packer's CPU a token; the same bench: 0.4 ms for an image of 4,096."""
IDLE_CPUS = 0.05
"""That Ray's own processes take."""
NO_LIMIT = 100_000
"""Workers: more than there are anywhere."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a lane is laid out.

    Attributes:
        workers: the pool that prepares, and tokenizes too where `tokenize` is None.
    """

    workers: PoolConfig
    tokenize: PoolConfig | None


def as_configured(lane: LanePlan) -> Way:
    """As the config says."""
    return Way(lane.config.workers, lane.config.tokenize)


def as_fused(lane: LanePlan) -> Way:
    """One pool; of two that are configured, each worker as large as the larger one."""
    workers, tokenize = lane.config.workers, lane.config.tokenize
    if tokenize is None:
        return as_configured(lane)
    larger = {name: max(getattr(workers, name), getattr(tokenize, name)) for name in ("min", "max", "cpus", "gpus")}
    return Way(workers.model_copy(update=larger), None)


def as_apart(lane: LanePlan) -> Way:
    """Two pools; of one that is configured, the GPU goes with the tokenizers."""
    if lane.config.tokenize is not None:
        return as_configured(lane)
    workers = lane.config.workers
    return Way(workers.model_copy(update={"gpus": 0.0}), workers)


def unlimited(way: Way) -> Way:
    """As many workers as fit."""
    more = {"max": NO_LIMIT}
    tokenize = way.tokenize and way.tokenize.model_copy(update=more)
    return Way(way.workers.model_copy(update=more), tokenize)


@dataclass(frozen=True, slots=True)
class Laid:
    """Lanes laid out on some machines.

    Attributes:
        pools: by name, as they are placed.
    """

    pools: Mapping[str, PoolPlan]
    notes: tuple[str, ...]
    forecast: Forecast


def lay_out(
    lanes: Sequence[LanePlan],
    ways: Mapping[str, Way],
    measured: Mapping[str, Measured],
    nodes: Sequence[Node],
    *,
    free_hop: bool = False,
) -> Laid:
    """Place the pools and forecast what they do.

    Args:
        ways: by lane.
        free_hop: as if windows went from node to node for nothing.

    Raises:
        ConfigError: they can't all start.
    """
    placement: Placement = place([pool for lane in lanes for pool in pools_of(_laid(lane, ways[lane.name]))], nodes)
    hops = 0.0 if free_hop or len(nodes) < 2 else 1 - 1 / len(nodes)
    stations = {pool.name: _station(pool, measured[pool.lane], hops) for pool in placement.pools}
    beside = {lane.name: _beside_s(lane, measured[lane.name]) for lane in lanes}
    expected = forecast(stations, nodes, Beside(beside, COORDINATOR_S, IDLE_CPUS))
    return Laid({pool.name: pool for pool in placement.pools}, placement.notes, expected)


def service_s(pool: PoolPlan, measured: Measured, hops: float = 0.0) -> float:
    """What a reference takes a worker of this pool, in seconds.

    Args:
        hops: share of the windows that go to another node on their way to a pool of tokenizers.
    """
    prepares, tokenizes = PREPARE in pool.stages, pool.stages != (PREPARE,)
    seconds = measured.prepare.reference_s + measured.put_s if prepares else 0.0
    seconds += measured.tokenize_s + measured.get_s if tokenizes else 0.0
    if prepares != tokenizes:
        seconds += hops * between_nodes_s(measured.window_bytes, measured.put_s) / 2
    return seconds


def _laid(lane: LanePlan, way: Way) -> LanePlan:
    return replace(lane, config=lane.config.model_copy(update={"workers": way.workers, "tokenize": way.tokenize}))


def _station(pool: PoolPlan, measured: Measured, hops: float) -> Station:
    on_gpu = pool.gpus > 0 and pool.stages != (PREPARE,)
    return Station(
        lane=pool.lane,
        service_s=service_s(pool, measured, hops),
        gpu_s=measured.tokenize_s if on_gpu else 0.0,
        cpus=pool.cpus,
        gpus=pool.gpus,
        uses_cpus=pool.config.cpus,
        min_workers=pool.least,
        max_workers=pool.config.max,
        weight=pool.weight,
    )


def _beside_s(lane: LanePlan, measured: Measured) -> float:
    """CPU-seconds a reference outside the workers."""
    settings = lane_settings(lane)
    views = len(set(lane.views.values())) or 1
    batches = len(lane.products) * measured.windows / views / settings.tokenize_windows
    calls = 1 / settings.prepare_batch + 2 * batches
    return COORDINATOR_S + CALL_S * calls + PACK_TOKEN_S * sum(measured.tokens.values())
