"""What came out of a run, as a few figures, and whether they are what was promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pipeline.simulate.scaling.fleet import History, Move
from pipeline.simulate.scaling.optimum import best_split, least_drain_s
from pipeline.simulate.scaling.scenario import Scenario

_HOUR_S, _DAY_S = 3600.0, 86400.0
_GONE_S = 2.0
"""A backlog is gone when less is left than comes in so long."""
_LEFT = 1e-3
"""Or less than this part of it."""
_STUCK_S = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """See the module.

    Attributes:
        busy: share of their time that the watched pool's ready workers were busy, once settled.
        drain: time until the backlog or burst was gone over the least possible; None: there was none, or it stayed.
        drain_s: that time.
        reversals_an_hour: of the pool that had most, in the hour in which it had most, once settled.
        rescales_a_day: of the pool that had most, once settled.
        decisions: by reason, of all moves.
        fewest, most: workers of the watched pool, once settled.
        lag_s: at the end, the worst lane's lag in seconds of its arrivals.
        stuck_s: longest time in which no worker of a lane did anything although there was work for them.
        broken: promises that were not kept, one line each.
    """

    busy: float
    drain: float | None
    drain_s: float | None
    reversals_an_hour: int
    rescales_a_day: float
    decisions: Counter[str]
    fewest: int
    most: int
    lag_s: float
    stuck_s: float
    broken: tuple[str, ...]


def figures_of(scenario: Scenario, history: History) -> Figures:
    """Sum up a run."""
    settled = [moment for moment in history.moments if moment.now_s > scenario.settled_s]
    watched = [(moment.busy[scenario.watch], moment.ready[scenario.watch]) for moment in settled]
    workers = [moment.workers[scenario.watch] for moment in settled]
    span_s = scenario.lasts_s - scenario.settled_s
    by_pool = history.by_pool(scenario.settled_s)
    drain_s, least_s = _drain(scenario, history)
    found = Figures(
        busy=sum(busy for busy, _ in watched) / max(1, sum(ready for _, ready in watched)),
        drain=None if drain_s is None or least_s is None else drain_s / least_s,
        drain_s=drain_s,
        reversals_an_hour=max(map(reversals, by_pool.values()), default=0),
        rescales_a_day=max(map(len, by_pool.values()), default=0) * _DAY_S / span_s,
        decisions=Counter(move.decision.reason.value for move in history.moves),
        fewest=min(workers),
        most=max(workers),
        lag_s=max(settled[-1].lag[lane.name] / max(1.0, lane.arrivals(scenario.lasts_s)) for lane in scenario.lanes),
        stuck_s=stuck_s(scenario, history),
        broken=(),
    )
    return _judged(scenario, found, expects_drain=least_s is not None)


def reversals(moves: Sequence[Move]) -> int:
    """How often a pool's direction turned, in the hour in which it did so most."""
    turns_s = [
        after.now_s
        for before, after in pairwise(moves)
        if (before.decision.target_workers > before.before) != (after.decision.target_workers > after.before)
    ]
    return max((sum(at_s <= turn_s < at_s + _HOUR_S for turn_s in turns_s) for at_s in turns_s), default=0)


def _drain(scenario: Scenario, history: History) -> tuple[float | None, float | None]:
    """How long the first backlog of all took, and the least that it could have taken."""
    piles = [
        (at_s, items, lane)
        for lane in scenario.lanes
        for at_s, items in ((0.0, lane.backlog), *lane.bursts)
        if items > 0.0
    ]
    if len(piles) != 1:
        return None, None
    ((at_s, items, lane),) = piles
    capacity_hz = best_split([lane], scenario.nodes).rates[lane.name]
    least_s = least_drain_s(items, capacity_hz, lane.arrivals(at_s), max(stage.start_s for stage in lane.stages))
    gone = (
        moment.now_s - at_s
        for moment in history.moments
        if moment.now_s > at_s and moment.lag[lane.name] <= max(_GONE_S * lane.arrivals(moment.now_s), items * _LEFT)
    )
    return next(gone, None), least_s


def stuck_s(scenario: Scenario, history: History) -> float:
    """The longest that nobody in a lane worked although there was work, and workers in all of its stages.

    That is a deadlock: only somebody's work could change anything. A worker at a long item is none, however long
    nothing is finished meanwhile.
    """
    longest = 0.0
    for lane in scenario.lanes:
        pools = [f"{lane.name}/{stage.name}" for stage in lane.stages]
        since_s: float | None = None
        for before, after in pairwise(history.moments):
            able = all(after.ready[pool] for pool in pools) and after.lag[lane.name] >= 1.0
            if not able or any(after.busy[pool] for pool in pools):
                since_s = None
            else:
                since_s = before.now_s if since_s is None else since_s
                longest = max(longest, after.now_s - since_s)
    return longest


def _judged(scenario: Scenario, found: Figures, *, expects_drain: bool) -> Figures:
    promise = scenario.promise
    bounds = [
        ("busy share below", promise.busy, found.busy, False),
        ("drain over the optimum above", promise.drain, found.drain, True),
        ("drain over the optimum below", 1.0 - _LEFT, found.drain, False),
        ("reversals an hour above", promise.reversals_an_hour, found.reversals_an_hour, True),
        ("rescales a day above", promise.rescales_a_day, found.rescales_a_day, True),
        ("lag in seconds at the end above", promise.lag_s, found.lag_s, True),
        ("seconds without progress above", _STUCK_S + scenario.pause_s, found.stuck_s, True),
    ]
    broken = [
        f"{what} {bound:g}: {value:.3g}"
        for what, bound, value, is_most in bounds
        if bound is not None and value is not None and (value > bound if is_most else value < bound)
    ]
    if promise.drain is not None and expects_drain and found.drain is None:
        broken.append("the backlog was never gone")
    if promise.range_of_workers is not None:
        low, high = promise.range_of_workers
        if found.fewest < low or found.most > high:
            broken.append(f"workers outside {low}..{high}: {found.fewest}..{found.most}")
    return replace(found, broken=tuple(broken))
