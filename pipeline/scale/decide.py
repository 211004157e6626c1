"""How many workers one (lane, stage) pool should have.

The model is a fluid queue. `load` is the demand in workers: what arrives, plus what has piled up (at the first pool of
a lane the source's lag too) and is to be gone in `drain_s`, over what one worker does in a second of work.

    load over the high share of the workers        more:   as many as are busy for the target share of their time
    load under the low share of all but one        fewer:  the same size, but only after it has been so for a while
    between the two                                the dead zone: nothing

Where one worker needs `target` to have a rest, a thousand need far less of it: the load fluctuates with its root
(square-root staffing: Halfin & Whitt, Operations Research 1981). So the rests grow with the load up to `crowd`, and
with its root from there: 30 % of a worker, 3 % of four thousand. With `low < target < high` every size so chosen lies
inside its own dead zone: constant load never moves a pool twice.

A pool whose workers are not all busy while work waits is not the bottleneck, and more of them would not help; nor would
they where the last growth brought nothing (`effect.py`). A worker is not worth starting for work that is gone before it
is ready, nor worth stopping in a lull that is over before it would be back: `start_s`, measured, bounds both. A pool
that shrank and soon grew again was wrong to shrink: each time it waits twice as long before it does so again.

The cold start follows cosmos-xenna's saturation-aware ramp (cosmos_xenna/pipelines/private/scheduling_py/
saturation_aware/ramp.py): a pool whose speed is unknown grows by one worker at a time, and only with work of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.scale.effect import CAREFUL, NO_EFFECT
from pipeline.scale.records import ALONE, RATIO_S, Decision, LaneView, PoolLimits, PoolMemory, PoolSignals, ScaleReason

_Wish = tuple[int, ScaleReason]


_STARTS = 4.0
"""A worker is started for work that lasts so many times as long as its start, at least."""

_SERVICES = 4.0
"""Service times that the arrivals are averaged over, at least: one film an hour that takes an hour is a load of one,
not of sixty for a minute."""


_SOON = 8.0
"""Waits: a pool that grows again within so many of them shrank too early."""
_MOST_REGRETS = 7

_WORTH = 1.05
"""A pool that its lane holds back is not moved for less than this."""

_LEAST = 1e-6
"""Of what has faded so far nothing is left."""


def decide(
    signals: PoolSignals, limits: PoolLimits, memory: PoolMemory, now_s: float, lane: LaneView = ALONE
) -> Decision:
    """Size one pool. Pure: equal arguments, equal decision.

    Args:
        signals: of the window that ends now.
        limits: of this pool.
        memory: from the last decision.
        now_s: any clock that never goes back.
        lane: what the rest of its lane means for the pool.
    """
    return judge(signals, limits, observe(signals, limits, memory, now_s), now_s, lane)


def judge(
    signals: PoolSignals,
    limits: PoolLimits,
    seen: PoolMemory,
    now_s: float,
    lane: LaneView = ALONE,
) -> Decision:
    """The second half of `decide`: the same window may be judged more than once, e.g. with another view of the lane.

    Args:
        seen: from `observe`.
    """
    pool = _Pool(signals, limits, seen, now_s, lane)
    if (watched := _watch_oversize(pool)) != (seen.low_since_s, seen.low_peak):
        pool = replace(pool, memory=replace(seen, low_since_s=watched[0], low_peak=watched[1]))
    wanted, reason = _want(pool)
    target, reason = _clamp(pool, wanted, reason)
    memory = pool.memory
    if target != pool.workers:
        memory = replace(memory, low_since_s=None, low_peak=0, cold_since_s=None)
    if target < pool.workers:
        # Whatever the last growth brought or not, it has been taken back.
        memory = replace(memory, effect=NO_EFFECT)
        if reason in {ScaleReason.DOWN_OVERSIZED, ScaleReason.DOWN_IDLE}:
            memory = replace(memory, down_s=now_s)
    if target > pool.workers and reason is not ScaleReason.UP_MINIMUM:
        memory = _regret(pool, memory)
        if (hz := pool.service_hz) is not None:
            memory = replace(memory, effect=memory.effect.grown(pool.workers, hz, target))
    return Decision(target, reason, wanted, max(target, _eventual(pool, reason)), pool.load, memory)


def _regret(pool: _Pool, memory: PoolMemory) -> PoolMemory:
    """The pool grows: was it wrong to shrink? Each time that it was, the next wait is twice as long."""
    if memory.down_s is None:
        return memory
    soon = pool.now_s - memory.down_s < _SOON * pool.patience_s(pool.limits.down_after_s)
    regrets = min(memory.regrets + 1, _MOST_REGRETS) if soon else max(0, memory.regrets - 1)
    return replace(memory, down_s=None, regrets=regrets)


@dataclass(frozen=True)
class _Pool:
    """The arguments of one decision, and what follows from them directly; without slots, for what is kept."""

    signals: PoolSignals
    limits: PoolLimits
    memory: PoolMemory
    now_s: float
    lane: LaneView

    @property
    def workers(self) -> int:
        """Those that are here to stay."""
        return self.signals.workers

    @cached_property
    def service_hz(self) -> float | None:
        """Items that one worker finishes in a second of work; None while too few have been."""
        return service_hz(self.memory, self.limits)

    @cached_property
    def load(self) -> float | None:
        """Demand in workers; None while no speed is known."""
        hz = self.service_hz
        if hz is None:
            return None
        signals, memory = self.signals, self.memory
        # What the present workers can spare while others start is no reason to start them.
        spare_hz = max(0.0, self.workers * hz - memory.arrival_hz)
        items = max(0.0, signals.queued_items + signals.lag_items - spare_hz * memory.start_s)
        # Three long films are work for three workers, however long they take.
        units = signals.queued_units + signals.lag_items
        backlog = min(items / (hz * max(self.limits.drain_s, _STARTS * memory.start_s)), float(units))
        return max(memory.arrival_hz / hz + backlog, self.lane.load)

    @cached_property
    def size(self) -> int:
        """The workers for this load, busy for their target share; the least possible while no speed is known."""
        return max(1, self.limits.min_workers, math.ceil(self._with_rest(self.limits.target)))

    @property
    def too_small(self) -> bool:
        """Above the dead zone."""
        return self.load is not None and self._with_rest(self.limits.high) > self.workers

    @property
    def too_large(self) -> bool:
        """Below the dead zone, measured against one worker fewer."""
        return (
            self.load is not None and self._with_rest(self.limits.low) < self.workers - 1 and self.size < self.workers
        )

    def _with_rest(self, share: float) -> float:
        """The workers that are busy for this share of their time; of a larger one, if they are many."""
        load = self.load or 0.0
        return load + (1.0 / share - 1.0) * min(load, math.sqrt(load * self.limits.crowd))

    @property
    def busy(self) -> bool:
        """Whether hardly a worker is free. Of a thousand there are always some between two calls."""
        return self.signals.in_flight_units >= math.ceil(self.limits.high * self.workers)

    @property
    def units(self) -> int:
        """No more workers than this can have something to do."""
        signals = self.signals
        return signals.in_flight_units + signals.queued_units + signals.upstream_items

    @property
    def useful(self) -> int:
        """What the load asks for, as far as there is something to do for each."""
        return min(self.size, max(self.units, math.ceil(self.lane.load)))

    @property
    def growth(self) -> float:
        """At most so many times the present workers: more after a growth that brought something, less after none."""
        growth, effect = self.limits.growth, self.memory.effect
        return min(growth, CAREFUL) if effect.failures else growth * growth if effect.earned else growth

    @property
    def _soon(self) -> float:
        """Items that the present workers do in a moment."""
        return (self.service_hz or 0.0) * self.workers * self.limits.backlog_s

    @property
    def backlogged(self) -> bool:
        """What waits, here and upstream, is more than a moment's work."""
        return self.signals.waiting_items > self._soon

    @property
    def waits_here(self) -> bool:
        """What waits here, or at the source to come here, is more than a moment's work."""
        return self.signals.queued_items + self.signals.lag_items > self._soon

    def patience_s(self, least_s: float) -> float:
        """How long it waits before workers leave: longer than they would take to come back, and than was too short."""
        return max(least_s, self.memory.start_s) * 2.0**self.memory.regrets

    def lasted(self, since_s: float | None, least_s: float) -> bool:
        """Whether something has held for so long."""
        return since_s is not None and self.now_s - since_s >= least_s


