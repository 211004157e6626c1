"""How many workers one (lane, stage) pool should have.

The model is a fluid queue. `load` is the demand in workers: what arrives, plus what has piled up and is to be gone in
`drain_s`, over what one worker does in a second of work.

    load > high * workers         more:   ceil(load / target), clamped to what is possible
    load < low * (workers - 1)    fewer:  the same size, but only after it has been so for `down_after_s`
    between the two               the dead zone: nothing

With `low < target < high` every size so chosen lies inside its own dead zone: constant load never moves a pool twice.
A pool whose workers are not all busy while work waits is not the bottleneck, and more of them would not help.

The cold start follows cosmos-xenna's saturation-aware ramp (cosmos_xenna/pipelines/private/scheduling_py/
saturation_aware/ramp.py): a pool whose speed is unknown grows by one worker at a time, and only with work of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.scale.records import Decision, PoolLimits, PoolMemory, PoolSignals, ScaleReason

_Wish = tuple[int, ScaleReason]


def decide(signals: PoolSignals, limits: PoolLimits, memory: PoolMemory, now_s: float) -> Decision:
    """Size one pool. Pure: equal arguments, equal decision.

    Args:
        signals: of the window that ends now.
        limits: of this pool.
        memory: from the last decision.
        now_s: any clock that never goes back.
    """
    pool = _Pool(signals, limits, _remember(signals, limits, memory, now_s), now_s)
    pool = replace(pool, memory=_watch_oversize(pool))
    wanted, reason = _want(pool)
    target, reason = _clamp(pool, wanted, reason)
    memory = pool.memory
    if target != pool.workers:
        memory = replace(memory, low_since_s=None, low_peak=0, cold_since_s=None)
    return Decision(target, reason, wanted, pool.load, memory)


@dataclass(frozen=True, slots=True)
class _Pool:
    """The arguments of one decision, and what follows from them directly."""

    signals: PoolSignals
    limits: PoolLimits
    memory: PoolMemory
    now_s: float

    @property
    def workers(self) -> int:
        """Those that are here to stay."""
        return self.signals.workers

    @property
    def service_hz(self) -> float | None:
        """Items that one worker finishes in a second of work; None while too few have been."""
        memory = self.memory
        known = memory.finished_items >= self.limits.known_items and memory.items > 0.0 and memory.busy_s > 0.0
        return memory.items / memory.busy_s if known else None

    @property
    def load(self) -> float | None:
        """Demand in workers; None while no speed is known."""
        hz = self.service_hz
        if hz is None:
            return None
        # Three long films are work for three workers, however long they take.
        backlog = min(self.signals.queued_items / (hz * self.limits.drain_s), float(self.signals.queued_units))
        return self.memory.arrival_hz / hz + backlog

    @property
    def size(self) -> int:
        """The workers for this load, busy for their target share; the least possible while no speed is known."""
        return max(1, self.limits.min_workers, math.ceil((self.load or 0.0) / self.limits.target))

    @property
    def too_small(self) -> bool:
        """Above the dead zone."""
        return self.load is not None and self.load > self.limits.high * self.workers

    @property
    def too_large(self) -> bool:
        """Below the dead zone, measured against one worker fewer."""
        low = self.limits.low * (self.workers - 1)
        return self.load is not None and self.load < low and self.size < self.workers

    @property
    def units(self) -> int:
        """No more workers than this can have something to do."""
        signals = self.signals
        return signals.in_flight_units + signals.queued_units + signals.upstream_items

    @property
    def backlogged(self) -> bool:
        """What waits, here and upstream, is more than the present workers do in a moment."""
        soon = (self.service_hz or 0.0) * self.workers * self.limits.backlog_s
        return self.signals.waiting_items > soon

    def lasted(self, since_s: float | None, least_s: float) -> bool:
        """Whether something has held for so long."""
        return since_s is not None and self.now_s - since_s >= least_s


def _remember(signals: PoolSignals, limits: PoolLimits, memory: PoolMemory, now_s: float) -> PoolMemory:
    """Fold one window into the averages, and start or stop the clocks."""
    # Speed fades with work done, not with time, so that a pool that slept still knows how fast it was.
    keep = math.exp(-signals.busy_s / limits.memory_s)
    fresh = 1.0 - math.exp(-signals.window_s / limits.memory_s)
    waits = signals.queued_items > 0 and signals.workers_starting == 0
    return replace(
        memory,
        finished_items=memory.finished_items + signals.finished_items,
        items=memory.items * keep + signals.finished_items,
        busy_s=memory.busy_s * keep + signals.busy_s,
        # From zero up, not from the first window: a burst is a backlog, not a rate.
        arrival_hz=memory.arrival_hz + fresh * (signals.arrived_items / signals.window_s - memory.arrival_hz),
        idle_since_s=_since(memory.idle_since_s, signals.idle, now_s),
        cold_since_s=_since(memory.cold_since_s, waits, now_s),
    )


def _watch_oversize(pool: _Pool) -> PoolMemory:
    """How long fewer workers would have done, and how many of them at the worst moment."""
    low = pool.too_large and not pool.backlogged
    since_s, peak = _since(pool.memory.low_since_s, low, pool.now_s), max(pool.memory.low_peak, pool.size)
    if low and peak >= pool.workers:  # workers were lost meanwhile: the watch begins anew
        since_s, peak = pool.now_s, pool.size
    return replace(pool.memory, low_since_s=since_s, low_peak=peak if low else 0)


def _since(since_s: float | None, holds: bool, now_s: float) -> float | None:
    """When a condition that holds now began to hold."""
    return (now_s if since_s is None else since_s) if holds else None


def _want(pool: _Pool) -> _Wish:
    """The size that the work asks for, before the limits are looked at."""
    now, signals, limits = pool.workers, pool.signals, pool.limits
    if signals.idle and now > limits.min_workers and pool.lasted(pool.memory.idle_since_s, limits.idle_s):
        return limits.min_workers, ScaleReason.DOWN_IDLE
    if signals.idle and (now <= max(1, limits.min_workers) or pool.load is None):
        return now, ScaleReason.HOLD_IDLE
    if now == 0:
        return max(1, min(pool.size, pool.units)), ScaleReason.UP_FROM_ZERO
    if pool.load is None:
        return _want_cold(pool)
    if pool.too_small:
        return _want_more(pool)
    return _want_fewer(pool) if pool.too_large else (now, ScaleReason.HOLD_DEAD_ZONE)


def _want_cold(pool: _Pool) -> _Wish:
    """No speed known yet: one worker more at a time, while there is work for it."""
    now = pool.workers
    if pool.signals.workers_starting:
        return now, ScaleReason.HOLD_STARTING
    fed = pool.signals.in_flight_units >= now and pool.units > now
    if fed and pool.lasted(pool.memory.cold_since_s, pool.limits.cold_step_s):
        return now + 1, ScaleReason.UP_COLD
    return now, ScaleReason.HOLD_COLD


def _want_more(pool: _Pool) -> _Wish:
    """Too small for its load: larger, if that helps."""
    now = pool.workers
    if pool.signals.workers_starting:
        return now, ScaleReason.HOLD_STARTING
    if pool.signals.in_flight_units < now:
        return now, ScaleReason.HOLD_NOT_BOTTLENECK
    size = min(pool.size, math.ceil(pool.limits.growth * now), pool.units)
    return (size, ScaleReason.UP_BACKLOG) if size > now else (now, ScaleReason.HOLD_FEW_UNITS)


def _want_fewer(pool: _Pool) -> _Wish:
    """Too large for its load: smaller, once that has been so for long enough."""
    now, memory = pool.workers, pool.memory
    if pool.backlogged:
        return now, ScaleReason.HOLD_DRAINING_BACKLOG
    if not pool.lasted(memory.low_since_s, pool.limits.down_after_s):
        return now, ScaleReason.HOLD_HYSTERESIS
    return memory.low_peak, ScaleReason.DOWN_OVERSIZED


def _clamp(pool: _Pool, wanted: int, reason: ScaleReason) -> _Wish:
    """Into what is possible; a limit that bites is the reason."""
    limits, now = pool.limits, pool.workers
    ceiling, bites = limits.max_workers, ScaleReason.CLAMPED_MAX
    if limits.feasible_workers is not None and limits.feasible_workers < ceiling:
        ceiling, bites = max(0, limits.feasible_workers), ScaleReason.CLAMPED_CAPACITY
    bounded = min(max(wanted, limits.min_workers), ceiling)
    if max(wanted, limits.min_workers) > ceiling:
        return bounded, bites
    if now < bounded and wanted < limits.min_workers:
        return bounded, ScaleReason.UP_MINIMUM
    return bounded, reason
