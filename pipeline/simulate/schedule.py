"""One schedule: a seed's world from its first message until it is quiet."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.records import SourcePartition
from pipeline.simulate.coordinator import SimulatedCoordinator
from pipeline.simulate.faults import Kind
from pipeline.simulate.media import PRODUCTS
from pipeline.simulate.world import CALM_S, World

QUIET_S = 400.0
"""By then everything must have its outcome."""


class Schedule:
    """Lets coordinators run in a world, and moves, stops and restarts them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._seen = world.faults.seen
        self._coordinators = [SimulatedCoordinator(world, number) for number in range(self._rng.choice((1, 2, 2, 2)))]

    # --- the run ---

    def run(self) -> bool:
        """Let everything happen. Returns whether the world became quiet."""
        world, count = self._world, len(self._coordinators)
        for log in world.broker.logs.values():
            if log.appears_s == 0.0:
                world.broker.owner[log.log] = self._rng.randrange(count)
            else:
                world.timeline.after(log.appears_s, lambda log=log: self._give(log.log, self._rng.randrange(count)))
        for coordinator in self._coordinators:
            self._world.timeline.after(self._rng.uniform(0.0, 1.0), coordinator.start)
        self._plan()
        self._world.timeline.run(CALM_S, lambda: bool(self._world.errors))
        if self._world.errors:
            return False
        self._calm_down()
        self._world.timeline.run(QUIET_S, self._ended)
        return not self._world.errors and self._quiet()

    def _ended(self) -> bool:
        return bool(self._world.errors) or self._quiet()

    def _quiet(self) -> bool:
        return all(one.idle and len(one.products) == len(PRODUCTS) for one in self._coordinators)

    def _plan(self) -> None:
        """Faults that strike at a time of their own."""
        plans = {
            Kind.REBALANCE: self._rebalance,
            Kind.ZOMBIE: self._put_to_sleep,
            Kind.BLIP: self._blip,
            Kind.DRAIN: self._drain,
            Kind.VACUUM: self._vacuum,
        }
        for kind, act in plans.items():
            for _ in range(int(self._world.faults.chances[kind])):
                self._world.timeline.after(self._rng.uniform(0.5, CALM_S - 2.0), act)

    def _calm_down(self) -> None:
        """Nothing goes wrong any more; whoever runs an old config is started anew."""
        self._world.faults.calm = True
        for one in self._coordinators:
            one.wake()
            if one.alive and len(one.products) < len(PRODUCTS):
                one.crash()

    # --- faults ---

    def _give(self, log: SourcePartition, to: int) -> None:
        """The group moves a partition: the old owner hears of it early or late, the new one too."""
        before = self._world.broker.owner.get(log)
        self._world.broker.owner[log] = to
        if before is not None:
            self._tell(before, lambda one: one.revoked(log))
        self._tell(to, lambda one: one.assigned(log))

    def _tell(self, number: int, word: Callable[[SimulatedCoordinator], None]) -> None:
        """Who is dead hears nothing: it asks when it starts."""
        one = self._coordinators[number]
        if one.alive:
            one.hear(self._rng.uniform(0.0, self._rng.choice((0.1, 2.0))), lambda: word(one))

    def _rebalance(self) -> None:
        if len(self._coordinators) > 1 and self._world.broker.owner:
            log = self._rng.choice(sorted(self._world.broker.owner))
            self._seen[Kind.REBALANCE] += 1
            self._give(log, (self._world.broker.owner[log] + 1) % len(self._coordinators))

    def _blip(self) -> None:
        if self._world.broker.owner:
            log = self._rng.choice(sorted(self._world.broker.owner))
            self._seen[Kind.BLIP] += 1
            self._give(log, self._world.broker.owner[log])

    def _put_to_sleep(self) -> None:
        one = self._rng.choice(self._coordinators)
        if not one.alive:
            return
        self._seen[Kind.ZOMBIE] += 1
        one.sleep(self._rng.uniform(1.0, 15.0))
        if len(self._coordinators) > 1:
            for log in self._world.broker.owned_by(one.number):
                self._give(log, 1 - one.number)

    def _drain(self) -> None:
        one = self._rng.choice(self._coordinators)
        if one.alive:
            self._seen[Kind.DRAIN] += 1
            one.later(0.0, one.drain)

    def _vacuum(self) -> None:
        one = self._rng.choice(self._coordinators)
        if one.alive:
            self._seen[Kind.VACUUM] += 1
            one.later(0.0, one.vacuum)

    def describe(self) -> str:
        """What every coordinator waits for."""
        return "; ".join(one.describe() for one in self._coordinators)
