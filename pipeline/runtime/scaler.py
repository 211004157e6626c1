"""Asks `scale` how large each pool should be and has the drivers make it so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from pipeline.flow.calls import Prepare, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.runtime.lane_run import LaneRun
from pipeline.runtime.node_requests import NodeRequests
from pipeline.runtime.placement import PoolPlan, hardest_first, wish
from pipeline.runtime.pool import Pool, WorkerState
from pipeline.scale.allocate import GrantReason, Node, Wish, allocate
from pipeline.scale.demand import Bundles, Demand, PoolDemand, told
from pipeline.scale.packing import Share
from pipeline.scale.plan import PoolPlan as PoolDecision
from pipeline.scale.plan import PoolRequest, plan
from pipeline.scale.records import Decision, PoolLimits, PoolMemory, PoolSignals

PERIOD_S = 1.0
DRAINING = " (draining)"
SHORT = {GrantReason.SHORT_OF_CPUS, GrantReason.SHORT_OF_GPUS, GrantReason.GPU_FRAGMENTED, GrantReason.NEVER_FITS}

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Scaled:
    plan: PoolPlan
    pool: Pool
    run: LaneRun
    memory: PoolMemory = field(default_factory=PoolMemory)
    decision: Decision | None = None
    held_items: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What lies before a pool's workers and with them.

    Attributes:
        queued_items, queued_units: waiting; a unit is what could keep one more worker busy.
        in_flight_items, in_flight_units: with workers; a unit is a call.
        upstream_items: on their way to this pool.
    """

    queued_items: int
    queued_units: int
    in_flight_items: int
    in_flight_units: int
    upstream_items: int

    @property
    def items(self) -> int:
        """In the pool's care."""
        return self.queued_items + self.in_flight_items


class Scaler:
    """One decision a period for all pools together, since they share the cluster.

    Args:
        plans: by pool name.
        nodes: of the cluster, as it is now: it may grow.
        requests: where the cluster grows if it is asked to; None: it does not.
    """

    def __init__(
        self,
        lanes: Sequence[LaneRun],
        plans: Mapping[str, PoolPlan],
        nodes: Callable[[], Sequence[Node]],
        requests: NodeRequests | None = None,
    ) -> None:
        self._requests = requests
        self._demand = Demand()
        self._bundles: Bundles = {}
        self._pools = {pool.name: _Scaled(plans[pool.name], pool, run) for run in lanes for pool in run.driver.pools}
        self._nodes = nodes
        self._last_s: float | None = None

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """The last decision of each pool."""
        return {name: scaled.decision for name, scaled in self._pools.items() if scaled.decision is not None}

    @property
    def wanted_nodes(self) -> str:
        """What the cluster was asked for, for people; "" where it has all that is wanted."""
        return told(self._bundles)

    def start(self) -> None:
        """The workers that each pool begins with; where the cluster grows, those that fit already."""
        least = {name: wish(scaled.plan, scaled.plan.least) for name, scaled in self._pools.items()}
        grants = allocate(least, self._nodes())
        for name in self._hardest_first():
            scaled = self._pools[name]
            for _ in range(grants[name].workers if self._requests else scaled.plan.least):
                scaled.run.driver.start_worker(scaled.pool)

    def _hardest_first(self) -> list[str]:
        """Pools in the order in which they should start; see `placement`."""
        return [planned.name for planned in hardest_first(scaled.plan for scaled in self._pools.values())]

    def close(self) -> None:
        """The machines that were asked for are not wanted any more."""
        if self._requests is not None:
            self._requests.close()
            self._bundles = {}

    def tick(self, now_s: float) -> None:
        """Decide, if a period has passed."""
        if self._last_s is None:
            self._last_s = now_s
        window_s = now_s - self._last_s
        if window_s < PERIOD_S:
            return
        self._last_s = now_s
        plans = plan({name: _request(scaled, window_s) for name, scaled in self._pools.items()}, self._nodes(), now_s)
        for name, made in plans.items():
            scaled = self._pools[name]
            _tell(scaled, made.decision, made.grant.detail)
            scaled.decision, scaled.memory = made.decision, made.decision.memory
            surplus = scaled.pool.present - made.decision.target_workers
            for worker in scaled.pool.to_retire(max(0, surplus)):
                scaled.run.driver.retire_worker(scaled.pool, worker.name)
        self._grow({name: made.decision.target_workers for name, made in plans.items()})
        if self._requests is not None:
            demands = {name: _demand(self._pools[name], made) for name, made in plans.items()}
            self._bundles = self._demand.update(demands, now_s)
            self._requests.ask(self._bundles, now_s)

    def _grow(self, targets: Mapping[str, int]) -> None:
        """Start workers where there is room beside those that drain: they still hold their CPUs and GPU shares."""
        wishes: dict[str, Wish] = {}
        for name, scaled in self._pools.items():
            pool, each = scaled.pool, scaled.plan
            wished = Wish(targets[name], pool.present, each.cpus, each.gpus, each.weight)
            draining = pool.count(WorkerState.RETIRING)
            wishes |= {name: wished, name + DRAINING: replace(wished, workers=draining, min_workers=draining)}
        grants = allocate(wishes, self._nodes())
        for name in self._hardest_first():
            scaled = self._pools[name]
            room = grants[name].workers - scaled.pool.present
            for _ in range(room):
                scaled.run.driver.start_worker(scaled.pool)
            if grants[name].workers < targets[name]:
                _log.debug("waits for workers that drain", pool=name, why=grants[name].detail)


