"""What is known of queues, and what the simulation makes of it: measured beside theory.

The exact replica runs here, the production lane with a worker or two a stage. Where a mean needs millions of draws it
is Lindley's recursion, with which the lane agrees reference by reference.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.flow.core import LaneSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.clock import Timeline
from pipeline.simulate.scaling.figures import figures_of
from pipeline.simulate.scaling.fleet import Fleet
from pipeline.simulate.scaling.replica import TOKENIZE, Job, Replica
from pipeline.simulate.scaling.scenarios import SCENARIOS

_PLENTY = 1 << 40
ONE_BY_ONE = LaneSettings(
    prepare_batch=1,
    tokenize_windows=1,
    batch_wait_s=0.0,
    lease_bytes=1,
    window_bytes=_PLENTY,
    token_bytes=_PLENTY,
    most_ready=_PLENTY,
    most_uncommitted=_PLENTY,
    worker_slots=1,
)
"""A lane without batches or limits: a queue before each stage."""
DRAWS = 2_000_000
_SIGMA = 1.2


@dataclass(frozen=True, slots=True)
class Law:
    """Of service times with mean 1.

    Attributes:
        variation: squared coefficient.
    """

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    variation: float


LAWS = (
    Law("M", lambda rng, count: rng.exponential(1.0, count), 1.0),
    Law("D", lambda _, count: np.ones(count), 0.0),
    Law(
        "lognormal",
        lambda rng, count: rng.lognormal(-_SIGMA * _SIGMA / 2, _SIGMA, count),
        math.exp(_SIGMA * _SIGMA) - 1.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One figure, twice."""

    what: str
    measured: float
    theory: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.measured / self.theory - 1.0


def checks() -> Iterator[Check]:
    """All of them; some 15 s."""
    yield lane_beside_recursion()
    for law in LAWS:
        for rho in (0.5, 0.8):
            yield mean_wait(law, rho)
    yield little()
    for slots in (0, 1, 2, 6):
        yield two_stations(slots)
    yield drain()


def single_server(rho: float, services: Sequence[float], seed: int = 0) -> tuple[list[float], list[float]]:
    """A lane whose first stage has one worker and whose second takes no time, Poisson arrivals at `rho` a second.

    Returns:
        How long each reference waits, in the lane and by Lindley's recursion.
    """
    timeline = Timeline()
    replica = Replica(timeline, ONE_BY_ONE)
    replica.hire(PREPARE)
    replica.hire(TOKENIZE)
    gaps = np.random.default_rng(seed).exponential(1.0 / rho, len(services))
    for at_s, service_s in zip(np.cumsum(gaps).tolist(), services, strict=True):
        timeline.after(at_s, partial(replica.offer, Job((service_s,), (0.0,))))
    timeline.run(math.inf)
    waits = [visit.began_s - visit.admitted_s for visit in replica.visits if visit.began_s is not None]
    return waits, lindley(gaps, np.array(services)).tolist()


def lindley(gaps: np.ndarray, services: np.ndarray) -> np.ndarray:
    """How long each waits at one server: W' = max(0, W + S - A)."""
    walk = np.cumsum(np.concatenate(([0.0], services[:-1] - gaps[1:])))
    return walk - np.minimum.accumulate(walk)


def lane_beside_recursion(count: int = 1500) -> Check:
    """The mean wait in the lane, over that of a single server for the very same draws."""
    waits, expected = single_server(0.8, LAWS[-1].draw(np.random.default_rng(1), count).tolist())
    return Check(f"mean wait of {count} references, s: lane, Lindley", float(np.mean(waits)), float(np.mean(expected)))


def mean_wait(law: Law, rho: float, count: int = DRAWS) -> Check:
    """Pollaczek and Khinchine."""
    rng = np.random.default_rng(1)
    services = law.draw(rng, count)
    mean_s = float(lindley(rng.exponential(1.0 / rho, count), services).mean())
    expected_s = rho * (1.0 + law.variation) / 2.0 / (1.0 - rho)
    return Check(f"mean wait in M/{law.name}/1 at {rho:.0%}, s: Pollaczek-Khinchine", mean_s, expected_s)


def little(count: int = 800) -> Check:
    """References in the lane, over the rate times the time that one stays."""
    rng, timeline = random.Random(3), Timeline()  # noqa: S311  reproducible, no secret
    replica = Replica(timeline, ONE_BY_ONE)
    for stage in (PREPARE, PREPARE, TOKENIZE):
        replica.hire(stage)
    area = last_s = 0.0
    seen = 0

    def look(job: Job | None = None) -> None:
        nonlocal area, last_s, seen
        area += seen * (timeline.now_s - last_s)
        if job is not None:
            replica.offer(job)
        last_s, seen = timeline.now_s, replica.in_system

    at_s = 0.0
    for _ in range(count):
        at_s += rng.expovariate(1.2)
        job = Job((rng.expovariate(1.0),), (rng.expovariate(2.0),))
        timeline.after(at_s, partial(look, job))
    for tick in range(int(at_s * 20) + 4000):
        timeline.after(tick / 20.0, look)
    timeline.run(math.inf)
    stays_s = [visit.left_s - visit.admitted_s for visit in replica.visits if visit.left_s is not None]
    # Both over the same span: the mean number is the rate times the mean stay.
    return Check("references in the lane: Little's law", area / last_s, sum(stays_s) / last_s)


def two_stations(slots: int, count: int = 5000) -> Check:
    """Two equal exponential stations.

    A credit is taken before work begins: what is at the first one, in the `slots` between and at the second is
    slots + 2 in all.
    """
    rng, timeline = random.Random(slots), Timeline()  # noqa: S311  reproducible, no secret
    replica = Replica(timeline, replace(ONE_BY_ONE, window_bytes=slots + 2))
    for _ in range(count):
        replica.offer(Job((rng.expovariate(1.0),), (rng.expovariate(1.0),)))
    replica.hire(PREPARE)
    replica.hire(TOKENIZE)
    timeline.run(math.inf)
    ended_s = max(visit.left_s for visit in replica.visits if visit.left_s is not None)
    what = f"references/s of two stations, {slots} slots between: (b+2)/(b+3)"
    return Check(what, count / ended_s, (slots + 2) / (slots + 3))


def drain() -> Check:
    """The scenario of that name: never under backlog ÷ (capacity − arrivals) + start-up."""
    scenario = SCENARIOS["backlog"]
    figures = figures_of(scenario, Fleet(scenario, 0).run())
    assert figures.drain is not None and figures.drain_s is not None
    return Check("drain of 2 million items, s: the least", figures.drain_s, figures.drain_s / figures.drain)
