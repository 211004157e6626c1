"""How fast lanes will be on some machines, from what their stages cost: the plan before there is a run to look at.

The split is that of a run, by `allocate`, with every lane busy. A lane is as fast as its slowest pool; all of them
together are no faster than the CPUs, which packers, coordinators and Ray use besides the workers, and than one
coordinator. Where a worker is counted with fewer CPUs than it uses, it is that much slower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.scale.allocate import Grant, GrantReason, Node, Wish, allocate


class Limit(StrEnum):
    """Why a lane is no faster; `explanation` says it in a line."""

    MOST_WORKERS = "most_workers"
    CPUS = "cpus"
    GPUS = "gpus"
    GPU_FRAGMENTED = "gpu_fragmented"
    SHARED_CPUS = "shared_cpus"
    COORDINATOR = "coordinator"

    @property
    def explanation(self) -> str:
        """One line for people."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Limit.MOST_WORKERS: "its `max` allows no more workers",
    Limit.CPUS: "there are no CPUs for one worker more",
    Limit.GPUS: "there is no GPU share for one worker more",
    Limit.GPU_FRAGMENTED: "GPU shares are left, but no single GPU has enough for one worker more",
    Limit.SHARED_CPUS: "workers, packers, coordinator and Ray together use all CPUs",
    Limit.COORDINATOR: "one coordinator does no more: run another replica",
}
_OF_GRANT = {
    GrantReason.GRANTED: Limit.MOST_WORKERS,
    GrantReason.SHORT_OF_CPUS: Limit.CPUS,
    GrantReason.NEVER_FITS: Limit.CPUS,
    GrantReason.SHORT_OF_GPUS: Limit.GPUS,
    GrantReason.GPU_FRAGMENTED: Limit.GPU_FRAGMENTED,
}


@dataclass(frozen=True, slots=True)
class Station:
    """A pool as a part of its lane.

    Attributes:
        lane: whose it is.
        service_s: what a reference of the lane takes one worker, in seconds; > 0.
        gpu_s: of these, on its GPU. Workers that share one take turns on it.
        cpus, gpus: of one worker, as they are counted.
        uses_cpus: as it would use them; counted with less it is slower.
        min_workers, max_workers: of the pool.
        weight: of its lane.
    """

    lane: str
    service_s: float
    gpu_s: float = 0.0
    cpus: float = 1.0
    gpus: float = 0.0
    uses_cpus: float = 1.0
    min_workers: int = 1
    max_workers: int = 1
    weight: float = 1.0

    @property
    def speed_hz(self) -> float:
        """References a second of one worker."""
        alone_hz = min(1.0, self.cpus / self.uses_cpus) / self.service_s
        return alone_hz if self.gpu_s == 0 else min(alone_hz, min(1.0, self.gpus) / self.gpu_s)


@dataclass(frozen=True, slots=True)
class Beside:
    """What the work costs beside its workers.

    Attributes:
        reference_s: by lane, CPU-seconds of packers, coordinator and calls a reference.
        coordinator_s: of these the coordinator's, which is one thread.
        idle_cpus: CPUs that Ray and the rest take whatever is done.
    """

    reference_s: Mapping[str, float]
    coordinator_s: float
    idle_cpus: float


NOTHING_BESIDE = Beside({}, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class LaneForecast:
    """What to expect of a lane when all lanes have work.

    Attributes:
        rate_hz: references a second.
        bottleneck: the pool that is the slowest; "" where it is none of them.
        limit: why there is no more of that.
        detail: of the grant, for people; "" where there is none.
    """

    rate_hz: float
    bottleneck: str
    limit: Limit
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect.

    Attributes:
        lanes: by name.
        workers: by pool.
        busy_cpus: that are in use then.
    """

    lanes: Mapping[str, LaneForecast]
    workers: Mapping[str, int]
    busy_cpus: float


def forecast(stations: Mapping[str, Station], nodes: Sequence[Node], beside: Beside = NOTHING_BESIDE) -> Forecast:
    """How the machines are shared, and what comes of it.

    Args:
        stations: by pool, e.g. "image/tokenize", those of a lane in the order in which work passes them.
    """
    wishes = {
        name: Wish(
            max(each.min_workers, min(each.max_workers, _most(each, beside))),
            each.min_workers,
            each.cpus,
            each.gpus,
            each.weight,
            each.lane,
            each.speed_hz,
        )
        for name, each in stations.items()
    }
    grants = allocate(wishes, nodes)
    workers = {name: grant.workers for name, grant in grants.items()}
    lanes: dict[str, list[str]] = {}
    for name, each in stations.items():
        lanes.setdefault(each.lane, []).append(name)
    slowest = {lane: _slowest(names, stations, grants) for lane, names in lanes.items()}
    slowest = _cut(slowest, dict.fromkeys(slowest, beside.coordinator_s), 1.0, Limit.COORDINATOR)
    each_s = {
        lane: beside.reference_s.get(lane, 0.0) + sum(_cpu_s(stations[name]) for name in names)
        for lane, names in lanes.items()
    }
    room = max(0.0, sum(node.cpus for node in nodes) - beside.idle_cpus)
    slowest = _cut(slowest, each_s, room, Limit.SHARED_CPUS)
    used = sum(each.rate_hz * each_s[lane] for lane, each in slowest.items())
    return Forecast(slowest, workers, used + beside.idle_cpus)


def _most(station: Station, beside: Beside) -> int:
    """Workers with which the coordinator is the limit for sure."""
    coordinator = beside.coordinator_s * station.speed_hz
    return int(1 / coordinator) + 1 if coordinator else station.max_workers


def _cut(
    lanes: Mapping[str, LaneForecast], each_s: Mapping[str, float], room: float, limit: Limit
) -> dict[str, LaneForecast]:
    """Where lanes together want more seconds a second than there are, those that want most get less."""
    wanted = {lane: each.rate_hz * each_s[lane] for lane, each in lanes.items()}
    level, left, open_lanes = math.inf, room, len(wanted)
    for want in sorted(wanted.values()):
        if want > left / open_lanes:
            level = left / open_lanes
            break
        left, open_lanes = left - want, open_lanes - 1
    return {
        lane: each if wanted[lane] <= level else LaneForecast(each.rate_hz * level / wanted[lane], "", limit)
        for lane, each in lanes.items()
    }


def _slowest(names: Sequence[str], stations: Mapping[str, Station], grants: Mapping[str, Grant]) -> LaneForecast:
    rates = {name: grants[name].workers * stations[name].speed_hz for name in names}
    # A pool that was not asked for more because of another is not what holds its lane up, not even by a rounding.
    stuck = [name for name in names if grants[name].reason is not GrantReason.LANE_LIMITED] or list(names)
    name = min(stuck, key=lambda each: rates[each])
    return LaneForecast(
        min(rates.values()), name, _OF_GRANT.get(grants[name].reason, Limit.MOST_WORKERS), grants[name].detail
    )


def _cpu_s(station: Station) -> float:
    """CPU-seconds a reference: on a GPU its process waits, mostly awake."""
    return station.service_s * min(1.0, station.uses_cpus)
