"""Spans: which of a window's tokens come from which tokenizer, and what time they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """Consecutive tokens of one part of a joined product.

    Attributes:
        tokenizer: index into the product's `TokenSpec.parts`.
        start, length: within the window's flat codes.
        t0, t1: half-open, in ticks of the window's rate, on the item's clock; t0 may lie before the window's start
            (a frame that was on screen already).
        confidence: of a recogniser, in [0, 1]; None where nothing was recognised.
        text: what the tokens spell, where they spell something.
        speaker, language: where known; the language as the medium states it, e.g. "eng".
    """

    tokenizer: int
    start: int
    length: int
    t0: int
    t1: int
    confidence: float | None = None
    text: str | None = None
    speaker: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SpanTable:
    """The spans of B windows.

    Attributes:
        spans: `[S]`, all windows end to end, each window's in the order of their tokens.
        offsets: `[B + 1]` int64; window b owns `spans[offsets[b]:offsets[b + 1]]`.
    """

    spans: tuple[TokenSpan, ...]
    offsets: npt.NDArray[np.int64]

    @property
    def size_bytes(self) -> int:
        """About what it holds of memory."""
        return 200 * len(self.spans) + int(self.offsets.nbytes)

    def __getitem__(self, index: int) -> tuple[TokenSpan, ...]:
        return self.spans[int(self.offsets[index]) : int(self.offsets[index + 1])]

    @staticmethod
    def of(windows: Sequence[Sequence[TokenSpan]]) -> SpanTable:
        """From each window's spans."""
        counts = np.asarray([len(spans) for spans in windows], np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return SpanTable(tuple(span for spans in windows for span in spans), offsets)
