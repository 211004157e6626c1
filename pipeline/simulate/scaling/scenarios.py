"""The scenarios by name: large fleets, and the oscillations that autoscalers are known for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.scale.packing import Node
from pipeline.scale.records import PoolLimits
from pipeline.simulate.scaling.scenario import LaneOfStages, Promise, Rate, Scenario, Stage, steady

FLEET = (Node(cpus=128, gpus=8),) * 512
"""4,096 GPUs."""
_MANY = PoolLimits(1, 100_000)
_TO_ZERO = PoolLimits(0, 100_000)


def _images(
    name: str,
    arrivals: Rate,
    tokenizers: int,
    weight: float = 1.0,
    bursts: tuple[tuple[float, float], ...] = (),
) -> LaneOfStages:
    """Thumbnails by the million: 12 ms of a CPU, 3.7 ms of a GPU each; lengths are skewed."""
    prepare = Stage("prepare", 0.012, 2.0, room_items=8e6, start_s=15.0, workers=3 * tokenizers)
    tokenize = Stage(
        "tokenize", 0.0037, 0.5, gpus=1.0, room_items=8e6, unit_items=64.0, start_s=60.0, workers=tokenizers
    )
    return LaneOfStages(name, (prepare, tokenize), arrivals, bursts=bursts, weight=weight)


def _one(stage: Stage, arrivals: Rate, backlog: float = 0.0) -> tuple[LaneOfStages]:
    return (LaneOfStages("image", (stage,), arrivals, backlog),)


def _between(first_s: float, last_s: float, inside: float, outside: float) -> Rate:
    return lambda now_s: inside if first_s <= now_s < last_s else outside


def _pulses(every_s: float, for_s: float, high: float, low: float) -> Rate:
    return lambda now_s: high if now_s % every_s < for_s else low


def _gpu(start_s: float = 30.0, workers: int = 20, limits: PoolLimits = _MANY) -> Stage:
    """A tokenizer that does ten items a second."""
    return Stage("tokenize", 0.1, 1.0, gpus=1.0, start_s=start_s, workers=workers, limits=limits)


def _store(now_s: float) -> float:
    """A store that gives 1,200/s, and from 1,200 s to 2,400 s a quarter of it."""
    return 300.0 if 1200.0 <= now_s < 2400.0 else 1200.0


def _day(now_s: float) -> float:
    """A day: from 500/s at night to 1,500/s."""
    return 1000.0 - 500.0 * math.cos(now_s / 86400.0 * 2.0 * math.pi)


_ALL = (
    Scenario(
        "steady",
        "10^6 references/s of skewed length on 4,096 GPUs, from 1,000 workers on",
        FLEET,
        (_images("image", steady(1e6), tokenizers=1000),),
        "image/tokenize",
        7200.0,
        Promise(busy=0.95),
        decide_s=2.0,
        settled_s=3600.0,
    ),
    Scenario(
        "burst",
        "10^9 references at once beside 2 × 10^5/s on 4,096 GPUs",
        FLEET,
        (_images("image", steady(2e5), tokenizers=850, bursts=((600.0, 1e9),)),),
        "image/tokenize",
        4200.0,
        Promise(drain=1.1),
        decide_s=2.0,
    ),
    Scenario(
        "full",
        "more than 4,096 GPUs can do: 1.5 × 10^6/s",
        FLEET,
        (_images("image", steady(1.5e6), tokenizers=850),),
        "image/tokenize",
        4500.0,
        Promise(busy=0.95, lag_s=None),
        step_s=2.0,
        decide_s=2.0,
        settled_s=900.0,
    ),
    Scenario(
        "dying_nodes",
        "a node of 512 dies every two minutes and is back after ten",
        FLEET,
        (_images("image", steady(9e5), tokenizers=3500),),
        "image/tokenize",
        5400.0,
        Promise(busy=0.93, lag_s=5.0),
        step_s=2.0,
        decide_s=2.0,
        deaths_hz=1.0 / 120.0 / 512.0,
        back_s=600.0,
        settled_s=1200.0,
    ),
    Scenario(
        "slow_store",
        "the store gives a quarter for twenty minutes, whatever the number of workers",
        (Node(4096),),
        _one(Stage("prepare", 0.1, 1.0, start_s=15.0, workers=70, shared_hz=_store), steady(500.0)),
        "image/prepare",
        7200.0,
        Promise(range_of_workers=(50, 1500)),
    ),
    Scenario(
        "stale_metrics",
        "500 <-> 2,000: queues and rates are seen a minute late while the load goes up and down",
        FLEET,
        _one(_gpu(workers=600), _pulses(3600.0, 1800.0, 15000.0, 6000.0)),
        "image/tokenize",
        4 * 3600.0,
        Promise(lag_s=None),
        stale_s=60.0,
        decide_s=2.0,
        settled_s=3600.0,
    ),
    Scenario(
        "lag_pulses",
        "lag-driven flapping: a producer publishes once a minute, a worker starts in 45 s",
        FLEET,
        _one(_gpu(start_s=45.0, workers=60), _pulses(60.0, 5.0, 6000.0, 0.0)),
        "image/tokenize",
        4 * 3600.0,
        Promise(rescales_a_day=20.0, lag_s=None),
        settled_s=1800.0,
    ),
    Scenario(
        "rebalance_spiral",
        "each resize stops the lane for 20 s, which makes lag, which asks for a resize",
        FLEET,
        _one(_gpu(workers=40), steady(600.0)),
        "image/tokenize",
        4 * 3600.0,
        Promise(rescales_a_day=20.0),
        pause_s=20.0,
        settled_s=1800.0,
    ),
    Scenario(
        "day",
        "a day from 500/s to 1,500/s: no more than 20 resizes",
        FLEET,
        _one(_gpu(workers=70), _day),
        "image/tokenize",
        86400.0,
        Promise(busy=0.7, reversals_an_hour=1, rescales_a_day=20.0, lag_s=10.0),
        step_s=5.0,
        decide_s=5.0,
    ),
    Scenario(
        "backlog",
        "arrivals stop while a backlog drains: nobody leaves before it is gone",
        (Node(256, 100),) * 2,
        _one(_gpu(workers=20, limits=_TO_ZERO), _between(0.0, 900.0, 150.0, 0.0), backlog=2e6),
        "image/tokenize",
        3600.0,
        Promise(drain=1.1),
    ),
    Scenario(
        "lull",
        "every ten minutes nothing comes for 90 s; a worker takes two minutes to load",
        FLEET,
        _one(_gpu(start_s=120.0, workers=1), _pulses(600.0, 510.0, 500.0, 0.0)),
        "image/tokenize",
        4 * 3600.0,
        Promise(reversals_an_hour=0, rescales_a_day=0.0),
        settled_s=2400.0,
    ),
    Scenario(
        "zero",
        "to zero in half an hour without work, and back with the first item",
        FLEET,
        _one(_gpu(workers=0, limits=_TO_ZERO), _pulses(3600.0, 1800.0, 500.0, 0.0)),
        "image/tokenize",
        4 * 3600.0,
        # The load itself turns twice an hour; the third is the way back from what drained the first half minute's pile.
        Promise(range_of_workers=(0, 300), lag_s=None, reversals_an_hour=3),
    ),
    Scenario(
        "weights",
        "two lanes that could each use all GPUs, with weights 1 and 3",
        (Node(128, 8),) * 32,
        (
            _images("light", steady(1e5), tokenizers=60),
            _images("heavy", steady(1e5), tokenizers=60, weight=3.0),
        ),
        "heavy/tokenize",
        4200.0,
        Promise(busy=0.95, lag_s=None, range_of_workers=(182, 202)),
        settled_s=600.0,
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
