"""Pieces of many references gathered into batches for one product's tokenizer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.flow.calls import Piece, PieceItem

LONG_SHARE = 4
"""A batch of what is long is smaller by this while short items come, since they wait for it."""
SHORT_LATELY_S = 10.0
"""So long after one has come, another is expected."""

Bucket = tuple[bool, int]
"""Whether it holds segments of what is long, and how often the length of its windows doubles."""


class BatchReason(StrEnum):
    """Why a batch goes now."""

    FULL = "full"
    AGED = "aged"
    NOTHING_FOLLOWS = "nothing_follows"
    APART = "apart"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What waits to be prepared, or is being: it may add pieces soon.

    Attributes:
        fresh: items that nobody has begun; they may prove long.
        begun: further segments of what is long.
    """

    fresh: bool
    begun: bool

    def may_add_to(self, bucket: Bucket) -> bool:
        """Whether waiting for this bucket to fill has a point."""
        return self.fresh or (self.begun and bucket[0])


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces for one call.

    Attributes:
        bucket: where they wait.
    """

    pieces: tuple[Piece, ...]
    reason: BatchReason
    bucket: Bucket = (False, 0)

    @property
    def windows(self) -> int:
        """Of all pieces."""
        return sum(piece.size for piece in self.pieces)

    @property
    def is_long(self) -> bool:
        """Whether it is of segments of what is long."""
        return self.bucket[0]

    @property
    def node(self) -> str:
        """Where the first piece lies; "" where that is not known."""
        return self.pieces[0].block.node


class Batcher:
    """One product's pieces, in order; all are of one view, hence of one shape, but for their length.

    Segments of what is long wait apart from what is short, and the two take turns: so a short item waits for one batch
    of the others, and for a small one, if it is not the first in a while. A tokenizer that pads a batch to its longest
    window computes the padding too: for such a one, pieces whose longest windows differ by a factor of two or more wait
    in buckets of their own.

    Args:
        most_windows: a batch closes when one more piece would pass this.
        most_wait_s: or when its first piece has waited this long.
        by_length: whether the tokenizer pads.

    Attributes:
        windows, items: that wait.
    """

    def __init__(self, most_windows: int, most_wait_s: float, *, by_length: bool = False) -> None:
        self._most_windows = most_windows
        self._most_wait_s = most_wait_s
        self._by_length = by_length
        self._buckets: dict[Bucket, deque[tuple[float, Piece]]] = {}
        self._last_is_long = False
        self._last_short_s = -math.inf
        self._apart: deque[tuple[Piece, ...]] = deque()
        self.windows = 0
        self.items = 0

    def __len__(self) -> int:
        """Pieces."""
        return sum(map(len, self._buckets.values())) + sum(map(len, self._apart))

    def pieces(self) -> Iterator[Piece]:
        """That wait."""
        for bucket in self._buckets.values():
            yield from (piece for _, piece in bucket)
        for group in self._apart:
            yield from group

    def add(self, piece: Piece, now_s: float) -> int:
        """At the end. Returns how many pieces it has become: each reads the block by itself."""
        parts = tuple(_parts(piece, self._kind))
        for part in parts:
            bucket = self._kind(part.items[0])
            self._buckets.setdefault(bucket, deque()).append((now_s, part))
            if not bucket[0]:
                self._last_short_s = now_s
        self.windows += piece.size
        self.items += len(piece.items)
        return len(parts)

    def add_apart(self, pieces: tuple[Piece, ...]) -> None:
        """Suspects: a batch of their own."""
        if pieces:
            self._apart.append(pieces)
            self.windows += sum(piece.size for piece in pieces)
            self.items += sum(len(piece.items) for piece in pieces)

    @property
    def batches(self) -> int:
        """About how many calls these will be."""
        return min(len(self), -(-self.windows // self._most_windows))

    @property
    def holds_short(self) -> bool:
        """Whether anything waits that is no segment of what is long."""
        return bool(self._apart) or any(not is_long for is_long, _ in self._buckets)

    def peek(self, now_s: float, upstream: Upstream, *, short: bool = False) -> Batch | None:
        """The next batch, or None while all are still filling. It stays here until it is taken.

        Args:
            upstream: what may still add pieces soon; if nothing does, waiting is pointless.
            short: nothing of what is long.
        """
        if self._apart:
            return Batch(self._apart[0], BatchReason.APART)
        # Those that have waited longest first, so that a bucket that is always full never keeps the others waiting.
        lately = now_s - self._last_short_s < SHORT_LATELY_S
        most_long = -(-self._most_windows // LONG_SHARE) if lately else self._most_windows
        turns = sorted(self._buckets.items(), key=lambda each: (each[0][0] is self._last_is_long, each[1][0][0]))
        for bucket, waiting in turns:
            if short and bucket[0]:
                continue
            most = most_long if bucket[0] else self._most_windows
            pieces = _first(waiting, most)
            if len(pieces) < len(waiting) or sum(piece.size for piece in pieces) >= most:
                return Batch(pieces, BatchReason.FULL, bucket)
            if not upstream.may_add_to(bucket):
                return Batch(pieces, BatchReason.NOTHING_FOLLOWS, bucket)
            if now_s - waiting[0][0] >= self._most_wait_s:
                return Batch(pieces, BatchReason.AGED, bucket)
        return None

    def take(self, batch: Batch) -> None:
        """This one, which `peek` has just given, goes."""
        if batch.reason is BatchReason.APART:
            self._apart.popleft()
        else:
            waiting = self._buckets[batch.bucket]
            for _ in batch.pieces:
                waiting.popleft()
            if not waiting:
                del self._buckets[batch.bucket]
            self._last_is_long = batch.bucket[0]
        self.windows -= batch.windows
        self.items -= sum(len(piece.items) for piece in batch.pieces)

    def _kind(self, item: PieceItem) -> Bucket:
        if not self._by_length:
            return item.is_long, 0
        return item.is_long, max(window.end - window.start for window in item.rows.windows).bit_length()


def _first(waiting: Iterable[tuple[float, Piece]], most_windows: int) -> tuple[Piece, ...]:
    """Of those that wait, what fits into one batch; at least one."""
    pieces: list[Piece] = []
    windows = 0
    for _, piece in waiting:
        windows += piece.size
        if pieces and windows > most_windows:
            break
        pieces.append(piece)
    return tuple(pieces)


def _parts(piece: Piece, kind: Callable[[PieceItem], Bucket]) -> Iterator[Piece]:
    """Parts of a block whose items are of one bucket; an item stays whole."""
    kinds = [kind(item) for item in piece.items]
    if len(set(kinds)) == 1:
        yield piece
        return
    start = 0
    for end in range(1, len(kinds) + 1):
        if end == len(kinds) or kinds[end] != kinds[start]:
            yield Piece(piece.block, piece.items[start:end])
            start = end
