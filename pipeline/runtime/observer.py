"""What the coordinator shows of itself: once a second a status file, metrics, progress."""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray.util.metrics
import structlog

from pipeline.flow.calls import Prepare, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitClock, WaitReason
from pipeline.flow.whereabouts import whereabouts
from pipeline.observe import metrics as m
from pipeline.observe.status import (
    CreditStatus,
    LaneStatus,
    OldestItem,
    OutageStatus,
    PoolStatus,
    RunStatus,
    State,
    write_status,
)
from pipeline.runtime.coordinator import Coordinator
from pipeline.runtime.lane_run import Ended, LaneRun
from pipeline.runtime.object_store import StoreWatch, read_use
from pipeline.runtime.pool import Pool, WorkerState
from pipeline.runtime.scaler import held_by
from pipeline.runtime.stalls import StallWatch
from pipeline.scale.decide import Decision

PERIOD_S = 1.0
RATE_WINDOW_S = 15.0
MOST_OUTAGES_SHOWN = 10
ENDED = {Ended.LETTER: m.LETTERS, Ended.EMPTY: m.EMPTIES, Ended.VOID: m.VOIDS}

_log = structlog.get_logger(__name__)


class _Rate:
    """A counter's growth over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()

    def at(self, total: float, now_s: float) -> float:
        """Per second, over up to `RATE_WINDOW_S`."""
        self._points.append((now_s, total))
        while now_s - self._points[0][0] > RATE_WINDOW_S:
            self._points.popleft()
        first_s, first = self._points[0]
        return (total - first) / (now_s - first_s) if now_s > first_s else 0.0


class Observer:
    """See the module. Called once a round; does something once a second.

    Args:
        state_dir: where status.json goes.
        show: is given each status, e.g. to draw progress.
    """

    def __init__(
        self, config_path: str, lake: str, state_dir: Path, notes: Sequence[str], show: Callable[[RunStatus], None]
    ) -> None:
        self._config = config_path
        self._lake = lake
        self._state_dir = state_dir
        self._notes = tuple(notes)
        self._show = show
        self._started_at_s = time.time()
        self._next_s = 0.0
        self._unwritten = False
        self._stalls = StallWatch(state_dir)
        self._store = StoreWatch(read_use)
        self._clocks: dict[str, WaitClock] = defaultdict(WaitClock)
        self._rates: dict[tuple[str, str], _Rate] = defaultdict(_Rate)
        self._metrics = m.Metrics()
        classes: Any = ray.util.metrics
        self._exporter = m.ClassExporter(classes.Counter, classes.Gauge, classes.Histogram)
        self._counted: dict[tuple[str, str], float] = {}

    def __call__(self, coordinator: Coordinator, now_s: float) -> None:
        """One round has passed."""
        for lane in coordinator.lanes:
            reason = waiting_for(lane, committing=coordinator.committing, growing=bool(coordinator.wanted_nodes))
            if self._clocks[lane.name].enter(reason, now_s) and reason is not None:
                _log.debug("waits", lane=lane.name, reason=reason.value, why=reason.explanation)
        if now_s >= self._next_s:
            self._next_s = now_s + PERIOD_S
            self.publish(coordinator, now_s, State.DRAINING if coordinator.draining else State.RUNNING)

    def publish(self, coordinator: Coordinator, now_s: float, state: State) -> RunStatus:
        """Write and show the present status."""
        status = RunStatus(
            state=state,
            config=self._config,
            lake=self._lake,
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at_s=self._started_at_s,
            written_at_s=time.time(),
            lanes=tuple(self._lane(lane, coordinator, now_s) for lane in coordinator.lanes),
            notes=self._notes,
            pids={name: pid for lane in coordinator.lanes for name, pid in lane.driver.pids.items()},
            spilled_bytes=self._store.look(now_s),
            wanted_nodes=coordinator.wanted_nodes,
        )
        self._write(status)
        self._export(coordinator, status)
        self._show(status)
        return status

    def _write(self, status: RunStatus) -> None:
        """A disk that is full is no reason to end work that may not need it; `mediatok status` calls the file stale."""
        try:
            write_status(self._state_dir, status)
        except OSError as error:
            if not self._unwritten:
                _log.warning("status can't be written", state=str(self._state_dir), error=str(error))
            self._unwritten = True
        else:
            self._unwritten = False

    def _lane(self, run: LaneRun, coordinator: Coordinator, now_s: float) -> LaneStatus:
        core, decisions = run.lane.core, coordinator.decisions
        around = coordinator.around(run, now_s)
        tokens = sum(run.driver.tally.tokens.values())
        clock = self._clocks[run.name]
        return LaneStatus(
            lane=run.name,
            state=state_of(run),
            lag_items=run.lag,
            in_flight_items=len(core.ledger),
            in_flight_bytes=core.windows.used_bytes + core.tokens.used_bytes,
            done_items=run.done_messages,
            letters=run.letters,
            rate_hz=self._rates[run.name, "done"].at(run.done_messages, now_s),
            tokens_hz=self._rates[run.name, "tokens"].at(tokens, now_s),
            credits=CreditStatus(
                slots_used=len(core.ledger),
                slots_total=core.settings.most_uncommitted,
                bytes_used=core.windows.used_bytes + core.tokens.used_bytes,
                bytes_total=core.windows.limit_bytes + core.tokens.limit_bytes,
            ),
            pools=tuple(self._pool(run, pool, decisions.get(pool.name), now_s) for pool in run.driver.pools),
            waiting=clock.reason,
            waited_s=clock.totals(now_s),
            oldest=_oldest(run, now_s),
            committed_version=coordinator.progress.version,
            held_letters=core.failures.held,
            outages=_outages(run, now_s),
            stalled=self._stalls.look(run, around, coordinator.progress.commits, now_s),
        )

    def _pool(self, run: LaneRun, pool: Pool, decision: Decision | None, now_s: float) -> PoolStatus:
        held = held_by(run, pool)
        return PoolStatus(
            stage=pool.name.rpartition("/")[2],
            workers_ready=pool.count(WorkerState.READY),
            workers_starting=pool.count(WorkerState.STARTING),
            workers_draining=pool.count(WorkerState.RETIRING),
            workers_wanted=decision.target_workers if decision else pool.present,
            queued_items=held.queued_items,
            in_flight_items=held.in_flight_items,
            rate_hz=self._rates[pool.name, "finished"].at(pool.items_in_all, now_s),
            reason=decision.reason.value if decision else "",
        )

    def _export(self, coordinator: Coordinator, status: RunStatus) -> None:
        for run, lane in zip(coordinator.lanes, status.lanes, strict=True):
            name = lane.lane
            self._grow(m.MESSAGES, run.admitted, lane=name)
            self._grow(m.FETCHED, run.driver.tally.fetched_bytes, lane=name)
            for reason, waited_s in lane.waited_s.items():
                self._grow(m.WAITED, waited_s, lane=name, reason=reason.value)
            self._metrics.set(m.LAG, lane.lag_items or 0, lane=name)
            self._metrics.set(m.IN_FLIGHT, lane.in_flight_items, lane=name)
            self._metrics.set(m.IN_FLIGHT_BYTES, lane.in_flight_bytes, lane=name)
            self._metrics.set(m.PAUSED, float(run.paused), lane=name)
            self._metrics.set(m.OLDEST_AGE, lane.oldest.age_s if lane.oldest else 0.0, lane=name)
            self._metrics.set(m.OUTAGES, len(run.lane.outages), lane=name)
            self._metrics.set(m.HELD_LETTERS, lane.held_letters, lane=name)
            self._metrics.set(m.STALLED, float(lane.stalled is not None), lane=name)
            for age_s in run.take_latencies():
                self._metrics.observe(m.PUBLISH_TO_COMMIT, age_s, lane=name)
            for pool, shown in zip(run.driver.pools, lane.pools, strict=True):
                labels = {"lane": name, "stage": shown.stage}
                self._grow(m.ITEMS, pool.items_in_all, **labels)
                self._grow(m.STAGE_BUSY, pool.busy_in_all_s, **labels)
                self._grow(m.WORKER_DEATHS, pool.deaths, **labels, reason="died")
                self._grow(m.WORKER_DEATHS, pool.left_for_memory, **labels, reason="memory")
                self._metrics.set(m.QUEUED, shown.queued_items, **labels)
                for state, count in (
                    ("ready", shown.workers_ready),
                    ("starting", shown.workers_starting),
                    ("draining", shown.workers_draining),
                    ("wanted", shown.workers_wanted),
                ):
                    self._metrics.set(m.WORKERS, count, **labels, reason=state)
            for key, total in run.committed_rows.items():
                self._grow(m.ROWS, total, lane=name, product=key)
            for key, total in run.committed_tokens.items():
                self._grow(m.TOKENS, total, lane=name, product=key)
            for key, total in run.committed_bytes.items():
                self._grow(m.STORED, total, lane=name, product=key)
            for (ended, key, reason), total in run.outcomes.items():
                self._grow(ENDED[ended], total, lane=name, product=key, reason=reason)
            self._metrics.set(m.CREDIT_BYTES, lane.credits.bytes_total - lane.credits.bytes_used, lane=name)
        progress = coordinator.progress
        if self._grow(m.COMMITS, progress.commits):
            self._metrics.observe(m.COMMIT_DURATION, progress.commit_s)
        self._metrics.set(m.COMMITTED_VERSION, progress.version)
        self._metrics.set(m.SPILLED, status.spilled_bytes or 0)
        self._exporter.export(self._metrics.drain())

    def _grow(self, metric: m.Metric, total: float, **labels: str) -> bool:
        """Count what a running total has grown by since the last time. Returns whether it has."""
        key = (metric.name, repr(sorted(labels.items())))
        grown = total - self._counted.get(key, 0.0)
        if grown > 0:
            self._metrics.count(metric, grown, **labels)
        self._counted[key] = total
        return grown > 0


def state_of(run: LaneRun) -> State:
    """In a word."""
    if run.error is not None:
        return State.STOPPED
    if run.lane.draining:
        return State.DRAINING
    if run.paused:
        return State.PAUSED
    return State.IDLE if run.idle and not len(run.lane.core.ledger) else State.RUNNING


def waiting_for(run: LaneRun, *, committing: bool, growing: bool) -> WaitReason | None:
    """What keeps this lane from going faster, most downstream cause first; None while it computes.

    Args:
        committing: whether a commit is under way.
        growing: whether the cluster was asked for nodes.
    """
    lane = run.lane
    if lane.waits_for_outage:
        return WaitReason.OUTAGE
    if any(isinstance(action, Prepare | Tokenize) for action, _ in lane.core.calls.values()):
        waits = [lane.core.waits.get(key) for key in lane.views]
        return WaitReason.NO_BYTES if WaitReason.NO_BYTES in waits else None
    if lane.works:
        return _held_up(run, growing=growing)
    if lane.core.failures.held and not lane.pack.holds_rows:
        return WaitReason.HOLDING_LETTERS
    if len(lane.core.ledger):
        return WaitReason.COMMITTING if committing else WaitReason.SHARD_FILLING
    return WaitReason.DRAINING if lane.draining else WaitReason.NO_INPUT


def _held_up(run: LaneRun, *, growing: bool) -> WaitReason:
    """Why nothing computes although there is work: the reason of the last stage that has some."""
    lane = run.lane
    if lane.pack.queued:
        return WaitReason.PACKER_FULL
    ready = lane.prepare.ready
    stages = [key for key, batcher in lane.tokenize.batchers.items() if len(batcher)]
    for stage in [*stages, *([PREPARE] if len(ready) else [])]:
        pools = [pool for pool in run.driver.pools if stage in pool.spec.stages]
        if any(pool.count(WorkerState.READY) for pool in pools):
            reason = lane.core.waits.get(stage, WaitReason.NO_INPUT)
            # It has come since the lane last looked, and goes the next time.
            return WaitReason.BATCH_FILLING if reason is WaitReason.NO_INPUT else reason
        if any(pool.count(WorkerState.STARTING) for pool in pools):
            return WaitReason.STARTING
        return WaitReason.NO_NODE if growing else WaitReason.NO_WORKER_READY
    return WaitReason.OUTAGE if ready.parked else WaitReason.BACKING_OFF


def _oldest(run: LaneRun, now_s: float) -> OldestItem | None:
    entry = run.lane.core.ledger.oldest()
    if entry is None:
        return None
    found = whereabouts(run.lane, entry, now_s)
    return OldestItem(found.origin, found.uri, now_s - entry.since_s, found.doing.label, found.detail)


def _outages(run: LaneRun, now_s: float) -> tuple[OutageStatus, ...]:
    waiting = run.lane.prepare.ready.parked_by_place
    outages = [
        OutageStatus(place, now_s - outage.since_s, waiting.get(place, 0), outage.error)
        for place, outage in run.lane.outages.items()
    ]
    return tuple(sorted(outages, key=lambda outage: -outage.waiting_items)[:MOST_OUTAGES_SHOWN])
