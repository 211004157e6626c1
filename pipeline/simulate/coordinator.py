"""A simulated coordinator: the production lane and commit protocol, on a virtual clock, killed at any step.

It does what `pipeline.runtime` does with Ray and Kafka: it is the only part of the delivery that is written twice.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from operators.errors import StopError
from pipeline.flow.core import LaneSettings
from pipeline.flow.coverage import Coverage
from pipeline.flow.lane import Lane
from pipeline.flow.positions import choose_start
from pipeline.lake.delta import Opening, Start
from pipeline.lake.proposal import Committed, Proposal
from pipeline.records import Product, Sealed, SourcePartition
from pipeline.simulate.crew import Crew
from pipeline.simulate.desk import Desk, Work
from pipeline.simulate.faults import Killed, Step
from pipeline.simulate.media import TOKEN_BYTES, WINDOW_BYTES
from pipeline.simulate.mistakes import Mistake, plant_in_lane, rules_for
from pipeline.simulate.world import World

ROUND_S = 0.4
RESTART_S = 3.0
LANE = "image"
SETTINGS = LaneSettings(
    prepare_batch=3,
    tokenize_windows=4,
    batch_wait_s=0.3,
    lease_bytes=3 * WINDOW_BYTES,
    window_bytes=20 * WINDOW_BYTES,
    token_bytes=12 * TOKEN_BYTES,
    spool_bytes=40 * TOKEN_BYTES,
    most_ready=16,
    most_uncommitted=12,
    seal_age_s=1.5,
    most_tries=3,
)
PACKERS = ("packer-0", "packer-1")


class SimulatedCoordinator:
    """See the module.

    Args:
        world: everything around it.
        number: of this coordinator; it comes back under it after a crash.
    """

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self._world = world
        self._life = 0
        self._asleep_until_s = 0.0
        self.alive = False
        self.products: tuple[Product, ...] = ()

    # --- life ---

    def start(self) -> None:
        """A new process with nothing in memory."""
        world = self._world
        self._life += 1
        self.alive = True
        self._words = deque[Callable[[], None]]()
        self.products = world.products_now()
        keys = [product.key for product in self.products]
        self.desk = Desk(world.store, f"coordinator-{self.number}", rules_for(world.mistake), self._reached)
        self.lane = Lane(
            LANE,
            {product.key: product.spec.view for product in self.products},
            PACKERS,
            SETTINGS,
            random.Random(world.rng.random()),  # noqa: S311  reproducible, no secret
            lambda: int(world.timeline.now_s * 1000),
        )
        plant_in_lane(world.mistake, self.lane)
        self.crew = Crew(world, self.lane, self.desk, keys, PACKERS, self.later, self._reached)
        self._reading: dict[SourcePartition, int] = {}
        self._known: dict[tuple[str, SourcePartition], tuple[int, tuple[Coverage, ...]]] = {}
        self._unproposed: list[Start] = []
        self._mine = set(world.broker.owned_by(self.number))
        self._work = deque[Work]()
        self._working: Work | None = None
        self._commit_due_s = world.timeline.now_s
        self._submit(self._open())
        for log in sorted(self._mine):
            self._submit(self._assign(log))
        self.later(0.0, self._round)

    def crash(self) -> None:
        """Everything in memory is gone, and the actors with it. What is on its way to the store stays on its way."""
        self._life += 1
        self.alive = False
        self._asleep_until_s = 0.0
        self._world.timeline.after(self._world.rng.uniform(0.1, RESTART_S), self.start)

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while, and know nothing of it afterwards."""
        self._asleep_until_s = self._world.timeline.now_s + seconds

    def wake(self) -> None:
        """Stop sleeping."""
        self._asleep_until_s = 0.0

    def drain(self) -> None:
        """SIGTERM: end what was begun, commit it and leave."""
        self.lane.draining = True
        self.lane.abandon_queued()
        self._reached(Step.ANSWERED)

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something in a while, if this life lasts so long."""
        life, timeline = self._life, self._world.timeline

        def fire() -> None:
            if self._life != life:
                return
            if timeline.now_s < self._asleep_until_s:
                timeline.after(self._asleep_until_s - timeline.now_s, fire)
                return
            try:
                act()
            except Killed:
                self.crash()
            except StopError as error:
                self._world.broken(f"coordinator {self.number}: {error.code}: {error}")
                self.crash()

        timeline.after(delay_s, fire)

    @property
    def idle(self) -> bool:
        """Whether it has read everything, has nothing in flight, and does nothing on the lake."""
        if not self.alive or self.lane.draining or not self.lane.quiet or self._working is not None:
            return False
        if self._work or self._words or set(self._reading) != set(self._world.broker.owned_by(self.number)):
            return False
        logs, now_s = self._world.broker.logs, self._world.timeline.now_s
        return all(position >= logs[log].end(now_s) for log, position in self._reading.items())

    def describe(self) -> str:
        """What it waits for, for people."""
        waits = {stage: reason.value for stage, reason in self.lane.core.waits.items()}
        return (
            f"coordinator {self.number}: alive {self.alive}, on the lake {self._working is not None}, "
            f"in flight {len(self.lane.core.ledger)}, reading {self._reading}, waits {waits}"
        )

    # --- what the group says ---

    def hear(self, delay_s: float, word: Callable[[], None]) -> None:
        """The group's words come after a while, in the order in which they were said."""
        self._words.append(word)
        self.later(delay_s, self._hear_next)

    def _hear_next(self) -> None:
        self._words.popleft()()

    def assigned(self, log: SourcePartition) -> None:
        """A partition is this coordinator's."""
        self._mine.add(log)
        self._submit(self._assign(log))

    def revoked(self, log: SourcePartition) -> None:
        """It is someone else's."""
        self._mine.discard(log)
        self._reading.pop(log, None)
        self.lane.revoke([log])

    # --- rounds ---

    def _reached(self, step: Step) -> None:
        if self._world.faults.kills(step):
            raise Killed(step)

    def _round(self) -> None:
        self.later(ROUND_S, self._round)
        if not self.lane.holds_back():
            for log in sorted(self._reading):
                self._poll(log)
        if not self.lane.quiet:
            self.crew.act()
        if self._world.timeline.now_s >= self._commit_due_s and self._working is None and self._takes_sealed():
            self._submit(self._commit())
        if self.lane.draining and self.lane.quiet and self._working is None:
            self.crash()

    def _takes_sealed(self) -> bool:
        return self.lane.pack.holds_sealed or bool(self.lane.direct)

    def _poll(self, log: SourcePartition) -> None:
        world, position = self._world, self._reading[log]
        for one in world.broker.logs[log].read(position, world.timeline.now_s, most=world.rng.randint(0, 4)):
            if one.offset > position:
                self.lane.hole(log, position, one.offset, [product.key for product in self.products])
            position = self._reading[log] = one.offset + 1
            self.lane.admit(one.message, one.items, self._owed(log, one.offset), world.timeline.now_s)
            self._reached(Step.ADMITTED)

    def _owed(self, log: SourcePartition, offset: int) -> list[str]:
        owed: list[str] = []
        for product in self.products:
            start, coverages = self._known[product.key, log]
            if offset >= start and not any(coverage.covers(offset) for coverage in coverages):
                owed.append(product.key)
        return owed

    # --- the lake ---

    def _submit(self, work: Work) -> None:
        self._work.append(work)
        if self._working is None:
            self.later(0.0, self._next)

    def _next(self) -> None:
        if self._working is None and self._work:
            self._working = self._work.popleft()
            self._advance()

    def _advance(self) -> None:
        assert self._working is not None
        delay_s = next(self._working, None)
        if delay_s is None:
            self._working = None
            self._next()
        else:
            self.later(delay_s, self._advance)

    def _open(self) -> Work:
        yield from self.desk.refresh()
        yield from self.desk.commit(Proposal(openings=tuple(Opening(product, LANE) for product in self.products)))

    def _assign(self, log: SourcePartition) -> Work:
        yield from self.desk.refresh()
        if log not in self._mine or log in self._reading:
            return
        self._reached(Step.ASSIGNED)
        state, keys = self.desk.state, [product.key for product in self.products]
        start = choose_start(
            {key: state.position(key, log) for key in keys},
            source_known=any(known.source_id == log.source_id for key in keys for known in state.logs(key)),
            earliest=0,
            by_policy=lambda: self._world.by_policy(log),
        )
        starts = tuple(Start(key, log, offset) for key, offset in start.new.items())
        if self._world.mistake is Mistake.LATEST_AGAIN:
            self._unproposed += starts
        elif starts:
            self._reached(Step.STARTS)
            yield from self.desk.commit(Proposal(starts=starts))
            self._reached(Step.BEGUN)
        if log in self._mine:
            self._begin_reading(log)

    def _begin_reading(self, log: SourcePartition) -> None:
        state, positions = self.desk.state, list[int]()
        fresh = {each.product: each.offset for each in self._unproposed if each.log == log}
        for product in self.products:
            key = product.key
            committed = state.start(key, log)
            begin = fresh[key] if committed is None else committed
            self._known[key, log] = (begin, tuple(each.copy() for each in state.coverages(key, log)))
            position = state.position(key, log)
            positions.append(begin if position is None else position)
            self._world.promise(key, log, begin)
        position = min(positions)
        if self._world.mistake is Mistake.KAFKA_FIRST:
            position = self._world.broker.advised.get(log, position)
        self._reading[log] = position

    def _commit(self) -> Work:
        sealed = self.lane.take_sealed()
        self._reached(Step.SEALED)
        if self._world.mistake is Mistake.KAFKA_FIRST:
            self._advise(sealed)
        starts, self._unproposed = tuple(self._unproposed), []
        done = yield from self.desk.commit(Proposal(sealed=sealed, starts=starts))
        self._reached(Step.COMMITTED)
        self._settle(done)
        self._advise(sealed)
        self._commit_due_s = self._world.timeline.now_s + self._world.commit_s
        self.crew.act()

    def vacuum(self) -> None:
        """Raise the floor to what this coordinator knows."""
        self._submit(self._vacuum())

    def _vacuum(self) -> Work:
        yield from self.desk.refresh()
        floor = self.desk.state.version - self._world.rng.randint(0, 2)
        if floor > self.desk.state.min_base:
            raises = self._world.mistake is not Mistake.VACUUM_WITHOUT_FLOOR
            yield from self.desk.vacuum(floor, raises_floor=raises)

    def _settle(self, done: Committed) -> None:
        for part in done.parts:
            self.lane.settled(part.sealed.product, part.settled)
            if self._world.mistake is not Mistake.REFUSED_NOT_REDONE:
                self.lane.redo(part.sealed.product, part.unsettled)
        if any(part.unsettled for part in done.parts):
            self._world.faults.seen["sealed again after vacuum"] += 1

    def _advise(self, sealed: tuple[Sealed, ...]) -> None:
        """Tell Kafka what is covered, or, as a mistake, what will be."""
        self._reached(Step.ADVISE)
        ahead = self._world.mistake is Mistake.KAFKA_FIRST
        for log in {span.log for part in sealed for span in part.covers} & set(self._reading):
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
            self._world.broker.advised[log] = min(positions)
        self._reached(Step.ADVISED)
