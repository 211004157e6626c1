"""Views of texts: "utf8:<max bytes>", chunks of at most so many bytes.

Cut between characters where the bytes are valid UTF-8; a run of bytes that is none is cut at the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from operators.records import Modality, WindowBatch, WindowMeta
from operators.window.base import Array

LEAST_BYTES = 4
"""The longest character must fit."""


class TextLike(Protocol):
    """A text."""

    @property
    def content(self) -> bytes:
        """Its bytes."""
        ...


@dataclass(frozen=True, slots=True)
class TextView:
    """Windows `[n]` uint8, n at most `max_bytes`; start and end count bytes of the text."""

    max_bytes: int

    @property
    def key(self) -> str:
        """Its name."""
        return f"utf8:{self.max_bytes}"

    @property
    def modality(self) -> Modality:
        """Texts."""
        return Modality.TEXT

    def windows(self, decoded: TextLike) -> list[tuple[WindowMeta, Array]]:
        """Chunks that, end to end, are the text; none of an empty one."""
        content = np.frombuffer(decoded.content, np.uint8)
        ends = list(_cuts(decoded.content, self.max_bytes))
        starts = [0, *ends[:-1]]
        return [(WindowMeta(start, end), content[start:end]) for start, end in zip(starts, ends, strict=False)]

    def stack(self, arrays: Sequence[Array]) -> WindowBatch:
        """B windows -> `[N]`, end to end."""
        data = np.concatenate(arrays) if arrays else np.zeros(0, np.uint8)
        return WindowBatch(self.key, data, np.asarray([len(array) for array in arrays], np.int64))


def _cuts(content: bytes, most: int) -> Iterator[int]:
    """The chunks' ends."""
    start = 0
    while start < len(content):
        end = min(start + most, len(content))
        if end < len(content):
            end = _boundary(content, end)
        yield end
        start = end


def _boundary(content: bytes, end: int) -> int:
    """`end`, or up to three bytes earlier where it would split a character."""
    for at in range(end, end - LEAST_BYTES, -1):
        if content[at] & 0xC0 != 0x80:
            return at
    return end  # four continuation bytes in a row are no character
