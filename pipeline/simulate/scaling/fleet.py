"""A fleet under the virtual clock: lanes as flow, and `scale.plan` deciding over all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.scale.packing import Node
from pipeline.scale.plan import PoolRequest, plan
from pipeline.scale.records import Decision, PoolSignals
from pipeline.simulate.scaling.pool import FluidPool
from pipeline.simulate.scaling.scenario import LaneOfStages, Scenario


@dataclass(frozen=True, slots=True)
class Moment:
    """What the fleet looked like at the end of a step.

    Attributes:
        workers, ready, busy: by pool; `busy` on average over the step.
        lag: by lane, references at the source.
        done: by lane, references finished so far.
    """

    now_s: float
    workers: Mapping[str, int]
    ready: Mapping[str, int]
    busy: Mapping[str, float]
    lag: Mapping[str, float]
    done: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Move:
    """A pool is to have another size than it has."""

    now_s: float
    pool: str
    before: int
    decision: Decision


@dataclass(slots=True)
class History:
    """Everything that happened."""

    moments: list[Moment] = field(default_factory=list[Moment])
    moves: list[Move] = field(default_factory=list[Move])
    arrived: dict[str, float] = field(default_factory=dict[str, float])
    known_s: dict[str, float] = field(default_factory=dict[str, float])
    deaths: int = 0

    def by_pool(self, from_s: float = 0.0) -> dict[str, list[Move]]:
        """Its moves after `from_s`."""
        found: dict[str, list[Move]] = {}
        for move in self.moves:
            if move.now_s > from_s:
                found.setdefault(move.pool, []).append(move)
        return found


class FluidLane:
    """A lane's pools, and the lag before them."""

    def __init__(self, lane: LaneOfStages, rng: np.random.Generator) -> None:
        self.lane = lane
        self.lag = lane.backlog
        self.arrived = lane.backlog
        self.done = 0.0
        self.paused_until_s = 0.0
        self.pools = {f"{lane.name}/{stage.name}": FluidPool(stage, rng) for stage in lane.stages}
        self._rng = rng
        self._bursts = deque(sorted(lane.bursts))

    def step(self, now_s: float, step_s: float) -> None:
        """Let time pass; the last stage works first, which makes room for the ones before."""
        came = float(self._rng.poisson(self.lane.arrivals(now_s) * step_s))
        while self._bursts and self._bursts[0][0] <= now_s:
            came += self._bursts.popleft()[1]
        self.lag += came
        self.arrived += came
        pools = list(self.pools.values())
        following: FluidPool | None = None
        made = 1.0
        for pool in reversed(pools):
            pool.settle(now_s)
            if now_s < self.paused_until_s:
                pool.rest()
                continue
            made = pool.stage.makes
            done = pool.work(float("inf") if following is None else following.room / made, step_s, now_s)
            if following is None:
                self.done += done
            else:
                following.arrive(done * made)
            following = pool
        taken = min(self.lag, pools[0].room)
        self.lag -= taken
        pools[0].arrive(taken)

    def signals(self, window_s: float) -> dict[str, PoolSignals]:
        """By pool."""
        upstream = self.lag
        seen: dict[str, PoolSignals] = {}
        for number, (name, pool) in enumerate(self.pools.items()):
            seen[name] = pool.signals(upstream, self.lag if number == 0 else 0.0, window_s)
            upstream += pool.queue
        return seen


class Fleet:
    """See the module. `run` it once."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._rng = np.random.default_rng(seed)
        self.lanes = [FluidLane(lane, self._rng) for lane in scenario.lanes]
        self.pools = {name: pool for lane in self.lanes for name, pool in lane.pools.items()}
        self.history = History()
        self._seen: deque[tuple[float, dict[str, PoolSignals]]] = deque()
        self._gone: list[tuple[float, Node]] = []
        self._up = list(scenario.nodes)

    def run(self) -> History:
        """From the beginning to the end."""
        scenario = self._scenario
        now_s, decided_s = 0.0, 0.0
        while now_s < scenario.lasts_s:
            now_s += scenario.step_s
            self._nodes_die(now_s)
            for lane in self.lanes:
                lane.step(now_s, scenario.step_s)
            if now_s - decided_s >= scenario.decide_s:
                self._decide(now_s, now_s - decided_s)
                decided_s = now_s
            self._note(now_s)
        self.history.arrived = {lane.lane.name: lane.arrived for lane in self.lanes}
        return self.history

    def _nodes_die(self, now_s: float) -> None:
        scenario = self._scenario
        self._up += [node for back_s, node in self._gone if back_s <= now_s]
        self._gone = [each for each in self._gone if each[0] > now_s]
        for _ in range(int(self._rng.poisson(len(self._up) * scenario.deaths_hz * scenario.step_s))):
            if not self._up:
                return
            self.history.deaths += 1
            share = 1.0 / len(self._up)
            self._gone.append((now_s + scenario.back_s, self._up.pop(int(self._rng.integers(len(self._up))))))
            for pool in self.pools.values():
                pool.lose(share)

    def _decide(self, now_s: float, window_s: float) -> None:
        seen = {name: each for lane in self.lanes for name, each in lane.signals(window_s).items()}
        self._seen.append((now_s, seen))
        if self._seen[0][0] > now_s - self._scenario.stale_s:
            return
        _, old = self._seen.popleft()
        requests: dict[str, PoolRequest] = {}
        for lane in self.lanes:
            for name, pool in lane.pools.items():
                stage, now = pool.stage, seen[name]
                signals = replace(old[name], workers_ready=now.workers_ready, workers_starting=now.workers_starting)
                requests[name] = PoolRequest(
                    signals, stage.limits, pool.memory, stage.cpus, stage.gpus, lane.lane.weight, lane.lane.name
                )
        for name, made in plan(requests, self._up, now_s).items():
            pool = self.pools[name]
            pool.memory = made.decision.memory
            target, before = made.decision.target_workers, pool.workers
            if made.decision.load is not None:
                self.history.known_s.setdefault(name, now_s)
            pool.resize(target, now_s)
            if target != before:
                self.history.moves.append(Move(now_s, name, before, made.decision))
                lane = next(lane for lane in self.lanes if name in lane.pools)
                lane.paused_until_s = now_s + self._scenario.pause_s

    def _note(self, now_s: float) -> None:
        pools, lanes = self.pools.items(), self.lanes
        self.history.moments.append(
            Moment(
                now_s,
                {name: pool.workers for name, pool in pools},
                {name: pool.ready for name, pool in pools},
                {name: pool.busy for name, pool in pools},
                {lane.lane.name: lane.lag + next(iter(lane.pools.values())).queue for lane in lanes},
                {lane.lane.name: lane.done for lane in lanes},
            )
        )
