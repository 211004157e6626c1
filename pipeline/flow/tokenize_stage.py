"""The middle stage: pieces of many references become batches, one product at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from operators.records import Failure
from pipeline.flow.batching import Batch, Batcher, Upstream
from pipeline.flow.blame import Blame, halves, judge
from pipeline.flow.calls import Action, Block, CallFailure, Lease, Piece, PieceItem, Tokenize
from pipeline.flow.core import Core, release
from pipeline.flow.pack_stage import PackStage
from pipeline.flow.waits import WaitReason

Member = tuple[Block, PieceItem]

BATCHES_AHEAD = 2
"""That wait for each worker: enough that it never waits, few enough that what comes new need not wait for long."""


class TokenizeStage:
    """Batches and calls of a lane's products; each product's key is a stage of its own.

    Args:
        views: by product key, the view that its tokenizer reads.
    """

    def __init__(self, core: Core, pack: PackStage, views: Mapping[str, str]) -> None:
        self._core = core
        self._pack = pack
        settings = core.settings
        self.batchers = {
            key: Batcher(settings.tokenize_windows, settings.batch_wait_s, by_length=key in settings.padded)
            for key in views
        }
        self._window_tokens_bytes: dict[str, int] = {}

    @property
    def queued(self) -> int:
        """Pieces that have not been sent."""
        return sum(map(len, self.batchers.values()))

    @property
    def queued_windows(self) -> int:
        """Windows that have not been sent, for each product anew."""
        return sum(batcher.windows for batcher in self.batchers.values())

    @property
    def queued_items(self) -> int:
        """Items (segments of long ones) that have not been sent, for each product anew."""
        return sum(batcher.items for batcher in self.batchers.values())

    @property
    def queued_batches(self) -> int:
        """About how many calls these will be."""
        return sum(batcher.batches for batcher in self.batchers.values())

    @property
    def is_behind(self) -> bool:
        """Whether, of some product, more batches wait than its workers will take next."""
        workers = self._core.workers
        return any(
            batcher.batches >= BATCHES_AHEAD * max(1, workers.ready(product))
            for product, batcher in self.batchers.items()
        )

    def expect(self, product: str, window_bytes: int) -> None:
        """About what tokens of one window take, until a call has shown it."""
        self._window_tokens_bytes.setdefault(product, window_bytes)

    def add(self, product: str, block: Block, items: Sequence[PieceItem], now_s: float) -> None:
        """Rows of a block for one product."""
        block.readers += self.batchers[product].add(Piece(block, tuple(items)), now_s)

    def actions(self, now_s: float, upstream: Upstream) -> Iterator[Action]:
        """Calls that can be sent now."""
        for product, batcher in self.batchers.items():
            while True:
                if not len(batcher):
                    self._core.waits[product] = WaitReason.NO_INPUT
                    break
                batch, worker = self._next(product, batcher, now_s, upstream)
                if worker is None:
                    self._core.waits[product] = self._core.stage_wait(product)
                    break
                if batch is None:
                    self._core.waits[product] = WaitReason.BATCH_FILLING
                    break
                if not self._core.tokens.admits(self._window_tokens_bytes.get(product, 0) * batch.windows):
                    self._core.waits[product] = WaitReason.NO_BYTES
                    break
                batcher.take(batch)
                pieces = tuple(piece for piece in batch.pieces if self._wanted(piece))
                if pieces:
                    windows = sum(piece.size for piece in pieces)
                    action = Tokenize(self._core.next_call(), worker, product, pieces)
                    yield self._core.begin(action, self._window_tokens_bytes.get(product, 0) * windows)

    def _next(
        self, product: str, batcher: Batcher, now_s: float, upstream: Upstream
    ) -> tuple[Batch | None, str | None]:
        """The next batch and its worker; where no worker may take what is long now, what is short goes first."""
        pick = self._core.workers.pick
        batch = batcher.peek(now_s, upstream)
        if batch is None or not batch.is_long:
            return batch, pick(product, near="" if batch is None else batch.node)
        worker = pick(product, self._core.may_tokenize_long, near=batch.node)
        if worker is not None or not batcher.holds_short:
            return batch, worker
        batch = batcher.peek(now_s, upstream, short=True)
        return batch, pick(product, near="" if batch is None else batch.node)

    @property
    def holds_short(self) -> bool:
        """Whether windows of short items wait."""
        return any(batcher.holds_short for batcher in self.batchers.values())

    def tokenized(self, action: Tokenize, tokens: Block) -> None:
        """One batch has come, its rows in the order of the call's pieces."""
        base = 0
        for piece in action.pieces:
            for item in piece.items:
                self._pack.deliver(action.product, item, tokens, base + item.rows.first - piece.start)
            base += piece.size
            release(piece.block, self._core.windows)
        self._window_tokens_bytes[action.product] = -(-tokens.size_bytes // base)
        if tokens.readers:
            self._core.tokens.take(tokens.size_bytes)

    def failed(
        self, action: Tokenize, how: CallFailure, failure: Failure, guilty: Failure
    ) -> tuple[Blame, list[Lease]]:
        """The call came to nothing. Returns who is blamed, and leases to prepare anew (their windows are lost)."""
        members = [(piece.block, item) for piece in action.pieces for item in piece.items]
        blame = judge(len(members), members[0][1].lease.deaths, how)
        anew: list[Lease] = []
        if how is CallFailure.VALUE_LOST:
            anew = [item.lease for _, item in members]
        else:
            match blame:
                case Blame.NOBODY:
                    self._apart(action.product, members)
                case Blame.HALVED:
                    for half in halves(members):
                        self._apart(action.product, half)
                case Blame.ALONE_AGAIN:
                    self._apart(action.product, [_with_death(members[0])])
                case Blame.GUILTY:
                    self._condemn(action.product, members[0][1], failure if how is CallFailure.RAISED else guilty)
        for piece in action.pieces:
            release(piece.block, self._core.windows)
        return blame, anew

    def _apart(self, product: str, members: Sequence[Member]) -> None:
        """A batch of its own; takes its readers before the failed call gives its own back."""
        groups: list[tuple[Block, list[PieceItem]]] = []
        for block, item in members:
            if not groups or groups[-1][0] is not block:
                groups.append((block, []))
            groups[-1][1].append(item)
        for block, _ in groups:
            block.readers += 1
        self.batchers[product].add_apart(tuple(Piece(block, tuple(items)) for block, items in groups))

    def _condemn(self, product: str, item: PieceItem, failure: Failure) -> None:
        entry = self._core.ledger.current(item.lease)
        if entry is not None:
            attempts = item.lease.tries + item.lease.deaths + 1
            self._pack.end(entry, item.lease.reference, failure, [product], item.facts, attempts)

    def _wanted(self, piece: Piece) -> bool:
        """Whether any of its items still counts; if none does, its block is released here."""
        wanted = any(self._core.ledger.is_current(item.lease) for item in piece.items)
        if not wanted:
            release(piece.block, self._core.windows)
        return wanted


def _with_death(member: Member) -> Member:
    block, item = member
    return block, replace(item, lease=replace(item.lease, deaths=item.lease.deaths + 1))
