"""The first stage: leases go to fetch, decode and cut; what they give becomes pieces for the tokenizers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from operators.errors import ContentChangedError, FetchFailedError, StoreUnavailableError
from operators.records import ContentFacts, EmptyReason, Failure, VoidReason
from pipeline.flow.batching import Upstream
from pipeline.flow.blame import Blame, halves, judge
from pipeline.flow.calls import Abandoned, Action, Block, CallFailure, Lease, PieceItem, Prepare, PreparedItem
from pipeline.flow.core import PREPARE, Core
from pipeline.flow.lease import LeaseQueue
from pipeline.flow.ledger import Entry, Progress
from pipeline.flow.outages import AfterFailure, Outages
from pipeline.flow.pack_stage import PackStage
from pipeline.flow.packline import Parcel
from pipeline.flow.tokenize_stage import TokenizeStage
from pipeline.flow.waits import WaitReason
from pipeline.records import Letter

MOST_OPEN = 4
"""A worker with so many ranges open begins nothing else."""


class PrepareStage:
    """Leases that wait, and the calls they become.

    What was begun goes first, but one call at a time of each worker, and only as far as the tokenizers keep up: a clip
    of ten seconds waits for a segment, not for all that a recording of ten hours could fill the lane's memory with.

    Args:
        views: by product key, the view that its tokenizer reads.
    """

    def __init__(
        self, core: Core, tokenize: TokenizeStage, pack: PackStage, views: Mapping[str, str], rng: random.Random
    ) -> None:
        self._core = core
        self._tokenize = tokenize
        self._pack = pack
        self._views = views
        settings = core.settings
        failures = settings.failures
        self.outages = Outages(failures.window_s, failures.outage_most_s, settings.most_tries, rng)
        self.ready = LeaseQueue(core.ledger.is_current, rng, self.outages)
        self._begun: Counter[str] = Counter()
        self._abandoned: list[Abandoned] = []

    @property
    def upstream(self) -> Upstream:
        """What may give pieces soon."""
        ready, preparing = self.ready, self._core.preparing
        return Upstream(
            fresh=ready.fresh > 0 or preparing[False] > 0, begun=len(ready) > ready.fresh or preparing[True] > 0
        )

    def actions(self, now_s: float) -> Iterator[Action]:
        """Calls that can be sent now; what was begun goes first."""
        core, settings = self._core, self._core.settings
        self.ready.wake(now_s)
        self.ready.unpark(now_s, settings.prepare_batch)
        self._abandoned += [
            Abandoned(worker, lease.facts, lease.cursor)
            for worker, lease in self.ready.take_abandoned()
            if lease.facts is not None
        ]
        yield from self._further_segments()
        yield from self._further_ranges()
        while True:
            if not self.ready.fresh:
                core.waits[PREPARE] = self._begun_wait() if len(self.ready) else self._held_back_wait()
                return
            worker = core.workers.pick(PREPARE, self._may_begin)
            if worker is None:
                core.waits[PREPARE] = core.stage_wait(PREPARE)
                return
            if not core.windows.admits(settings.lease_bytes):
                core.waits[PREPARE] = WaitReason.NO_BYTES
                return
            # Few leases are spread over the free slots rather than given to the first worker.
            share = -(-self.ready.fresh // core.workers.free_slots(PREPARE))
            leases = self.ready.take(min(self._room(), share))
            if leases:
                yield self._call(worker, leases)

    def take_abandoned(self) -> tuple[Abandoned, ...]:
        """Files that workers should close; each stands in exactly one answer."""
        abandoned, self._abandoned = tuple(self._abandoned), []
        return abandoned

    def _further_segments(self) -> Iterator[Action]:
        for worker in self.ready.bound_workers:
            if not self._core.workers.serves(worker, PREPARE):
                self.ready.unbind(worker)
                continue
            if self._core.workers.has_slot(worker) and self._core.may_prepare_long(worker) and self._keeps_up():
                leases = self.ready.take_bound(worker, self._room())
                if leases:
                    yield self._call(worker, leases)

    def _further_ranges(self) -> Iterator[Action]:
        while self.ready.ranges and self._keeps_up():
            worker = self._core.workers.pick(PREPARE, self._core.may_prepare_long)
            if worker is None:
                return
            leases = self.ready.take_ranges(self._room())
            if leases:
                yield self._call(worker, leases)

    def _admits(self) -> bool:
        return self._core.windows.admits(self._core.settings.lease_bytes)

    def _keeps_up(self) -> bool:
        """Whether there is use and room for the windows of what was begun."""
        return self._admits() and not self._tokenize.is_behind

    def _may_begin(self, worker: str) -> bool:
        if self._core.expects_short(worker) and (self.ready.bound(worker) or self.ready.ranges):
            return False  # what is long waits for these, hence not for the next too
        return self._begun[worker] + self.ready.bound(worker) < MOST_OPEN

    def _begun_wait(self) -> WaitReason:
        """Why what was begun waits: there is no room for its windows, or no worker is free."""
        return self._core.stage_wait(PREPARE) if self._admits() else WaitReason.NO_BYTES

    def _held_back_wait(self) -> WaitReason:
        """Why there is nothing that could go."""
        if self.ready.parked:
            return WaitReason.OUTAGE
        return WaitReason.BACKING_OFF if self.ready.delayed else WaitReason.NO_INPUT

    def _room(self) -> int:
        """Leases that the next call may have: no more than its windows have bytes for."""
        windows, settings = self._core.windows, self._core.settings
        room = (windows.limit_bytes - windows.used_bytes) // settings.lease_bytes
        return max(1, min(settings.prepare_batch, room))

    def _call(self, worker: str, leases: tuple[Lease, ...]) -> Action:
        estimate = self._core.settings.lease_bytes * len(leases)
        self._begun[worker] += _begun(leases)
        return self._core.begin(Prepare(self._core.next_call(), worker, leases), estimate)

    def prepared(
        self, action: Prepare, items: Sequence[PreparedItem], blocks: Mapping[str, Block], now_s: float
    ) -> None:
        """One `PreparedItem` a lease has come, in order, and a block a view."""
        self._done(action)
        pieces: dict[str, list[PieceItem]] = {}
        for lease, item in zip(action.leases, items, strict=True):
            entry = self._core.ledger.current(lease)
            if not item.transient and lease.cursor is None and lease.reference.inline is None:
                self.outages.worked(lease.reference.uri, lease.reference.origin, now_s)
            self._note_abandoned(action.worker, lease, item, wanted=entry is not None)
            if entry is None:
                continue
            if item.ended is not None:
                self._ended(entry, lease, item, now_s)
                continue
            alone = lease.cursor is None and item.cursor is None and not item.forks
            progress = None if alone else self._progress(entry, lease, item, action.worker)
            for key in entry.takers(lease.reference.origin.item) & self._views.keys():
                view = self._views[key]
                rows = item.rows[view]
                total = len(rows.windows) if progress is None else -1 if progress.ranges else progress.windows[view]
                piece = PieceItem(lease, item.facts, rows, total)
                if piece.rows.windows:
                    pieces.setdefault(key, []).append(piece)
                elif total == 0:
                    self._pack.end(entry, lease.reference, EmptyReason.NO_TOKENS, [key], item.facts)
                elif total > 0:
                    self._pack.deliver(key, piece)
        for key, members in pieces.items():
            self._tokenize.add(key, blocks[self._views[key]], members, now_s)
        for block in blocks.values():
            if block.readers:
                self._core.windows.take(block.size_bytes)

    def _note_abandoned(self, worker: str, lease: Lease, item: PreparedItem, *, wanted: bool) -> None:
        """A failed segment is tried wherever it may be; what nobody wants, nobody goes on with."""
        open_at = lease.cursor if item.ended is not None else item.cursor
        facts = item.facts or lease.facts
        if open_at is not None and facts is not None and (item.ended is not None or not wanted):
            self._abandoned.append(Abandoned(worker, facts, open_at))

    def _progress(self, entry: Entry, lease: Lease, item: PreparedItem, worker: str) -> Progress:
        """Note a segment, and lease what follows from it."""
        progress = entry.begun(lease.reference.origin.item)
        windows = {view: len(rows.windows) for view, rows in item.rows.items()}
        progress.add(windows, forks=len(item.forks), finished=item.cursor is None)
        if item.cursor is not None:
            # Whatever took a worker down before, it was not this segment.
            self.ready.go_on(replace(lease, cursor=item.cursor, facts=item.facts, deaths=0), worker)
        self.ready.fork([replace(lease, cursor=cursor, facts=item.facts) for cursor in item.forks])
        return progress

    def failed(self, action: Prepare, how: CallFailure, failure: Failure, guilty: Failure) -> Blame:
        """The call came to nothing. Returns who is blamed."""
        self._done(action)
        leases = action.leases
        blame = judge(len(leases), leases[0].deaths, how)
        match blame:
            case Blame.NOBODY:
                self.again(leases, deaths=leases[0].deaths if len(leases) == 1 else 0)
            case Blame.HALVED:
                for half in halves(leases):
                    self.again(half)
            case Blame.ALONE_AGAIN:
                self.again(leases, deaths=leases[0].deaths + 1)
            case Blame.GUILTY:
                entry = self._core.ledger.current(leases[0])
                if entry is not None:
                    outcome = failure if how is CallFailure.RAISED else guilty
                    self._end(entry, leases[0], outcome)
        return blame

    def again(self, leases: Sequence[Lease], deaths: int = 0) -> None:
        """Run these segments again, apart from all else: nobody has anything of what they were to give."""
        self.ready.add_apart([replace(lease, deaths=deaths) for lease in leases if self._core.ledger.is_current(lease)])

    def anew(self, leases: Sequence[Lease]) -> None:
        """Something of what these gave is lost: run their items from the start, under new attempts."""
        renewed: list[Lease] = []
        for lease in leases:
            entry = self._core.ledger.current(lease)
            if entry is not None:
                renewed.append(self._core.renew(entry, lease, tries=lease.tries))
        self.ready.add_apart(renewed)

    def _done(self, action: Prepare) -> None:
        self._begun[action.worker] -= _begun(action.leases)
        if not self._begun[action.worker]:
            del self._begun[action.worker]

    def reconsider(self, letter: Parcel, now_s: float) -> bool:
        """Whether the outage that a letter is due to showed only after it was written; its item is tried again then."""
        delivery, settings = letter.delivery, self._core.settings.failures
        reference, ended = delivery.reference, delivery.ended
        if not isinstance(ended, Letter) or ended.failure.code != FetchFailedError.code:
            return False
        entry = self._core.ledger.entry(reference.origin)
        if entry is None or not self._core.ledger.counts(reference.origin, delivery.attempt):
            return False
        if not self.outages.was_down(reference.uri, now_s - settings.window_s):
            return False
        attempt = self._core.ledger.next_attempt(entry, reference.origin.item)
        self.ready.add(Lease(attempt, reference))
        return True

    def _ended(self, entry: Entry, lease: Lease, item: PreparedItem, now_s: float) -> None:
        assert item.ended is not None
        outcome = item.ended
        if item.transient and isinstance(outcome, Failure):
            after = self._after_failure(lease, outcome, now_s)
            if after is AfterFailure.HOLD:
                self.ready.park(self._retried(entry, lease, outcome, lease.tries))
                return
            if after is AfterFailure.RETRY:
                retried = self._retried(entry, lease, outcome, lease.tries + 1)
                self.ready.retry_later(retried, outcome.message, now_s)
                return
            outcome = replace(outcome, code=FetchFailedError.code, stage="fetch")
            self._end(entry, lease, outcome, item.facts, counts=after is not AfterFailure.GIVEN_UP)
            return
        self._end(entry, lease, outcome, item.facts)

    def _retried(self, entry: Entry, lease: Lease, failure: Failure, tries: int) -> Lease:
        """From the segment that failed, or, where its content is another one now, from the start."""
        if failure.code == ContentChangedError.code:
            return self._core.renew(entry, lease, tries=tries)
        return replace(lease, tries=tries)

    def _after_failure(self, lease: Lease, failure: Failure, now_s: float) -> AfterFailure:
        """What becomes of an item that failed in a way that may pass."""
        tries = lease.tries + 1
        if failure.code == StoreUnavailableError.code:
            reference = lease.reference
            return self.outages.failed(reference.uri, reference.origin, tries, failure.message, now_s)
        # Its worker's trouble (memory), not its place's.
        return AfterFailure.RETRY if tries < self._core.settings.most_tries else AfterFailure.LETTER

    def _end(
        self,
        entry: Entry,
        lease: Lease,
        outcome: Failure | EmptyReason | VoidReason,
        facts: ContentFacts | None = None,
        *,
        counts: bool = True,
    ) -> None:
        if lease.cursor is not None:
            # Rows of other segments are there or on their way: a higher attempt's ending takes their place.
            self._core.ledger.next_attempt(entry, lease.reference.origin.item)
        attempts = lease.tries + lease.deaths + 1
        takers = entry.takers(lease.reference.origin.item) & self._views.keys()
        self._pack.end(entry, lease.reference, outcome, takers, facts, attempts, counts=counts)


def _begun(leases: Sequence[Lease]) -> int:
    """How many of these go on with something."""
    return sum(lease.cursor is not None for lease in leases)
