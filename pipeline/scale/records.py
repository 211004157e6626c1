"""What the sizing of a pool sees, remembers and answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pipeline.scale.effect import NO_EFFECT, Effect

RATIO_S = 600.0
"""Over which `PoolMemory.arrived` and `.left` fade: the same for all pools, so that their quotients are exact."""


class ScaleReason(StrEnum):
    """Why a pool was moved or left alone; `explanation` says it in a line."""

    UP_MINIMUM = "up_minimum"
    UP_FROM_ZERO = "up_from_zero"
    UP_COLD = "up_cold"
    UP_BACKLOG = "up_backlog"
    DOWN_OVERSIZED = "down_oversized"
    DOWN_IDLE = "down_idle"
    HOLD_DEAD_ZONE = "hold_dead_zone"
    HOLD_COLD = "hold_cold"
    HOLD_STARTING = "hold_starting"
    HOLD_NOT_BOTTLENECK = "hold_not_bottleneck"
    HOLD_NO_GAIN = "hold_no_gain"
    HOLD_FEW_UNITS = "hold_few_units"
    HOLD_DRAINING_BACKLOG = "hold_draining_backlog"
    HOLD_HYSTERESIS = "hold_hysteresis"
    HOLD_IDLE = "hold_idle"
    CLAMPED_MAX = "clamped_max"
    CLAMPED_CAPACITY = "clamped_capacity"

    @property
    def explanation(self) -> str:
        """One line for people."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    ScaleReason.UP_MINIMUM: "fewer workers than the configured minimum",
    ScaleReason.UP_FROM_ZERO: "work arrived at a pool without workers",
    ScaleReason.UP_COLD: "work waits and no speed is known yet: one more worker",
    ScaleReason.UP_BACKLOG: "work arrives or waits faster than these workers finish it",
    ScaleReason.DOWN_OVERSIZED: "the load has fitted into fewer workers for long enough",
    ScaleReason.DOWN_IDLE: "no work for long enough",
    ScaleReason.HOLD_DEAD_ZONE: "the load fits these workers",
    ScaleReason.HOLD_COLD: "too little finished yet to know how fast a worker is",
    ScaleReason.HOLD_STARTING: "workers are still starting: their effect comes first",
    ScaleReason.HOLD_NOT_BOTTLENECK: "work waits while workers are free: a later stage holds it up",
    ScaleReason.HOLD_NO_GAIN: "the last workers made it no faster: what they share (a store, a network) is the limit",
    ScaleReason.HOLD_FEW_UNITS: "there are no more units of work than workers",
    ScaleReason.HOLD_DRAINING_BACKLOG: "no worker leaves while a backlog drains",
    ScaleReason.HOLD_HYSTERESIS: "the load would fit into fewer workers, but not for long enough yet",
    ScaleReason.HOLD_IDLE: "no work, but not for long enough yet, or the minimum is reached",
    ScaleReason.CLAMPED_MAX: "more workers would be of use, the configured maximum forbids them",
    ScaleReason.CLAMPED_CAPACITY: "more workers would be of use, there are no CPUs or GPUs for them",
}


