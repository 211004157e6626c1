"""The last stage: outcomes go to the packer that their message is bound to; packers are told when to seal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from operators.records import ContentFacts, EmptyReason, Failure, MediaReference, VoidReason
from pipeline.flow.calls import Action, Block, Forget, Pack, PieceItem, Seal
from pipeline.flow.core import Core, release
from pipeline.flow.ledger import Entry
from pipeline.flow.packline import PackLine, Parcel
from pipeline.flow.waits import WaitReason
from pipeline.records import Delivery, Empty, Letter, PackReport, Sealed, SourcePartition

PACK = "pack"


class PackStage:
    """Queues towards the packers, and what they have sealed."""

    def __init__(self, core: Core, packers: Sequence[str]) -> None:
        self._core = core
        self.lines = {packer: PackLine(packer) for packer in packers}
        self._sealed: list[Sealed] = []

    @property
    def queued(self) -> int:
        """Parcels that have not been sent."""
        return sum(map(len, self.lines.values()))

    @property
    def spooled_bytes(self) -> int:
        """What the packers hold on disk."""
        return sum(line.spooled_bytes for line in self.lines.values())

    @property
    def holds_rows(self) -> bool:
        """Whether a packer has messages that it has not sealed, or something waits to be committed."""
        return self.holds_sealed or any(line.holds_rows for line in self.lines.values())

    @property
    def holds_sealed(self) -> bool:
        """Whether something waits to be committed."""
        return bool(self._sealed)

    def deliver(self, product: str, item: PieceItem, tokens: Block | None = None, row: int = 0) -> None:
        """An item's windows have their tokens: rows `row...` of `tokens`; None for a last segment without any."""
        lease = item.lease
        entry = self._core.ledger.current(lease)
        if entry is None:
            return
        delivery = Delivery(
            product=product,
            items=entry.count(product),
            attempt=lease.attempt,
            reference=lease.reference,
            facts=item.facts,
            windows=item.rows.windows,
            row=row,
            last=item.total >= 0,
            total=item.total,
        )
        if tokens is not None:
            tokens.readers += 1
        if delivery.last:
            self._core.failures.fine(product, self._core.now_s)
        self.lines[entry.packer].add(Parcel(delivery, tokens))

    def end(
        self,
        entry: Entry,
        reference: MediaReference,
        outcome: Failure | EmptyReason | VoidReason,
        products: Collection[str],
        facts: ContentFacts | None = None,
        attempts: int = 1,
        *,
        counts: bool = True,
    ) -> None:
        """An item ends without rows in these products. Its letters are held, and count as failures if they `count`."""
        item = reference.origin.item
        for product in products:
            match outcome:
                case Failure():
                    tries = attempts + entry.tries_before(product, item)
                    ended = self._core.letter(entry.message, product, item, reference.uri, outcome, tries)
                case EmptyReason():
                    ended = Empty(product, reference.origin, reference.uri, outcome)
                case VoidReason():
                    ended = outcome
            delivery = Delivery(
                product=product,
                items=entry.count(product),
                attempt=entry.attempts[item],
                reference=reference,
                facts=facts,
                ended=ended,
            )
            parcel, failures, now_s = Parcel(delivery, None), self._core.failures, self._core.now_s
            if isinstance(ended, Letter):
                failures.letter(product, ended.failure.code, reference.uri, parcel, now_s, counts=counts)
                continue
            if isinstance(ended, Empty):
                failures.fine(product, now_s)
            self.lines[entry.packer].add(parcel)

    def release(self, parcel: Parcel) -> None:
        """A letter has been held for long enough."""
        delivery = parcel.delivery
        entry = self._core.ledger.entry(delivery.reference.origin)
        if entry is not None and self._wanted(delivery):
            self.lines[entry.packer].add(parcel)

    def withhold(self, parcel: Parcel) -> None:
        """A letter will not be committed, and its message neither: that will be read again."""
        delivery = parcel.delivery
        entry = self._core.ledger.entry(delivery.reference.origin)
        if entry is not None and self._wanted(delivery):
            self._core.ledger.drop(entry)

    def forget(self, logs: frozenset[SourcePartition]) -> None:
        """These logs are someone else's now."""
        for line in self.lines.values():
            line.forget(logs)

    def actions(self, now_s: float, *, starved: bool, draining: bool) -> Iterator[Action]:
        """Calls that can be sent now, one a packer."""
        starved = starved or self.spooled_bytes >= self._core.settings.spool_bytes
        for line in self.lines.values():
            if logs := line.take_forget():
                yield self._core.begin(Forget(self._core.next_call(), line.packer, logs))
                continue
            # Seals before parcels: a line that never runs empty must keep its age too, and a full spool needs the room.
            age_s = self._core.settings.seal_age_s
            if reason := line.seal_reason(now_s, most_age_s=age_s, starved=starved, draining=draining):
                line.begin_seal(now_s)
                yield self._core.begin(Seal(self._core.next_call(), line.packer, reason))
                continue
            deliveries, blocks, stale = line.take(self._wanted, now_s)
            self._release(stale)
            if deliveries:
                handles = tuple(block.handle for block in blocks)
                yield self._core.begin(Pack(self._core.next_call(), line.packer, deliveries, handles))
        self._core.waits[PACK] = WaitReason.PACKER_FULL if self.queued else WaitReason.NO_INPUT

    def packed(self, action: Pack | Seal | Forget, report: PackReport) -> None:
        """A packer has answered."""
        line = self.lines[action.packer]
        self._release(line.answered(report))
        former = line.to_forget | (action.logs if isinstance(action, Forget) else frozenset[SourcePartition]())
        for sealed in report.sealed:
            obeys = self._core.ledger.sealed(sealed)
            # Of a log that was lost and won back, this is of the time before: what obeys takedowns now came after it.
            before = any(span.log in former for span in sealed.covers)
            self._sealed.append(replace(sealed, obeys=0 if before else obeys))

    def lost(self, packer: str) -> None:
        """The packer is gone with its spool."""
        self._release(self.lines[packer].lost())

    def take_sealed(self) -> tuple[Sealed, ...]:
        """What is ready to be committed; each stands in exactly one answer."""
        sealed, self._sealed = tuple(self._sealed), []
        return sealed

    def _wanted(self, delivery: Delivery) -> bool:
        return self._core.ledger.counts(delivery.reference.origin, delivery.attempt)

    def _release(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            release(block, self._core.tokens)
