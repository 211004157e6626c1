"""What strikes a world at a time of its own: the group, the topic, the media's places, the config."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from operators.records import Failure, MediaReference, VoidReason
from pipeline.simulate.broker import SimulatedLog
from pipeline.simulate.coordinator import SimulatedCoordinator
from pipeline.simulate.faults import Event
from pipeline.simulate.lineup import Edition
from pipeline.simulate.publish import PLACES, Published
from pipeline.simulate.world import CALM_S, World


class Happenings:
    """See the module."""

    def __init__(self, world: World, coordinators: Sequence[SimulatedCoordinator]) -> None:
        self._world = world
        self._rng: random.Random = world.rng
        self._seen = world.faults.seen
        self._coordinators = coordinators

    def plan(self) -> None:
        """Draw when everything happens that this seed has."""
        plans: dict[Event, Callable[[], None]] = {
            Event.REBALANCE: self._rebalance,
            Event.ZOMBIE: self._put_to_sleep,
            Event.BLIP: self._blip,
            Event.DRAIN: self._drain,
            Event.VACUUM: self._vacuum,
            Event.COMPACTED: self._compact,
            Event.RETENTION: self._expire,
            Event.RECREATED: lambda: self._recreate(longer=False),
            Event.RECREATED_LONGER: lambda: self._recreate(longer=True),
            Event.TRUNCATED: self._truncate,
            Event.OUTAGE: self._go_down,
        }
        for event, act in plans.items():
            for _ in range(self._world.faults.events[event]):
                self._world.timeline.after(self._rng.uniform(0.5, CALM_S - 2.0), act)
        for edition in self._world.lineup.editions:
            if edition.forced:
                self._seen[Event.ROLLBACK if edition.rolls_back else Event.DEPLOY] += 1
                for one in self._coordinators:
                    at_s = edition.at_s + self._rng.uniform(0.0, 5.0)
                    self._world.timeline.after(at_s, lambda one=one, edition=edition: self._deploy(one, edition))
                    if self._rng.random() < 0.5:
                        # Whoever dies before its turn comes back with the old config.
                        self._world.timeline.after(at_s - self._rng.uniform(0.0, 4.0), lambda one=one: self._kill(one))

    # --- the group and its members

    def give(self, partition: int, to: int) -> None:
        """The group moves a partition: the old owner hears of it early or late, the new one too."""
        before = self._world.broker.owner.get(partition)
        self._world.broker.owner[partition] = to
        if before is not None:
            self._tell(before, lambda one: one.revoked(partition))
        self._tell(to, lambda one: one.assigned(partition))

    def _tell(self, number: int, word: Callable[[SimulatedCoordinator], None]) -> None:
        """Who is dead hears nothing: it asks when it starts."""
        one = self._coordinators[number]
        if one.alive:
            one.hear(self._rng.uniform(0.0, self._rng.choice((0.1, 2.0))), lambda: word(one))

    def _rebalance(self) -> None:
        if len(self._coordinators) > 1 and self._world.broker.owner:
            partition = self._rng.choice(sorted(self._world.broker.owner))
            self._seen[Event.REBALANCE] += 1
            self.give(partition, (self._world.broker.owner[partition] + 1) % len(self._coordinators))

    def _blip(self) -> None:
        if self._world.broker.owner:
            partition = self._rng.choice(sorted(self._world.broker.owner))
            self._seen[Event.BLIP] += 1
            self.give(partition, self._world.broker.owner[partition])

    def _put_to_sleep(self) -> None:
        one = self._rng.choice(self._coordinators)
        if not one.alive:
            return
        self._seen[Event.ZOMBIE] += 1
        one.sleep(self._rng.uniform(1.0, 15.0))
        if len(self._coordinators) > 1:
            for partition in self._world.broker.owned_by(one.number):
                self.give(partition, 1 - one.number)

    def _drain(self) -> None:
        one = self._rng.choice(self._coordinators)
        if one.alive:
            self._seen[Event.DRAIN] += 1
            one.later(0.0, one.drain)

    def _vacuum(self) -> None:
        one = self._rng.choice(self._coordinators)
        if one.alive:
            self._seen[Event.VACUUM] += 1
            one.later(0.0, one.vacuum)

    def _deploy(self, one: SimulatedCoordinator, edition: Edition) -> None:
        """SIGTERM, or the node goes: what comes back has the new config."""
        one.deploy(edition)
        if one.alive:
            one.later(0.0, self._rng.choice((one.drain, one.crash)))

    def _kill(self, one: SimulatedCoordinator) -> None:
        if one.alive:
            one.crash()

    # --- the topic

    def _topic(self) -> list[SimulatedLog]:
        now_s, broker = self._world.now_s, self._world.broker
        return [log for partition in broker.partitions(now_s) if (log := broker.log_of(partition)).there(now_s)]

    def _compact(self) -> None:
        """Of a message with something in it, so that it shows whether it was read before."""
        now_s = self._world.now_s
        victims = [(log, one) for log in self._topic() for one in log.there(now_s)[:-1] if self._shows(one)]
        if victims:
            log, one = self._rng.choice(victims)
            log.compact(one, now_s)
            self._seen[Event.COMPACTED] += 1

    def _shows(self, one: Published) -> bool:
        item = one.items[0]
        if isinstance(item, MediaReference):
            return not isinstance(self._world.broker.media[item.uri].ended, VoidReason)
        return isinstance(item, Failure)

    def _expire(self) -> None:
        for log in self._topic():
            start = self._rng.randint(log.start, log.end(self._world.now_s))
            if start > log.start and self._rng.random() < 0.7:
                log.expire(start, self._world.now_s)
                self._seen[Event.RETENTION] += 1

    def _recreate(self, *, longer: bool) -> None:
        if self._topic():
            self._world.broker.recreate(self._world.now_s, longer=longer)
            self._seen[Event.RECREATED_LONGER if longer else Event.RECREATED] += 1

    def _truncate(self) -> None:
        logs = self._topic()
        if not logs:
            return
        log, now_s = self._rng.choice(logs), self._world.now_s
        lost = self._rng.choice(log.there(now_s)[-3:])
        extra = None
        if self._rng.random() < 0.5:
            extra = self._world.producers.message(log.log, lost.offset, now_s)
        log.cut_at(lost.offset, now_s, extra)
        self._seen[Event.TRUNCATED] += 1

    # --- media

    def _go_down(self) -> None:
        self._seen[Event.OUTAGE] += 1
        place, down = self._rng.choice(PLACES), self._world.down
        down.add(place)
        self._world.timeline.after(self._rng.uniform(2.0, 8.0), lambda: down.discard(place))