def held_by(run: LaneRun, pool: Pool) -> Held:
    """Count what a pool has before it.

    Items of a pool that prepares are references (segments of long ones); in a fused pool they stay until the last
    product has its tokens: with two products, a call of one finishes half of each. Items of a pool that only
    tokenizes are windows.
    """
    lane, stages = run.lane, pool.spec.stages
    prepares, products = PREPARE in stages, len(stages) - (PREPARE in stages)
    calls = [a for a, _ in lane.core.calls.values() if isinstance(a, Prepare | Tokenize) and a.worker in pool.workers]
    ready, queue = lane.prepare.ready, lane.tokenize
    waits_upstream = ready.delayed + ready.parked + (0 if lane.draining else run.lag)
    if prepares:
        parts = sum(len(call.items) for call in calls if isinstance(call, Tokenize))
        return Held(
            queued_items=len(ready) + (_share(queue.queued_items, products) if products else 0),
            queued_units=len(ready) + (queue.queued_batches if products else 0),
            in_flight_items=sum(len(c.leases) for c in calls if isinstance(c, Prepare)) + _share(parts, products),
            in_flight_units=len(calls),
            upstream_items=waits_upstream,
        )
    before = [call for call, _ in lane.core.calls.values() if isinstance(call, Prepare)]
    return Held(
        queued_items=queue.queued_windows,
        queued_units=queue.queued_batches,
        in_flight_items=sum(piece.size for call in calls if isinstance(call, Tokenize) for piece in call.pieces),
        in_flight_units=len(calls),
        upstream_items=waits_upstream + len(ready) + sum(len(call.leases) for call in before),
    )


def _share(parts: int, products: int) -> int:
    return -(-parts // products) if products else 0


def _request(scaled: _Scaled, window_s: float) -> PoolRequest:
    pool, config = scaled.pool, scaled.plan.config
    held, work = held_by(scaled.run, pool), pool.take_work()
    # What was there, plus what came, less what left, is what is there.
    arrived = max(0, held.items - scaled.held_items + work.left_items)
    scaled.held_items = held.items
    signals = PoolSignals(
        queued_items=held.queued_items,
        queued_units=held.queued_units,
        in_flight_units=held.in_flight_units,
        upstream_items=held.upstream_items,
        workers_ready=pool.count(WorkerState.READY),
        workers_starting=pool.count(WorkerState.STARTING),
        workers_draining=pool.count(WorkerState.RETIRING),
        arrived_items=arrived,
        finished_items=work.finished_items,
        busy_s=work.busy_s,
        window_s=window_s,
        # The lag is a backlog once: at the lane's first pool. `plan` sizes the others for what that one asks for.
        lag_items=scaled.run.lag if PREPARE in pool.spec.stages and not scaled.run.lane.draining else 0,
    )
    limits = PoolLimits(min_workers=config.min, max_workers=config.max, idle_s=config.idle_s)
    planned = scaled.plan
    return PoolRequest(signals, limits, scaled.memory, planned.cpus, planned.gpus, planned.weight, planned.lane)


def _demand(scaled: _Scaled, made: PoolDecision) -> PoolDemand:
    """What a pool wants of the cluster, as far as its configuration allows."""
    config, decision = scaled.plan.config, made.decision
    wanted = min(max(decision.wanted_workers, config.min), config.max)
    short = made.grant.reason in SHORT and wanted > made.grant.workers
    return PoolDemand(Share(scaled.plan.cpus, scaled.plan.gpus), len(scaled.pool.workers), wanted, short)


def _tell(scaled: _Scaled, decision: Decision, room: str) -> None:
    """Log a decision that is not the last one again."""
    before = scaled.decision
    if before is None or (before.reason, before.target_workers) != (decision.reason, decision.target_workers):
        _log.info(
            "scale",
            pool=scaled.pool.name,
            workers=scaled.pool.present,
            target=decision.target_workers,
            reason=decision.reason.value,
            why=decision.reason.explanation,
            load=None if decision.load is None else round(decision.load, 2),
            **({"room": room} if room else {}),
        )
