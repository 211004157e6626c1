"""What a run is judged by. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.load.offered import Place

MB = 1_000_000
LEAST_S = 240.0


@dataclass(frozen=True)
class Latency:
    """From the moment a message was due to the moment its commit could be seen, in seconds; by nearest rank."""

    messages: int
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True)
class Growth:
    """Of memory, in MB (10^6 bytes).

    Attributes:
        slope_mb_h: of a straight line through the second half, in which all workers have been started; None for one of
            less than `LEAST_S`, which says nothing about an hour.
    """

    start_mb: float
    peak_mb: float
    end_mb: float
    slope_mb_h: float | None


@dataclass(frozen=True)
class Figures:
    """A run.

    Attributes:
        latency: by topic, and of all ("all").
        offered_hz, committed_hz: messages a second: as scheduled; from the first due to the last commit.
        uncommitted: at the end of the schedule: published and not committed.
        drained_s: how long those took then; None: they never were.
        lost: never committed.
        refused, late_s: see `Offer`.
        memory: of the coordinator, of other processes by kind, and of all.
    """

    latency: Mapping[str, Latency]
    offered_hz: float
    committed_hz: float
    messages: int
    uncommitted: int
    drained_s: float | None
    lost: int
    refused: int
    late_s: float
    letters: int
    memory: Mapping[str, Growth]

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def percentile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank, of ascending values; `share` in (0, 1]."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latencies(due_at_s: Mapping[Place, float], seen_at_s: Mapping[Place, float]) -> dict[str, Latency]:
    """By topic and of all; what was never committed is not in it (see `Figures.lost`)."""
    found: dict[str, list[float]] = {}
    for place, due_s in due_at_s.items():
        if place in seen_at_s:
            found.setdefault(place[0], []).append(seen_at_s[place] - due_s)
    found = dict(sorted(found.items()))
    found["all"] = [each for values in found.values() for each in values]
    return {topic: _latency(sorted(values)) for topic, values in found.items() if values}


def _latency(ordered: Sequence[float]) -> Latency:
    p50_s, p90_s, p99_s = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    return Latency(len(ordered), p50_s, p90_s, p99_s, ordered[-1])


def growth(samples: Sequence[tuple[float, float]]) -> Growth:
    """Of (seconds, bytes), ascending by time; at least one."""
    half = samples[len(samples) // 2 :]
    sizes = [size for _, size in samples]
    lasts_s = half[-1][0] - half[0][0]
    slope_mb_h = slope(half) * 3600 / MB if lasts_s >= LEAST_S else None
    return Growth(sizes[0] / MB, max(sizes) / MB, sizes[-1] / MB, slope_mb_h)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line with the least squares; 0 for fewer than two moments."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)
