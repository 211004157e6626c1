"""What decoding gives: segments, and a cursor to go on from.

A still image or a text is one segment. A film is many: each call decodes about ten seconds or so many bytes and gives
plain results and a cursor, so that memory, waiting and what a crash throws away stay bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from operators.errors import InvariantError
from operators.records import ContentFacts

Cursor = Mapping[str, Any]
"""Where to go on, as JSON: opaque to everyone but the decoder that made it. It outlives the process."""

D = TypeVar("D")
C_contra = TypeVar("C_contra", bytes, Path, contravariant=True)
"""Content: bytes of what is small, a file of what is long."""


class OnDamage(StrEnum):
    """What to do with a file that ends too early."""

    REFUSE = "refuse"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Segment(Generic[D]):
    """What one call gives.

    Attributes:
        decoded: e.g. a `DecodedImage`.
        cursor: where the next call goes on; None: this was the last of its range.
        forks: where further ranges of the same item begin, for whoever is free; only with an item's first segment.
    """

    decoded: D
    cursor: Cursor | None = None
    forks: tuple[Cursor, ...] = ()


class Decoder(Protocol[C_contra, D]):
    """Decodes one medium. May keep a container open between calls with consecutive cursors."""

    def decode(self, content: C_contra, facts: ContentFacts, cursor: Cursor | None) -> Segment[D]:
        """The segment at `cursor` (None: the first).

        Raises:
            MediaError: empty, truncated, over a limit, of another kind, or otherwise not to be decoded.
        """
        ...

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nobody will ask for the segment at `cursor`: let go of what is open for it."""
        ...


def only_segment(cursor: Cursor | None) -> None:
    """For decoders whose every item is one segment.

    Raises:
        InvariantError: a cursor was given back to a decoder that never gives one.
    """
    if cursor is not None:
        raise InvariantError(f"a medium of one segment has no cursor, but was given {cursor}")