@dataclass(frozen=True, slots=True)
class PoolSignals:
    """What a pool looks like now, and what it did in the last window.

    Attributes:
        queued_items: waiting before this pool.
        queued_units: in how many units of dispatch (leases, batches); one unit keeps one worker busy.
        in_flight_units: units with workers now.
        upstream_items: items on their way to this pool that have not reached it: the source's lag and earlier stages.
        workers_ready, workers_starting: those that take work, now or soon.
        workers_draining: told to leave; they finish what they have and count for nothing here.
        arrived_items: came into the queue during the window.
        finished_items: were finished during the window.
        busy_s: worker-seconds spent on those finished items; a new worker's first unit (warm-up) is left out of both.
        window_s: length of the window, > 0.
        lag_items: of `upstream_items`, those that still wait at the source; counted at the first pool of a lane only,
            since that is where they are a backlog. The later pools follow it (see `plan`).
    """

    queued_items: int
    queued_units: int
    in_flight_units: int
    upstream_items: int
    workers_ready: int
    workers_starting: int
    workers_draining: int
    arrived_items: int
    finished_items: int
    busy_s: float
    window_s: float
    lag_items: int = 0

    @property
    def workers(self) -> int:
        """Those that are here to stay."""
        return self.workers_ready + self.workers_starting

    @property
    def waiting_items(self) -> int:
        """Here and upstream."""
        return self.queued_items + self.upstream_items

    @property
    def idle(self) -> bool:
        """Nothing here, nothing on its way."""
        return not (self.waiting_items or self.queued_units or self.in_flight_units or self.arrived_items)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How large a pool may be, and how it moves.

    Attributes:
        min_workers: 0 allows the pool to go to zero.
        max_workers: >= 1.
        feasible_workers: for how many there are CPUs and GPU shares now; None: not limited. Wins over `min_workers`.
        idle_s: without work for so long, a pool may go to zero; never sooner than a worker takes to start.
        down_after_s: oversized for so long, it shrinks; never sooner than a worker takes to start.
        drain_s: a backlog should be gone in so long, or in four times what a worker takes to start if that is longer.
        backlog_s: what waits is a backlog if the present workers need longer than this for it.
        cold_step_s: time between two workers of a cold pool.
        target, low, high: share of their time that workers are busy: aimed at, too low, too high, in a small pool.
        crowd: load in workers from which on the idle rest of these shares grows with the load's root only.
        growth: at most so many times the present workers a decision.
        known_items: so many finished items make a worker's speed known.
        memory_s: seconds over which averages are taken, at least.
        memory_items: finished items over which the speed is averaged, at least.

    Raises:
        ValueError: the sizes or shares are out of order.
    """

    min_workers: int
    max_workers: int
    feasible_workers: int | None = None
    idle_s: float = 60.0
    down_after_s: float = 30.0
    drain_s: float = 20.0
    backlog_s: float = 2.0
    cold_step_s: float = 15.0
    target: float = 0.7
    low: float = 0.5
    high: float = 0.9
    crowd: float = 22.0
    growth: float = 4.0
    known_items: int = 4
    memory_s: float = 20.0
    memory_items: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_workers <= self.max_workers or self.max_workers < 1:
            raise ValueError(f"0 <= min_workers <= max_workers >= 1, not {self.min_workers} and {self.max_workers}")
        if not 0 < self.low < self.target < self.high <= 1:
            raise ValueError(f"0 < low < target < high <= 1, not {self.low}, {self.target}, {self.high}")


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What is remembered from decision to decision; begin with `PoolMemory()`.

    Attributes:
        finished_items: ever.
        items, busy_s: finished items and their worker-seconds, older ones faded; their quotient is the service rate.
        arrival_hz: smoothed.
        idle_since_s: since when there has been no work.
        low_since_s, low_peak: since when the pool has been oversized, and the largest size it wanted since.
        cold_since_s: since when work has waited before the present workers.
        starting_since_s: since when there have been workers that start.
        start_s: how long it took of late until none did any more; 0 where none has started yet.
        arrived, left, worked_s: items that came and were finished, and worker-seconds for these, older ones faded in
            `RATIO_S`: how many of this pool's items one of an earlier pool's makes, and how pools should be split.
        effect: what the last growth brought.
        down_s: when the pool last shrank, unless it has grown since.
        regrets: how often of late it grew again soon after it had shrunk.
    """

    finished_items: int = 0
    items: float = 0.0
    busy_s: float = 0.0
    arrival_hz: float = 0.0
    idle_since_s: float | None = None
    low_since_s: float | None = None
    low_peak: int = 0
    cold_since_s: float | None = None
    starting_since_s: float | None = None
    start_s: float = 0.0
    arrived: float = 0.0
    left: float = 0.0
    worked_s: float = 0.0
    effect: Effect = NO_EFFECT
    down_s: float | None = None
    regrets: int = 0


@dataclass(frozen=True, slots=True)
class LaneView:
    """What the rest of its lane means for a pool.

    Attributes:
        load: in workers, what the lane's first pool will send here; counts if it is more than what comes now.
        most: more workers than this would wait for the lane's slowest stage.
    """

    load: float = 0.0
    most: float = math.inf


ALONE = LaneView()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a pool.

    Attributes:
        target_workers: how many should be ready or starting.
        wanted_workers: how many it would be, were there no limits.
        eventual_workers: how many it will come to want for this load, growth by growth; of use to whoever shares the
            machines: what a pool is about to need is not lent to others who would have to give it back.
        load: demand in workers; None while the speed is unknown.
        memory: for the next decision.
    """

    target_workers: int
    reason: ScaleReason
    wanted_workers: int
    eventual_workers: int
    load: float | None
    memory: PoolMemory