def observe(signals: PoolSignals, limits: PoolLimits, memory: PoolMemory, now_s: float) -> PoolMemory:
    """The first half of `decide`: fold one window into the averages, and start or stop the clocks."""
    # Speed fades with work done, not with time, so that a pool that slept still knows how fast it was; and with items
    # done, so that a film of an hour does not stand for all.
    rounds = min(signals.busy_s, signals.window_s) / limits.memory_s
    keep = math.exp(-min(rounds, signals.finished_items / limits.memory_items))
    hz = service_hz(memory, limits)
    memory_s = limits.memory_s if hz is None else max(limits.memory_s, _SERVICES / hz)
    fresh = 1.0 - math.exp(-signals.window_s / memory_s)
    faded = math.exp(-signals.window_s / RATIO_S)
    starting = signals.workers_starting > 0
    return replace(
        memory,
        finished_items=memory.finished_items + signals.finished_items,
        items=memory.items * keep + signals.finished_items,
        busy_s=memory.busy_s * keep + signals.busy_s,
        # From zero up, not from the first window: a burst is a backlog, not a rate.
        arrival_hz=memory.arrival_hz + fresh * (signals.arrived_items / signals.window_s - memory.arrival_hz),
        idle_since_s=_since(memory.idle_since_s, signals.idle, now_s),
        cold_since_s=_since(memory.cold_since_s, signals.queued_items > 0 and not starting, now_s),
        starting_since_s=_since(memory.starting_since_s, starting, now_s),
        start_s=_start_s(memory, starting, now_s),
        arrived=memory.arrived * faded + signals.arrived_items,
        left=memory.left * faded + signals.finished_items,
        worked_s=memory.worked_s * faded + signals.busy_s,
        effect=memory.effect.seen(
            signals.finished_items, signals.busy_s, signals.window_s, starting=starting, now_s=now_s
        ),
    )


