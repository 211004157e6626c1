"""Asks `scale` how large each pool should be and has the drivers make it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from pipeline.flow.calls import Prepare, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.runtime.lane_run import LaneRun
from pipeline.runtime.placement import PoolPlan, wish
from pipeline.runtime.pool import Pool, WorkerState
from pipeline.scale.allocate import Node, allocate
from pipeline.scale.decide import Decision, PoolLimits, PoolMemory, PoolSignals, ScaleReason, decide

PERIOD_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Scaled:
    plan: PoolPlan
    pool: Pool
    run: LaneRun
    memory: PoolMemory = field(default_factory=PoolMemory)
    decision: Decision | None = None
    queued_before: int = 0
    finished_in_all: int = 0


class Scaler:
    """One decision a period for all pools together, since they share the cluster.

    Args:
        plans: by pool name.
        nodes: of the cluster.
    """

    def __init__(self, lanes: Sequence[LaneRun], plans: Mapping[str, PoolPlan], nodes: Sequence[Node]) -> None:
        self._pools = [_Scaled(plans[pool.name], pool, run) for run in lanes for pool in run.driver.pools]
        self._nodes = nodes
        self._last_s: float | None = None

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """The last decision of each pool."""
        return {scaled.pool.name: scaled.decision for scaled in self._pools if scaled.decision is not None}

    def start(self) -> None:
        """The workers that each pool begins with."""
        for scaled in self._pools:
            for _ in range(scaled.plan.least):
                scaled.run.driver.start_worker(scaled.pool)

    def tick(self, now_s: float) -> None:
        """Decide, if a period has passed."""
        if self._last_s is None:
            self._last_s = now_s
        window_s = now_s - self._last_s
        if window_s < PERIOD_S:
            return
        self._last_s = now_s
        for scaled in self._pools:
            self._decide(scaled, window_s, now_s)
        wishes = {s.pool.name: wish(s.plan, s.decision.target_workers) for s in self._pools if s.decision is not None}
        grants = allocate(wishes, self._nodes)
        for scaled in self._pools:
            self._move(scaled, grants[scaled.pool.name].workers, grants[scaled.pool.name].detail)

    def _decide(self, scaled: _Scaled, window_s: float, now_s: float) -> None:
        signals = _signals(scaled, window_s)
        config = scaled.plan.config
        limits = PoolLimits(min_workers=config.min, max_workers=config.max, idle_s=config.idle_s)
        before = scaled.decision
        scaled.decision = decide(signals, limits, scaled.memory, now_s)
        scaled.memory = scaled.decision.memory
        if before is None or (before.reason, before.target_workers) != (
            scaled.decision.reason,
            scaled.decision.target_workers,
        ):
            _log.info(
                "scale",
                pool=scaled.pool.name,
                workers=signals.workers,
                target=scaled.decision.target_workers,
                reason=scaled.decision.reason,
                why=scaled.decision.reason.explanation,
                load=None if scaled.decision.load is None else round(scaled.decision.load, 2),
            )

    def _move(self, scaled: _Scaled, granted: int, detail: str) -> None:
        pool, driver = scaled.pool, scaled.run.driver
        assert scaled.decision is not None
        if granted < scaled.decision.target_workers:
            scaled.decision = replace(scaled.decision, reason=ScaleReason.CLAMPED_CAPACITY, target_workers=granted)
            _log.debug("scale clamped", pool=pool.name, granted=granted, why=detail)
        present = pool.count(WorkerState.READY) + pool.count(WorkerState.STARTING)
        for _ in range(granted - present):
            driver.start_worker(pool)
        for worker in pool.to_retire(max(0, present - granted)):
            driver.retire_worker(pool, worker.name)


def _signals(scaled: _Scaled, window_s: float) -> PoolSignals:
    lane, pool = scaled.run.lane, scaled.pool
    fused = PREPARE in scaled.plan.stages
    in_flight = sum(
        isinstance(action, Prepare | Tokenize) and action.worker in pool.workers
        for action, _ in lane.core.calls.values()
    )
    if fused:
        queued, units = len(lane.prepare.ready), -(-len(lane.prepare.ready) // lane.core.settings.prepare_batch)
        units += lane.tokenize.queued if len(scaled.plan.stages) > 1 else 0
        upstream = lane.prepare.ready.delayed + (scaled.run.lag if scaled.run.paused else 0)
    else:
        queued, units = lane.tokenize.queued_items, lane.tokenize.queued
        upstream = len(lane.prepare.ready) + lane.prepare.ready.delayed
    finished, busy_s = pool.take_work()
    # What was there, plus what came, less what went, is what is there.
    arrived = max(0, queued + in_flight - scaled.queued_before + finished)
    scaled.queued_before = queued + in_flight
    return PoolSignals(
        queued_items=queued,
        queued_units=units,
        in_flight_units=in_flight,
        upstream_items=upstream,
        workers_ready=pool.count(WorkerState.READY),
        workers_starting=pool.count(WorkerState.STARTING),
        workers_draining=pool.count(WorkerState.RETIRING),
        arrived_items=arrived,
        finished_items=finished,
        busy_s=busy_s,
        window_s=window_s,
    )
