"""A simulated process with a lane: the production lane and commit protocol, on a virtual clock, killed at any step.

It does what `pipeline.runtime` does with Ray: it is, with its consumer, the only part of the delivery that is written
twice. What it reads is for those who inherit from it to say.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence

from operators.errors import ProductSupersededError, StopError, StoreUnavailableError
from pipeline.flow.core import LaneSettings
from pipeline.flow.coverage import Coverage
from pipeline.flow.failures import FailureSettings
from pipeline.flow.lane import Lane
from pipeline.flow.positions import choose_start
from pipeline.lake.delta import Opening, Start
from pipeline.lake.proposal import Committed, Proposal, Reason
from pipeline.records import Product, Range, Sealed, SealKind, SourcePartition
from pipeline.simulate.crew import Crew
from pipeline.simulate.desk import Work
from pipeline.simulate.faults import Killed, Step
from pipeline.simulate.life import Living
from pipeline.simulate.media import TOKEN_BYTES, WINDOW_BYTES
from pipeline.simulate.mistakes import Mistake, commit_heard, opening_for, plant_in_lane
from pipeline.simulate.world import World

ROUND_S = 0.4
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
    failures=FailureSettings(window_s=1.0, most_share=1.0, outage_most_s=20.0),
)
PACKERS = ("packer-0", "packer-1")


class SimulatedProcess(Living):
    """See the module.

    Args:
        world: everything around it.
        name: its own, in all its lives.
        kind: of what it commits.
    """

    def __init__(self, world: World, name: str, kind: SealKind = SealKind.LIVE) -> None:
        super().__init__(world, name)
        self.products: tuple[Product, ...] = ()
        self._kind = kind

    # --- what is different from process to process

    def _configured(self) -> tuple[Product, ...]:
        """What its config says now."""
        return self.world.lineup.at(self.world.now_s).products

    @abstractmethod
    def _begin_reading(self) -> None:
        """Its products are being opened: what else it does first."""

    @abstractmethod
    def _feed(self) -> None:
        """A round: give the lane what there is.

        Raises:
            StopError: the lane can't go on.
        """

    def _recheck(self) -> bool:
        """Whether what was read may be committed, as far as can be told now.

        Raises:
            StopError: it must never be.
        """
        return True

    def _reading(self) -> Sequence[SourcePartition]:
        """What it reads."""
        return ()

    def _replayed(self) -> frozenset[str] | None:
        """The outcomes files whose letters it replays."""
        return None

    # --- life

    def _begin(self) -> None:
        world = self.world
        self.error: StopError | None = None
        self.products = self._configured()
        self.lane = Lane(
            LANE,
            {product.key: product.spec.view for product in self.products},
            PACKERS,
            SETTINGS,
            random.Random(world.rng.random()),  # noqa: S311  reproducible, no secret
            lambda: int(world.now_s * 1000),
            self._kind,
        )
        plant_in_lane(world.mistake, self.lane)
        self.crew = Crew(world, self.lane, self.desk, self.keys, PACKERS, self.later, self._reached)
        self.known: dict[tuple[str, SourcePartition], tuple[int, tuple[Coverage, ...]]] = {}
        self._unproposed: list[Start] = []
        self._commit_due_s = world.now_s
        self.submit(self._open())
        self._begin_reading()
        self.later(0.0, self._round)

    def drain(self) -> None:
        """SIGTERM: end what was begun, commit it and leave."""
        self.lane.draining = True
        self.lane.abandon_queued()
        self._reached(Step.ANSWERED)

    def _failed(self, error: StopError) -> None:
        if isinstance(error, ProductSupersededError):
            self.world.faults.seen["superseded"] += 1
            self.crash()
        else:
            super()._failed(error)

    @property
    def keys(self) -> list[str]:
        """Of its products."""
        return [product.key for product in self.products]

    @property
    def rests(self) -> bool:
        """Whether nothing is in flight, and nothing is done on the lake."""
        return self.alive and not self.lane.draining and not self.busy and self.lane.quiet

    def describe(self) -> str:
        """What it waits for, for people."""
        if not self.alive:
            return f"{self.name}: not running"
        waits = {stage: reason.value for stage, reason in self.lane.core.waits.items()}
        return (
            f"{self.name}: on the lake {self.busy}, in flight {len(self.lane.core.ledger)}, "
            f"stopped by {self.error!r}, waits {waits}"
        )

    # --- rounds

    def _round(self) -> None:
        self.later(ROUND_S, self._round)
        if self.error is None and not self.lane.holds_back():
            try:
                self._feed()
            except StopError as error:
                self._stop(error)
        if not self.lane.quiet:
            self.crew.act()
        if self.world.now_s >= self._commit_due_s and self._working is None:
            if self.lane.holds_sealed:
                self.submit(self._commit())
            else:
                self._commit_due_s = self.world.now_s + self.world.commit_s
                self._take_sealed()
        if self.lane.draining and self.lane.quiet and self._working is None:
            self.crash()

    def _stop(self, error: StopError) -> None:
        """The lane takes nothing more, ends what it has begun, and the process ends."""
        self.error = error
        self.lane.draining = True
        self.world.faults.seen[f"stopped: {error.code}"] += 1

    def owed(self, log: SourcePartition, offset: int) -> list[str]:
        """The products that had no outcome for a message when its log was assigned."""
        owed: list[str] = []
        for key in self.keys:
            start, coverages = self.known[key, log]
            if offset >= start and not any(coverage.covers(offset) for coverage in coverages):
                owed.append(key)
        return owed

    # --- where to begin

    def begun(self, source_id: str) -> bool:
        """Whether the lake has met this source in one of the products."""
        return any(log.source_id == source_id for key in self.keys for log in self.desk.state.logs(key))

    def new_starts(self, log: SourcePartition, ends: Range) -> list[Start]:
        """The `from`s that have to be committed before a log is read."""
        earliest, latest = ends
        start = choose_start(
            {key: self.desk.state.position(key, log) for key in self.keys},
            source_known=self.begun(log.source_id),
            earliest=earliest,
            by_policy=lambda: latest if self.world.latest else earliest,
        )
        return [Start(key, log, offset) for key, offset in start.new.items()]

    def position(self, log: SourcePartition, latest: int) -> int:
        """Where to read a log from; what the lake has of it is known from here on."""
        state, positions = self.desk.state, list[int]()
        fresh = {each.product: each.offset for each in self._unproposed if each.log == log}
        for product in self.products:
            key = product.key
            committed = state.start(key, log)
            if committed is None and key not in fresh:
                raise ProductSupersededError(f"{key} is closed: a higher revision runs elsewhere")
            begin = fresh[key] if committed is None else committed
            self.known[key, log] = (begin, tuple(each.copy() for each in state.coverages(key, log)))
            position = state.position(key, log)
            if self.world.mistake is Mistake.SUCCESSOR_AT_THE_END and (key, log) not in state.starts:
                position = latest
            positions.append(begin if position is None else position)
            self.world.promise(product.name, log, begin)
        return min(positions)

    # --- the lake

    def _open(self) -> Work:
        try:
            yield from self.desk.load()
            openings = tuple(Opening(product, LANE) for product in self.products)
            openings = tuple(opening_for(self.world.mistake, each, self.desk.state) for each in openings)
            yield from self.desk.try_commit(Proposal(openings=openings))
        except StoreUnavailableError as error:
            # As in production: a run that can't open its products ends, and is started again.
            self.world.faults.seen["could not open"] += 1
            raise Killed("open") from error
        self._obey()

    def _obey(self) -> None:
        self.lane.obey(self.desk.state.predicates.keys(), self.desk.state.version)

    def _take_sealed(self) -> tuple[Sealed, ...]:
        """What may be committed, as `LaneRun.take_sealed`."""
        try:
            sure = self._recheck()
        except StopError as error:
            self._stop(error)
            self.lane.take_sealed()
            return ()
        if not sure and self.error is None:
            return ()
        if not sure:
            self.lane.revoke(self._reading())
            self.lane.take_sealed()
            return ()
        return self.lane.take_sealed()

    def _commit(self) -> Work:
        sealed = self._take_sealed()
        self._reached(Step.SEALED)
        self._before_commit(sealed)
        starts, self._unproposed = tuple(self._unproposed), []
        if sealed or starts:
            proposal = Proposal(sealed=sealed, starts=starts, replayed=self._replayed())
            done = yield from self.desk.commit(proposal)
            self._reached(Step.COMMITTED)
            self._obey()
            commit_heard(self.lane)
            self._settle(done)
            self._after_commit(sealed)
        self._commit_due_s = self.world.now_s + self.world.commit_s
        self.crew.act()

    def _before_commit(self, sealed: Sequence[Sealed]) -> None:
        """What somebody who swaps the steps would do first."""

    def _after_commit(self, sealed: Sequence[Sealed]) -> None:
        """The lake has it: whoever else should know may be told."""

    def _settle(self, done: Committed) -> None:
        for part in done.parts:
            product = part.sealed.product
            if part.reason is Reason.PRODUCT_CLOSED:
                self.lane.settled(product, part.sealed.covers)
                if self.error is None:
                    self._stop(ProductSupersededError(f"{product}: a higher revision has closed it"))
                continue
            self.lane.settled(product, part.settled)
            if self.world.mistake is not Mistake.REFUSED_NOT_REDONE:
                self.lane.redo(product, part.unsettled)
            if part.reason is Reason.BASE_TOO_OLD:
                self.world.faults.seen["sealed again after vacuum"] += 1
