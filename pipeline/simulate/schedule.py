"""One schedule: a seed's world from its first message until it is quiet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.records import Predicate, PredicateField, SourcePartition
from pipeline.simulate.broker import SimulatedLog
from pipeline.simulate.coordinator import SimulatedCoordinator
from pipeline.simulate.faults import Event
from pipeline.simulate.happenings import Happenings
from pipeline.simulate.jobs import BackfillJob, CatchUpJob, Job, ReplayJob, RetokenizeJob
from pipeline.simulate.person import Person
from pipeline.simulate.publish import SUBJECTS
from pipeline.simulate.upkeep import Compaction, Takedown, Upkeep
from pipeline.simulate.world import CALM_S, World

QUIET_S = 400.0
"""By then everything must have its outcome."""


class Schedule:
    """Lets processes run in a world: coordinators, jobs beside them, and at last the jobs that leave nothing over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._person = Person(world)
        count = self._rng.choice((1, 2, 2, 2))
        self._coordinators = [SimulatedCoordinator(world, number, self._person.told) for number in range(count)]
        self._jobs: list[Job | Upkeep] = []
        self._happenings = Happenings(world, self._coordinators)

    def run(self) -> bool:
        """Let everything happen. Returns whether the world became quiet."""
        world, count = self._world, len(self._coordinators)
        for log in world.broker.logs.values():
            partition = log.log.partition
            if log.appears_s == 0.0:
                world.broker.owner[partition] = self._rng.randrange(count)
            else:
                owner = self._rng.randrange(count)
                world.timeline.after(
                    log.appears_s, lambda partition=partition, owner=owner: self._happenings.give(partition, owner)
                )
        for coordinator in self._coordinators:
            world.timeline.after(self._rng.uniform(0.0, 1.0), coordinator.start)
        self._happenings.plan()
        self._plan_jobs()
        world.timeline.run(CALM_S, lambda: bool(world.errors))
        if world.errors:
            return False
        self._calm_down()
        return self._until_quiet() and self._finish()

    def describe(self) -> str:
        """What every process waits for."""
        return "; ".join(one.describe() for one in (*self._coordinators, *self._jobs) if not one.idle)

    # --- to the end

    def _until_quiet(self) -> bool:
        world = self._world
        world.timeline.run(QUIET_S, lambda: bool(world.errors) or self._quiet())
        return not world.errors and self._quiet()

    def _quiet(self) -> bool:
        return all(one.idle for one in (*self._coordinators, *self._jobs)) and not self._person.busy

    def _calm_down(self) -> None:
        """Nothing goes wrong any more; whoever runs an old config is started anew."""
        self._world.faults.calm = True
        self._world.down.clear()
        for one in self._coordinators:
            one.wake()
            if one.alive and one.products != self._world.lineup.final:
                one.crash()

    def _finish(self) -> bool:
        """All letters once more, all rows of predecessors: after that none may be left over."""
        events, last = self._world.faults.events, list[Job]()
        if events[Event.REPLAY]:
            self._mend(self._rng.choice((0.0, 1.0)))
            last.append(ReplayJob(self._world, "at last"))
        if events[Event.RETOKENIZE]:
            last.append(RetokenizeJob(self._world, "at last"))
        for job in last:
            self._start(job)
            if not self._until_quiet():
                return False
        self._world.replayed, self._world.retokenized = bool(events[Event.REPLAY]), bool(events[Event.RETOKENIZE])
        return True

    # --- jobs

    def _plan_jobs(self) -> None:
        plans: dict[Event, Callable[[int], None]] = {
            Event.REPLAY: self._replay,
            Event.RETOKENIZE: lambda number: self._start(RetokenizeJob(self._world, str(number))),
            Event.CATCH_UP: lambda number: self._start(CatchUpJob(self._world, str(number))),
            Event.BACKFILL: self._backfill,
            Event.TAKEDOWN: self._take_down,
            Event.COMPACTION: lambda number: self._start(Compaction(self._world, f"compaction {number}")),
        }
        for event, act in plans.items():
            for number in range(self._world.faults.events[event]):
                at_s = self._moment(event)
                self._world.timeline.after(
                    at_s, lambda event=event, act=act, number=number: self._begin(event, act, number)
                )

    def _begin(self, event: Event, act: Callable[[int], None], number: int) -> None:
        self._world.faults.seen[event] += 1
        act(number)

    def _moment(self, event: Event) -> float:
        first_s = self._world.lineup.editions[-1].at_s if event is Event.RETOKENIZE else 1.0
        return self._rng.uniform(min(first_s + 1.0, CALM_S - 3.0), CALM_S - 2.0)

    def _start(self, job: Job | Upkeep) -> None:
        self._jobs.append(job)
        job.start()

    def _replay(self, number: int) -> None:
        self._mend(0.6)
        self._start(ReplayJob(self._world, str(number)))

    def _mend(self, share: float) -> None:
        """So much of what was wrong with media is mended."""
        world = self._world
        for uri in [uri for uri, media in world.broker.media.items() if media.flawed and self._rng.random() < share]:
            world.producers.mend(uri)

    def _backfill(self, number: int) -> None:
        world, log = self._world, SourcePartition(f"listing-{number}", 0)
        listing = SimulatedLog(log, world.producers.log(log, world.now_s, world.now_s, self._rng.randint(2, 6)))
        world.broker.logs[log] = listing
        self._start(BackfillJob(world, listing))

    def _take_down(self, number: int) -> None:
        world = self._world
        uris = sorted(world.broker.media)
        predicates: Sequence[Predicate] = (
            [Predicate(PredicateField.SUBJECT_KEY, self._rng.choice(SUBJECTS))]
            if self._rng.random() < 0.4
            else [Predicate(PredicateField.URI, uri) for uri in self._rng.sample(uris, min(len(uris), 3))]
        )
        if predicates:
            self._start(Takedown(world, str(number), predicates))