def _start_s(memory: PoolMemory, starting: bool, now_s: float) -> float:
    """How long workers take to start: from the first that did to the last, halfway from what was known."""
    if starting or memory.starting_since_s is None:
        return memory.start_s
    took_s = now_s - memory.starting_since_s
    return (memory.start_s + took_s) / 2 if memory.start_s else took_s


def service_hz(memory: PoolMemory, limits: PoolLimits) -> float | None:
    """Items that one worker finishes in a second of work; None while too few have been."""
    known = memory.finished_items >= limits.known_items and min(memory.items, memory.busy_s) > _LEAST
    return memory.items / memory.busy_s if known else None


def _watch_oversize(pool: _Pool) -> tuple[float | None, int]:
    """How long fewer workers would have done, and how many of them at the worst moment."""
    low = pool.too_large and not pool.backlogged
    since_s, peak = _since(pool.memory.low_since_s, low, pool.now_s), max(pool.memory.low_peak, pool.size)
    if low and peak >= pool.workers:  # workers were lost meanwhile: the watch begins anew
        since_s, peak = pool.now_s, pool.size
    return since_s, peak if low else 0


def _since(since_s: float | None, holds: bool, now_s: float) -> float | None:
    """When a condition that holds now began to hold."""
    return (now_s if since_s is None else since_s) if holds else None


def _want(pool: _Pool) -> _Wish:
    """The size that the work asks for, before the limits are looked at."""
    now, signals, limits = pool.workers, pool.signals, pool.limits
    if (
        signals.idle
        and now > limits.min_workers
        and pool.lasted(pool.memory.idle_since_s, pool.patience_s(limits.idle_s))
    ):
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
    if pool.waits_here and not pool.busy:
        return now, ScaleReason.HOLD_NOT_BOTTLENECK
    effect = pool.memory.effect
    if effect.is_awaited(pool.memory.start_s, pool.now_s):
        return now, ScaleReason.HOLD_STARTING
    if effect.forbids(pool.now_s):
        return now, ScaleReason.HOLD_NO_GAIN
    size = min(pool.useful, math.ceil(pool.growth * now))
    if size > now > pool.lane.most / _WORTH:
        return now, ScaleReason.HOLD_NOT_BOTTLENECK
    size = math.ceil(min(size, pool.lane.most))
    return (size, ScaleReason.UP_BACKLOG) if size > now else (now, ScaleReason.HOLD_FEW_UNITS)


def _want_fewer(pool: _Pool) -> _Wish:
    """Too large for its load: smaller, once that has been so for long enough."""
    now, memory = pool.workers, pool.memory
    if pool.backlogged:
        return now, ScaleReason.HOLD_DRAINING_BACKLOG
    if not pool.lasted(memory.low_since_s, pool.patience_s(pool.limits.down_after_s)):
        return now, ScaleReason.HOLD_HYSTERESIS
    return memory.low_peak, ScaleReason.DOWN_OVERSIZED


def _eventual(pool: _Pool, reason: ScaleReason) -> int:
    """What a pool that grows, or waits for its last growth, will come to."""
    growing = reason in {ScaleReason.UP_BACKLOG, ScaleReason.HOLD_STARTING} and pool.too_small
    if not growing or pool.memory.effect.failures:
        return 0
    return min(pool.useful, pool.limits.max_workers)


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
