"""A simulated coordinator: a process that reads a topic as a member of a group."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from operators.errors import (
    ProductSupersededError,
    SourceUnavailableError,
    StopError,
    StoreUnavailableError,
    TopicRecreatedError,
)
from pipeline.lake.proposal import Proposal
from pipeline.records import Product, Sealed, SourcePartition
from pipeline.simulate.consumer import Consumer, GapFoundError
from pipeline.simulate.desk import Work
from pipeline.simulate.faults import Kind, Step
from pipeline.simulate.lineup import Edition
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.process import SimulatedProcess
from pipeline.simulate.publish import Published
from pipeline.simulate.world import World

RETRY_S = 1.0
AGAIN = 3
"""Offsets that are fetched a second time, at most."""


class SimulatedCoordinator(SimulatedProcess):
    """See the module.

    Args:
        world: everything around it.
        number: of this coordinator; it comes back under it after a crash.
        tell: whom its errors are shown to.
    """

    def __init__(self, world: World, number: int, tell: Callable[[GapFoundError], None]) -> None:
        super().__init__(world, f"coordinator-{number}")
        self.number = number
        self._tell = tell
        self._edition = world.lineup.editions[0]

    # --- life

    def _configured(self) -> tuple[Product, ...]:
        newest = self.world.lineup.at(self.world.now_s)
        if not newest.forced or self.world.faults.calm:
            self._edition = max(self._edition, newest, key=lambda edition: edition.at_s)
        return self._edition.products

    def deploy(self, edition: Edition) -> None:
        """Its turn in a rolling deploy: from the next start on it has this config."""
        self._edition = max(self._edition, edition, key=lambda each: each.at_s)

    def _begin_reading(self) -> None:
        self.consumer = Consumer(self.world.broker, checks_ids=self.world.mistake is not Mistake.NO_TOPIC_CHECK)
        self._words = deque[Callable[[], None]]()
        self._mine = set(self.world.broker.owned_by(self.number))
        self._last: dict[int, list[Published]] = {}
        self.later(0.0, self._join)

    def _join(self) -> None:
        """As a consumer that finds out what its topic is, and then joins the group."""
        try:
            self.consumer.identify(self.world.now_s)
        except SourceUnavailableError:
            self.later(RETRY_S, self._join)
            return
        for partition in sorted(self._mine):
            self.submit(self._assign(partition))

    @property
    def idle(self) -> bool:
        """Whether it has read everything, has nothing in flight, and does nothing on the lake."""
        if not self.rests or self._words or self.products != self.world.lineup.final:
            return False
        mine = set(self.world.broker.owned_by(self.number))
        return set(self.consumer.places) == mine and not self.consumer.behind(self.world.now_s)

    # --- what the group says

    def hear(self, delay_s: float, word: Callable[[], None]) -> None:
        """The group's words come after a while, in the order in which they were said."""
        self._words.append(word)
        self.later(delay_s, self._hear_next)

    def _hear_next(self) -> None:
        self._words.popleft()()

    def assigned(self, partition: int) -> None:
        """A partition is this coordinator's."""
        self._mine.add(partition)
        if self.consumer.source_id:
            self.submit(self._assign(partition))

    def revoked(self, partition: int) -> None:
        """It is someone else's."""
        self._mine.discard(partition)
        self.consumer.leave(partition)
        self.lane.revoke([self.consumer.log(partition)])

    # --- reading

    def _feed(self) -> None:
        for partition in sorted(self.consumer.places):
            self._poll(partition)

    def _poll(self, partition: int) -> None:
        world, log = self.world, self.consumer.log(partition)
        again = world.rng.randint(1, AGAIN) if world.faults.happens(Kind.REDELIVERED) else 0
        for given in self.consumer.poll(partition, world.now_s, most=world.rng.randint(0, 4), again=again):
            self._take(log, given)
            if again:
                # Should a repeat ever come so far, the lane and the lake know it.
                self._take(log, given)
                self._last.setdefault(partition, []).append(given) if isinstance(given, Published) else None
        if again:
            for given in self._last.pop(partition, []):
                self._take(log, given)

    def _take(self, log: SourcePartition, given: Published | tuple[int, int]) -> None:
        if isinstance(given, Published):
            self.lane.admit(given.message, given.items, self.owed(log, given.offset), self.world.now_s)
            self._reached(Step.ADMITTED)
        else:
            self.world.faults.seen["hole in a log"] += 1
            self.lane.hole(log, *given, self.keys)

    def _reading(self) -> Sequence[SourcePartition]:
        return [self.consumer.log(partition) for partition in sorted(self.consumer.places)]

    def _recheck(self) -> bool:
        if self.error is not None and self.world.mistake is Mistake.STOPPED_UNCHECKED:
            return True
        try:
            self.consumer.recheck(self.world.now_s)
        except SourceUnavailableError:
            return False
        return True

    def _stop(self, error: StopError) -> None:
        super()._stop(error)
        if isinstance(error, TopicRecreatedError):
            self.lane.revoke(self._reading())
        elif isinstance(error, GapFoundError):
            self._tell(error)

    # --- the lake

    def _assign(self, partition: int) -> Work:
        try:
            yield from self._place(partition)
        except (StoreUnavailableError, SourceUnavailableError):
            # Left out for now: tried again like every partition that has no start yet.
            self.later(RETRY_S, lambda: self.submit(self._assign(partition)))
        except StopError as error:
            if isinstance(error, ProductSupersededError):
                raise
            if self.error is None:
                self._stop(error)

    def _place(self, partition: int) -> Work:
        if partition not in self._mine or partition in self.consumer.places or self.error is not None:
            return
        now_s, log = self.world.now_s, self.consumer.log(partition)
        self.consumer.recheck(now_s)
        yield from self.desk.refresh()
        self._reached(Step.ASSIGNED)
        together = [partition]
        if not self.begun(log.source_id):
            together = sorted({*self.world.broker.partitions(now_s), partition})
        starts = [
            start
            for each in together
            for start in self.new_starts(self.consumer.log(each), self.consumer.ends(each, now_s))
        ]
        if self.world.mistake is Mistake.LATEST_AGAIN:
            self._unproposed += [start for start in starts if start.log == log]
        elif starts:
            self._reached(Step.STARTS)
            yield from self.desk.try_commit(Proposal(starts=tuple(starts)))
            self._reached(Step.BEGUN)
        if partition in self._mine and partition not in self.consumer.places:
            now_s = self.world.now_s
            position = self.position(log, self.consumer.ends(partition, now_s)[1])
            if self.world.mistake is Mistake.KAFKA_FIRST:
                position = self.world.broker.advised.get(log, position)
            self.consumer.place(partition, position, now_s)

    def vacuum(self) -> None:
        """Raise the floor to what this coordinator knows."""
        self.submit(self._vacuum())

    def _vacuum(self) -> Work:
        try:
            yield from self.desk.refresh()
        except StoreUnavailableError:
            return
        floor = self.desk.state.version - self.world.rng.randint(0, 2)
        if floor > self.desk.state.min_base:
            yield from self.desk.vacuum(floor)

    # --- Kafka's offsets

    def _before_commit(self, sealed: Sequence[Sealed]) -> None:
        if self.world.mistake is Mistake.KAFKA_FIRST:
            self._advise(sealed)

    def _after_commit(self, sealed: Sequence[Sealed]) -> None:
        self._advise(sealed)

    def _advise(self, sealed: Sequence[Sealed]) -> None:
        """Tell Kafka what is covered, or, as a mistake, what will be."""
        self._reached(Step.ADVISE)
        ahead = self.world.mistake is Mistake.KAFKA_FIRST
        for log in sorted({span.log for part in sealed for span in part.covers} & set(self._reading())):
            positions: list[int] = []
            for product in self.products:
                position = self.desk.state.position(product.key, log)
                ends = [
                    end
                    for part in sealed
                    for span in part.covers
                    for start, end in span.ranges
                    if ahead and part.product == product.key and span.log == log and position is not None
                    if start <= position
                ]
                positions.append(max([position or 0, *ends]))
            self.world.broker.advised[log] = min(positions)
        self._reached(Step.ADVISED)
