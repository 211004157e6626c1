"""Files that stay open between two segments."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from operators.records import ContentFacts

MOST = 32
"""So many at a time, more than a worker's two calls can hold: the one that was left longest is closed, and would be
opened anew, and decoded from its range's start, if its turn came."""


class Closable(Protocol):
    """Something open."""

    def close(self) -> None:
        """Let go."""
        ...


T = TypeVar("T", bound=Closable)


class Kept(Generic[T]):
    """By content and place; each is handed out once."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str, str], T] = OrderedDict()

    def keep(self, facts: ContentFacts, place: str, opened: T) -> None:
        """Until the next segment, which begins at `place`."""
        before = self._open.pop((facts.sha256, facts.version, place), None)
        if before is not None:
            before.close()
        self._open[facts.sha256, facts.version, place] = opened
        while len(self._open) > MOST:
            self._open.popitem(last=False)[1].close()

    def take(self, facts: ContentFacts, place: str) -> T | None:
        """What was kept for this segment, if it still is."""
        return self._open.pop((facts.sha256, facts.version, place), None)

    def drop(self, facts: ContentFacts, place: str) -> None:
        """Nobody will ask for this segment: close what was kept for it."""
        opened = self.take(facts, place)
        if opened is not None:
            opened.close()
