"""What waits for one packer, and when that packer is told to close its shards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.flow.calls import Block, SealReason
from pipeline.records import Delivery, PackReport, SourcePartition

DELIVERIES_A_CALL = 256
RESEAL_S = 1.0
"""A packer that got nothing new since its last seal is asked again only after this long: what it holds may be
incomplete, or its upload may have failed."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery and the token batch that its rows lie in (None where it has no rows)."""

    delivery: Delivery
    tokens: Block | None


class PackLine:
    """One packer's queue. One call at a time: a packer is a single thread, and order keeps attempts simple."""

    def __init__(self, packer: str) -> None:
        self.packer = packer
        self._parcels: deque[Parcel] = deque()
        self._in_call: tuple[Parcel, ...] = ()
        self._busy = False
        self._to_forget: set[SourcePartition] = set()
        self._first_s: float | None = None
        self._has_news = False
        self._reseal_s = 0.0
        self.spooled_bytes = 0
        self.waiting_messages = 0

    def __len__(self) -> int:
        """Parcels that have not been sent."""
        return len(self._parcels)

    @property
    def busy(self) -> bool:
        """Whether a call is on its way."""
        return self._busy

    @property
    def holds_rows(self) -> bool:
        """Whether the packer has messages that it has not sealed."""
        return self.waiting_messages > 0

    def parcels(self) -> Iterator[Parcel]:
        """That have not been sent."""
        return iter(self._parcels)

    def add(self, parcel: Parcel) -> None:
        """At the end."""
        self._parcels.append(parcel)

    def forget(self, logs: frozenset[SourcePartition]) -> None:
        """Tell the packer, before anything else is sent, that these logs are someone else's."""
        self._to_forget |= logs

    @property
    def to_forget(self) -> frozenset[SourcePartition]:
        """The logs that it was not told to forget yet: what it answers of them is of before they were lost."""
        return frozenset(self._to_forget)

    def take_forget(self) -> frozenset[SourcePartition]:
        """The logs to forget, if it is the moment to say so; else an empty set."""
        if self._busy or not self._to_forget:
            return frozenset()
        logs, self._to_forget = frozenset(self._to_forget), set()
        self._busy = True
        return logs

    def take(
        self, wanted: Callable[[Delivery], bool], now_s: float
    ) -> tuple[tuple[Delivery, ...], tuple[Block, ...], tuple[Block, ...]]:
        """The next call's deliveries and token batches, and the batches of parcels that are no longer wanted."""
        if self._busy:
            return (), (), ()
        blocks: dict[int, tuple[int, Block]] = {}
        deliveries: list[Delivery] = []
        sent: list[Parcel] = []
        stale: list[Block] = []
        while self._parcels and len(sent) < DELIVERIES_A_CALL:
            parcel = self._parcels.popleft()
            if not wanted(parcel.delivery):
                if parcel.tokens is not None:
                    stale.append(parcel.tokens)
                continue
            index = -1
            if parcel.tokens is not None:
                index, _ = blocks.setdefault(id(parcel.tokens), (len(blocks), parcel.tokens))
            deliveries.append(parcel.delivery.in_batch(index))
            sent.append(parcel)
        if sent:
            self._busy = True
            self._in_call = tuple(sent)
            self._has_news = True
            self._first_s = now_s if self._first_s is None else self._first_s
        return tuple(deliveries), tuple(block for _, block in blocks.values()), tuple(stale)

    def seal_reason(self, now_s: float, *, most_age_s: float, starved: bool, draining: bool) -> SealReason | None:
        """Whether the packer should close its shards now, and why."""
        if self._busy or not self.holds_rows or self._first_s is None:
            return None
        if not self._has_news and (self._parcels or now_s < self._reseal_s):
            return None
        if draining and not self._parcels:
            return SealReason.DRAIN
        if starved:
            return SealReason.STARVED
        return SealReason.AGE if now_s - self._first_s >= most_age_s else None

    def begin_seal(self, now_s: float) -> None:
        """A seal is on its way; what it leaves behind ages from here."""
        self._busy = True
        self._first_s = now_s
        self._has_news, self._reseal_s = False, now_s + RESEAL_S

    def answered(self, report: PackReport) -> tuple[Block, ...]:
        """The call is done: its parcels' token batches, one a parcel, may be released."""
        released = tuple(parcel.tokens for parcel in self._in_call if parcel.tokens is not None)
        self._busy, self._in_call = False, ()
        self.spooled_bytes = report.spooled_bytes
        self.waiting_messages = report.waiting_messages
        if not self.holds_rows:
            self._first_s = None
        return released

    def lost(self) -> tuple[Block, ...]:
        """The packer is gone with all it held; another takes its name."""
        blocks = tuple(parcel.tokens for parcel in (*self._in_call, *self._parcels) if parcel.tokens is not None)
        self._parcels.clear()
        self._busy, self._in_call, self._first_s, self._has_news = False, (), None, False
        self._to_forget.clear()
        self.spooled_bytes = self.waiting_messages = 0
        return blocks
