"""What a simulated fleet is: machines, lanes with their stages, what arrives, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.scale.packing import Node
from pipeline.scale.records import PoolLimits

Rate = Callable[[float], float]
"""(seconds since the start) -> something a second, or a factor."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A pool's work.

    Attributes:
        service_s: worker-seconds an item, on average.
        spread: their standard deviation over their mean; 1 for exponential, 2 and more for skewed lengths.
        makes: items that one of this stage's makes for the next.
        room_items: that may wait before this stage (its credits).
        unit_items: items a call.
        start_s: from the decision until a worker is ready.
        shared_hz: what a store that all workers share gives in items a second; None: it is never the limit.
        workers: at the beginning.
    """

    name: str
    service_s: float
    spread: float = 1.0
    makes: float = 1.0
    cpus: float = 1.0
    gpus: float = 0.0
    room_items: float = 1e5
    unit_items: float = 32.0
    start_s: float = 10.0
    shared_hz: Rate | None = None
    workers: int = 1
    limits: PoolLimits = field(default_factory=lambda: PoolLimits(1, 100_000))


@dataclass(frozen=True, slots=True)
class LaneOfStages:
    """A lane's stages in the order of flow.

    Attributes:
        arrivals: references a second.
        backlog: references that wait at the source from the beginning on.
        bursts: (when, how many) come at once beside the arrivals.
    """

    name: str
    stages: tuple[Stage, ...]
    arrivals: Rate
    backlog: float = 0.0
    bursts: tuple[tuple[float, float], ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Promise:
    """What must come out; None: not asked for.

    Attributes:
        busy: least share of their time that the watched pool's workers are busy, from `settled_s` on.
        drain: most time over the least possible until the burst or backlog is gone; under 1 it is our mistake.
        reversals_an_hour: most, of any pool, in any hour from `settled_s` on, which is an hour before the end at least;
            more than 2 only where the load itself turns as often.
        rescales_a_day: most, of any pool, from `settled_s` on.
        range_of_workers: within which the watched pool stays from `settled_s` on.
        lag_s: most lag at the end, in seconds of arrivals.
    """

    busy: float | None = None
    drain: float | None = None
    reversals_an_hour: int = 2
    rescales_a_day: float | None = None
    range_of_workers: tuple[int, int] | None = None
    lag_s: float | None = 5.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fleet for a while.

    Attributes:
        what: a line for people.
        watch: the pool ("lane/stage") whose workers are the expensive ones.
        step_s, decide_s: of the virtual clock, and between two decisions.
        stale_s: so old are queues and rates when a decision sees them; numbers of workers are not.
        pause_s: a lane stands still for so long whenever one of its pools has been moved.
        deaths_hz: of one node, a second; it is back after `back_s`.
        settled_s: from here on it is judged.
    """

    name: str
    what: str
    nodes: tuple[Node, ...]
    lanes: tuple[LaneOfStages, ...]
    watch: str
    lasts_s: float
    promise: Promise
    step_s: float = 1.0
    decide_s: float = 1.0
    stale_s: float = 0.0
    pause_s: float = 0.0
    deaths_hz: float = 0.0
    back_s: float = 300.0
    settled_s: float = 0.0


def steady(hz: float) -> Rate:
    """The same all the time."""
    return lambda _: hz
