"""One modality's flow, as a state machine: events in, actions out. Ray and the simulator drive the same code.

    admit -> ready -> Prepare -> pieces -> Tokenize -> parcels -> Pack -> Seal -> Sealed -> settled
             leases              blocks, one a view    token batches              committed elsewhere

Nothing is sent without room downstream: a slot on a worker, bytes for what the call will give, and a place among the
uncommitted messages. Bytes come back when the memory is released: a block's when the last product has read it, a
token batch's when its rows are in the packer's spool.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from operators.errors import WorkerKilledError
from operators.records import Failure, MediaReference, VoidReason
from pipeline.flow.blame import Blame
from pipeline.flow.calls import (
    Abandoned,
    Action,
    Block,
    CallFailure,
    Forget,
    Item,
    Lease,
    Pack,
    Prepare,
    PreparedItem,
    Seal,
    Tokenize,
)
from pipeline.flow.core import Core, LaneSettings, placeholder
from pipeline.flow.credits import Valve
from pipeline.flow.failures import Excess, Judgement
from pipeline.flow.ledger import DirectKey, DirectOutcomes, Entry
from pipeline.flow.outages import Outage
from pipeline.flow.pack_stage import PackStage
from pipeline.flow.prepare_stage import PrepareStage
from pipeline.flow.takedown import is_taken_down
from pipeline.flow.tokenize_stage import TokenizeStage
from pipeline.records import Message, PackReport, Predicate, Sealed, SealKind, SourcePartition, Span, Wanted


class Lane:
    """See the module.

    Args:
        name: of the lane.
        views: by product key, the view that its tokenizer reads.
        packers: their names.
        settings: limits.
        rng: for jitter.
        wall_ms: the wall clock, for letters.
        kind: what a commit does with what it gives.
    """

    def __init__(
        self,
        name: str,
        views: Mapping[str, str],
        packers: Sequence[str],
        settings: LaneSettings,
        rng: random.Random,
        wall_ms: Callable[[], int],
        kind: SealKind = SealKind.LIVE,
    ) -> None:
        self.name = name
        self.views = dict(views)
        self._kind = kind
        self._predicates: frozenset[Predicate] = frozenset()
        if kind is SealKind.REPLAY:
            # What is replayed is a letter already: should all of them fail again, no topic is drained by that.
            settings = replace(settings, failures=replace(settings.failures, most_share=1.0))
        self.core = Core(packers, settings, wall_ms)
        self.pack = PackStage(self.core, packers)
        self.tokenize = TokenizeStage(self.core, self.pack, self.views)
        self.prepare = PrepareStage(self.core, self.tokenize, self.pack, self.views, rng)
        self.direct = DirectOutcomes()
        self.draining = False
        self._ready_valve = Valve(low=settings.most_ready // 4, high=settings.most_ready)
        self._full_valve = Valve(low=settings.most_uncommitted * 3 // 4, high=settings.most_uncommitted)

    # --- what the lake says ---

    def obey(self, predicates: Collection[Predicate], version: int) -> None:
        """From the next message on, what these take down is void; `version` of the lake's log has no others."""
        self._predicates = frozenset(predicates)
        self.core.ledger.obeys = version

    # --- events from the source ---

    def admit(
        self,
        message: Message,
        items: Sequence[Item],
        products: Iterable[str],
        now_s: float,
        wanted: Wanted | None = None,
    ) -> None:
        """A message has come; `products` are those that owe it an outcome, `wanted` says of which items where those are
        not all. One that is in flight already is ignored.
        """
        self.core.now_s = now_s
        products = [key for key in products if key in self.views]
        if not products or self.core.ledger.holds(message.log, message.origin.offset):
            return
        if self._predicates:
            items = [self._judged(item) for item in items]
        asked = items if wanted is None else [items[number] for key in products for number in wanted[key]]
        if any(isinstance(item, MediaReference) for item in asked):
            entry = self.core.ledger.admit(message, items, products, now_s, wanted)
            self._lease(entry)
        else:
            self._settle_directly(message, items, products, wanted or {})

    def hole(self, log: SourcePartition, start: int, end: int, products: Iterable[str]) -> None:
        """Offsets [start, end) hold no message and never will."""
        for key in products:
            self.direct.void(key, log, start, end, VoidReason.HOLE)

    def revoke(self, logs: Iterable[SourcePartition]) -> None:
        """These logs are someone else's now: what is in flight of them is dropped, uncommitted."""
        gone = frozenset(logs)
        self.core.ledger.forget(gone)
        self.direct.forget(gone)
        self.pack.forget(gone)

    # --- events from the actors ---

    def worker_ready(
        self, worker: str, stages: Iterable[str], node: str = "", window_tokens_bytes: Mapping[str, int] | None = None
    ) -> None:
        """A worker has warmed up, on this node; there it saw how large a blank window's tokens are, by product."""
        self.core.workers.add(worker, stages, node)
        for product, window_bytes in (window_tokens_bytes or {}).items():
            self.tokenize.expect(product, window_bytes)

    def prepared(self, call: int, items: Sequence[PreparedItem], blocks: Mapping[str, Block], now_s: float) -> None:
        """A Prepare has been answered: one `PreparedItem` a lease, in order, and a block a view."""
        self.core.now_s = now_s
        action = self.core.end(call)
        assert isinstance(action, Prepare)
        self.prepare.prepared(action, items, blocks, now_s)

    def tokenized(self, call: int, tokens: Block) -> None:
        """A Tokenize has been answered."""
        action = self.core.end(call)
        assert isinstance(action, Tokenize)
        self.tokenize.tokenized(action, tokens)

    def packed(self, call: int, report: PackReport) -> None:
        """A Pack, a Seal or a Forget has been answered."""
        action = self.core.end(call)
        assert isinstance(action, Pack | Seal | Forget)
        self.pack.packed(action, report)

    def failed(self, call: int, how: CallFailure, failure: Failure) -> Blame:
        """A Prepare or a Tokenize came to nothing. Returns who is blamed."""
        action = self.core.end(call)
        guilty = WorkerKilledError(f"alone in its batch, it took its workers down: {failure.message}").failure()
        match action:
            case Prepare():
                return self.prepare.failed(action, how, failure, guilty)
            case Tokenize():
                blame, anew = self.tokenize.failed(action, how, failure, guilty)
                self.prepare.anew(anew)
                return blame
            case _:
                raise TypeError(f"{action} fails with its packer: see packer_lost")

    def packer_lost(self, packer: str) -> None:
        """A packer is gone with its spool; what it had not sealed is tried anew, and its successor has its name."""
        for call, (action, _) in list(self.core.calls.items()):
            if isinstance(action, Pack | Seal | Forget) and action.packer == packer:
                self.core.end(call)
        self.pack.lost(packer)
        for entry in self.core.ledger.bound_to(packer):
            self._lease(entry)

    def settled(self, product: str, spans: Iterable[Span]) -> int:
        """The lake has these messages, whoever brought them. Returns how many owe nothing any more."""
        return self.core.ledger.settle(product, spans)

    def redo(self, product: str, spans: Iterable[Span]) -> None:
        """The lake did not take what was sealed of these messages, though the product is open: make it again.

        Packers know them as taken, so they forget these logs; what they held of them beside is made again too.
        """
        again = self.core.ledger.owe_again(product, spans)
        logs = frozenset(entry.log for entry in again)
        self.pack.forget(logs)
        for entry in [entry for entry in self.core.ledger if entry.log in logs and entry.owed]:
            self._lease(entry)

    # --- what to do now ---

    def actions(self, now_s: float) -> list[Action]:
        """Everything that can be sent now; downstream first, since that makes room."""
        self.core.now_s = now_s
        self._judge_letters(now_s)
        if self.draining:
            self._drop_parked()
        starved = self._full_valve.closed and not self.works
        self.core.short_waits = self.prepare.ready.fresh > 0 or self.tokenize.holds_short
        return [
            *self.pack.actions(now_s, starved=starved, draining=self.draining and not self.works),
            *self.tokenize.actions(now_s, self.prepare.upstream),
            *self.prepare.actions(now_s),
        ]

    def take_sealed(self) -> tuple[Sealed, ...]:
        """What is ready to be committed; each stands in exactly one answer."""
        sealed = (*self.pack.take_sealed(), *self.direct.take())
        return sealed if self._kind is SealKind.LIVE else tuple(replace(part, kind=self._kind) for part in sealed)

    def take_abandoned(self) -> tuple[Abandoned, ...]:
        """Files that workers should close, since nobody will go on with them."""
        return self.prepare.take_abandoned()

    def holds_back(self) -> bool:
        """Whether the source should be paused now; the answer has hysteresis, so ask once a round."""
        ready = self._ready_valve.update(len(self.prepare.ready) + self.prepare.ready.delayed)
        full = self._full_valve.update(len(self.core.ledger) + self.direct.lettered)
        return ready or full or self.draining

    @property
    def works(self) -> bool:
        """Whether leases, windows or tokens are on their way to the packers. Held letters are not."""
        return bool(
            len(self.prepare.ready)
            or self.prepare.ready.delayed
            or self.prepare.ready.parked
            or self.tokenize.queued
            or self.pack.queued
            or any(isinstance(action, Prepare | Tokenize) for action, _ in self.core.calls.values())
        )

    @property
    def quiet(self) -> bool:
        """Whether nothing is in flight: every admitted message has been committed."""
        idle = not (len(self.core.ledger) or self.pack.holds_sealed or self.direct or self.core.calls)
        return idle and not self.works

    @property
    def holds_sealed(self) -> bool:
        """Whether `take_sealed` would give something."""
        return self.pack.holds_sealed or self.direct.ready

    @property
    def excess(self) -> Excess | None:
        """Why the lane must stop: too many of its items ended as letters, all of which are held back for good."""
        return self.core.failures.excess

    @property
    def outages(self) -> Mapping[str, Outage]:
        """Places that are down."""
        return self.prepare.outages.down

    @property
    def waits_for_outage(self) -> bool:
        """Whether there is nothing to do but to wait for places that are down, and to probe them."""
        ready, outages = self.prepare.ready, self.prepare.outages
        if not ready.parked or len(ready) or self.tokenize.queued or self.pack.queued:
            return False
        calls = [action for action, _ in self.core.calls.values() if isinstance(action, Prepare | Tokenize)]
        return all(
            isinstance(action, Prepare) and all(outages.waits_for(lease.reference.uri) for lease in action.leases)
            for action in calls
        )

    def abandon_queued(self) -> int:
        """For a quick end: drop messages that no worker has begun; they will be read again. Returns how many."""
        queued: dict[int, tuple[Entry, list[Lease]]] = {}
        self.prepare.ready.wake(math.inf)
        batch = self.core.settings.prepare_batch
        while leases := self.prepare.ready.take(batch) or self.prepare.ready.take_ranges(batch):
            for lease in leases:
                entry = self.core.ledger.entry(lease.reference.origin)
                assert entry is not None
                queued.setdefault(id(entry), (entry, []))[1].append(lease)
        dropped = self._drop_parked()
        for entry, leases in queued.values():
            references = (number for number, item in enumerate(entry.items) if isinstance(item, MediaReference))
            leased = sum(bool(entry.takers(number)) for number in references)
            if len(leases) == leased and all(lease.cursor is None for lease in leases):
                self.core.ledger.drop(entry)
                dropped += 1
            else:
                for lease in leases:
                    self.prepare.ready.add(lease)
        return dropped

    def _judged(self, item: Item) -> Item:
        if isinstance(item, MediaReference) and is_taken_down(item, self._predicates):
            return VoidReason.TAKEN_DOWN
        return item

    def _drop_parked(self) -> int:
        """For an end: messages that wait for places that are down will be read again. Returns how many."""
        waiting = (self.core.ledger.current(lease) for lease in self.prepare.ready.take_parked())
        entries = {id(entry): entry for entry in waiting if entry is not None}
        for entry in entries.values():
            self.core.ledger.drop(entry)
        return len(entries)

    def _judge_letters(self, now_s: float) -> None:
        """Let held letters go their way, or, where there are too many, hold them back for good."""
        judgement, letters = self.core.failures.judge(now_s, ending=self.draining and not self.works)
        stopped = judgement is Judgement.STOPPED
        for letter in letters:
            if isinstance(letter, DirectKey):
                (self.direct.withhold if stopped else self.direct.release)(letter)
            elif stopped:
                self.pack.withhold(letter)
            elif not self.prepare.reconsider(letter, now_s):
                self.pack.release(letter)

    def _lease(self, entry: Entry) -> None:
        for number, item in enumerate(entry.items):
            takers = entry.takers(number) & self.views.keys()
            if not takers:
                continue
            attempt = self.core.ledger.next_attempt(entry, number)
            if isinstance(item, MediaReference):
                self.prepare.ready.add(Lease(attempt, item))
            else:
                self.pack.end(entry, placeholder(entry, number), item, takers)

    def _settle_directly(
        self, message: Message, items: Sequence[Item], products: Iterable[str], wanted: Wanted
    ) -> None:
        failures, origin = self.core.failures, message.origin
        for product in products:
            key = DirectKey(product, message.log, origin.offset)
            if self.direct.holds(key):
                continue
            tried = wanted.get(product, dict.fromkeys(range(len(items)), 0))
            letters = [
                self.core.letter(message, product, number, "", item, attempts=before + 1)
                for number, before in tried.items()
                if isinstance(item := items[number], Failure)
            ]
            voids = (item for number in tried if isinstance(item := items[number], VoidReason))
            self.direct.message(key, letters, voids)
            for letter in letters:
                where = f"{message.topic}/{origin.partition}/{origin.offset}"
                failures.letter(product, letter.failure.code, where, key, self.core.now_s)
