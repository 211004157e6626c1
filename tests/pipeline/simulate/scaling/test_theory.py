"""The exact replica against what queueing theory says of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.flow.core import LaneSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.clock import Timeline
from pipeline.simulate.scaling.optimum import least_drain_s
from pipeline.simulate.scaling.replica import TOKENIZE, Job, Replica

PLENTY = 1 << 40
ONE_BY_ONE = LaneSettings(
    prepare_batch=1,
    tokenize_windows=1,
    batch_wait_s=0.0,
    lease_bytes=1,
    window_bytes=PLENTY,
    token_bytes=PLENTY,
    most_ready=PLENTY,
    most_uncommitted=PLENTY,
    worker_slots=1,
)
SIGMA = 1.2
Draw = Callable[[random.Random], float]
# Service times with mean 1, and their squared coefficients of variation.
SERVICES: dict[str, tuple[Draw, float]] = {
    "exponential": (lambda rng: rng.expovariate(1.0), 1.0),
    "deterministic": (lambda rng: 1.0, 0.0),
    "lognormal": (lambda rng: rng.lognormvariate(-SIGMA * SIGMA / 2, SIGMA), math.exp(SIGMA * SIGMA) - 1.0),
}


def one_server(rho: float, count: int, draw: Draw, seed: int = 0) -> tuple[Replica, list[float], list[float]]:
    """A lane whose first stage has one worker and whose second takes no time: Poisson arrivals at `rho` a second."""
    rng, timeline = random.Random(seed), Timeline()
    replica = Replica(timeline, ONE_BY_ONE)
    replica.hire(PREPARE)
    replica.hire(TOKENIZE)
    gaps = [rng.expovariate(rho) for _ in range(count)]
    services = [draw(rng) for _ in range(count)]
    for at_s, service_s in zip(np.cumsum(gaps), services, strict=True):
        timeline.after(float(at_s), lambda service_s=service_s: replica.offer(Job((service_s,), (0.0,))))
    timeline.run(math.inf)
    return replica, gaps, services


def lindley(gaps: np.ndarray, services: np.ndarray) -> np.ndarray:
    """How long each waits at one server: W' = max(0, W + S - A)."""
    steps = np.concatenate(([0.0], services[:-1] - gaps[1:]))
    walk = np.cumsum(steps)
    return walk - np.minimum.accumulate(walk)


def test_a_lane_with_one_worker_makes_each_reference_wait_as_long_as_a_single_server_queue_does() -> None:
    replica, gaps, services = one_server(0.8, 1500, SERVICES["lognormal"][0])
    waits = [visit.began_s - visit.admitted_s for visit in replica.visits if visit.began_s is not None]
    assert waits == pytest.approx(lindley(np.array(gaps), np.array(services)), abs=1e-6)


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_the_mean_wait_is_pollaczek_and_khinchines(name: str, rho: float) -> None:
    _, variation = SERVICES[name]
    rng, count = np.random.default_rng(1), 2_000_000
    services = {
        "exponential": rng.exponential(1.0, count),
        "deterministic": np.ones(count),
        "lognormal": rng.lognormal(-SIGMA * SIGMA / 2, SIGMA, count),
    }[name]
    mean_s = float(lindley(rng.exponential(1.0 / rho, count), services).mean())
    expected_s = rho * (1.0 + variation) / 2.0 / (1.0 - rho)
    print(f"M/{name}/1 at {rho}: {mean_s:.3f} s, Pollaczek-Khinchine {expected_s:.3f} s")
    assert mean_s == pytest.approx(expected_s, rel=0.05)


def test_as_many_are_in_the_lane_as_come_in_the_time_that_one_stays() -> None:
    rng, timeline = random.Random(3), Timeline()
    replica = Replica(timeline, ONE_BY_ONE)
    for stage in (PREPARE, PREPARE, TOKENIZE):
        replica.hire(stage)
    area = last_s = 0.0
    seen = 0

    def look(offers: bool) -> None:
        nonlocal area, last_s, seen
        area += seen * (timeline.now_s - last_s)
        last_s, seen = timeline.now_s, replica.in_system
        if offers:
            replica.offer(Job((rng.expovariate(1.0),), (rng.expovariate(2.0),)))
            seen = replica.in_system

    at_s = 0.0
    for _ in range(800):
        at_s += rng.expovariate(1.2)
        timeline.after(at_s, lambda: look(offers=True))
    for tick in range(int(at_s * 20) + 4000):
        timeline.after(tick / 20.0, lambda: look(offers=False))
    timeline.run(math.inf)
    stays_s = [visit.left_s - visit.admitted_s for visit in replica.visits if visit.left_s is not None]
    assert len(stays_s) == 800
    # Both over the same span: the mean number is the rate times the mean stay.
    assert area / last_s == pytest.approx(len(stays_s) / last_s * (sum(stays_s) / len(stays_s)), rel=0.03)


@pytest.mark.parametrize("slots", [0, 1, 2, 6])
def test_two_equal_exponential_stations_with_b_slots_between_do_b_plus_2_over_b_plus_3(slots: int) -> None:
    # A credit is taken before work begins: what is at the first station, between and at the second is b + 2 in all.
    rng, timeline, count = random.Random(slots), Timeline(), 5000
    settings = LaneSettings(**{**_fields(ONE_BY_ONE), "window_bytes": slots + 2})
    replica = Replica(timeline, settings)
    for _ in range(count):
        replica.offer(Job((rng.expovariate(1.0),), (rng.expovariate(1.0),)))
    replica.hire(PREPARE)
    replica.hire(TOKENIZE)
    timeline.run(math.inf)
    expected = (slots + 2) / (slots + 3)
    print(f"b = {slots}: {count / timeline_end(replica):.3f} a second, (b+2)/(b+3) = {expected:.3f}")
    assert count / timeline_end(replica) == pytest.approx(expected, rel=0.04)


def timeline_end(replica: Replica) -> float:
    """When the last one left."""
    return max(visit.left_s for visit in replica.visits if visit.left_s is not None)


def _fields(settings: LaneSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in LaneSettings.__slots__}


def test_a_backlog_is_never_gone_sooner_than_capacity_allows() -> None:
    assert least_drain_s(1000.0, capacity_hz=30.0, arrivals_hz=10.0, start_s=5.0) == 55.0
    with pytest.raises(ValueError, match="never gone"):
        least_drain_s(1.0, capacity_hz=10.0, arrivals_hz=10.0, start_s=0.0)
