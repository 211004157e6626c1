"""Pieces of many references gathered into batches for one product's tokenizer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.flow.calls import Piece


class BatchReason(StrEnum):
    """Why a batch goes now."""

    FULL = "full"
    AGED = "aged"
    NOTHING_FOLLOWS = "nothing_follows"


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces for one call."""

    pieces: tuple[Piece, ...]
    reason: BatchReason


class Batcher:
    """One product's pieces, in order; all are of one view, hence of one shape bucket.

    Args:
        most_windows: a batch closes when one more piece would pass this.
        most_wait_s: or when its first piece has waited this long.

    Attributes:
        windows, items: that wait.
    """

    def __init__(self, most_windows: int, most_wait_s: float) -> None:
        self._most_windows = most_windows
        self._most_wait_s = most_wait_s
        self._waiting: deque[tuple[float, Piece]] = deque()
        self._apart: deque[tuple[Piece, ...]] = deque()
        self.windows = 0
        self.items = 0

    def __len__(self) -> int:
        """Pieces."""
        return len(self._waiting) + sum(map(len, self._apart))

    def pieces(self) -> Iterator[Piece]:
        """That wait."""
        yield from (piece for _, piece in self._waiting)
        for group in self._apart:
            yield from group

    def add(self, piece: Piece, now_s: float) -> None:
        """At the end."""
        self._waiting.append((now_s, piece))
        self.windows += piece.size
        self.items += len(piece.items)

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
    def next_windows(self) -> int:
        """Windows of the batch that would go next, if it went now."""
        return sum(piece.size for piece in (self._apart[0] if self._apart else self._next()))

    def take(self, now_s: float, *, more_follows: bool) -> Batch | None:
        """The next batch, or None while it is still filling.

        Args:
            more_follows: whether work upstream may still add pieces soon; if not, waiting is pointless.
        """
        if self._apart:
            return self._close(self._apart.popleft(), BatchReason.FULL)
        if not self._waiting:
            return None
        pieces = self._next()
        if len(pieces) < len(self._waiting) or sum(piece.size for piece in pieces) >= self._most_windows:
            reason = BatchReason.FULL
        elif not more_follows:
            reason = BatchReason.NOTHING_FOLLOWS
        elif now_s - self._waiting[0][0] >= self._most_wait_s:
            reason = BatchReason.AGED
        else:
            return None
        return self._close(tuple(self._waiting.popleft()[1] for _ in pieces), reason)

    def _next(self) -> list[Piece]:
        """Of those that wait, what fits into one batch; at least one."""
        pieces: list[Piece] = []
        windows = 0
        for _, piece in self._waiting:
            windows += piece.size
            if pieces and windows > self._most_windows:
                break
            pieces.append(piece)
        return pieces

    def _close(self, pieces: tuple[Piece, ...], reason: BatchReason) -> Batch:
        self.windows -= sum(piece.size for piece in pieces)
        self.items -= sum(len(piece.items) for piece in pieces)
        return Batch(pieces, reason)
