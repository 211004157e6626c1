"""Files that stay open between two segments."""

from __future__ import annotations

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
    """By content and place; each is handed out once. Two items of the same content keep one each."""

    def __init__(self) -> None:
        self._open: list[tuple[tuple[str, str, str], T]] = []

    def keep(self, facts: ContentFacts, place: str, opened: T) -> None:
        """Until the next segment, which begins at `place`."""
        self._open.append(((facts.sha256, facts.version, place), opened))
        while len(self._open) > MOST:
            self._open.pop(0)[1].close()

    def take(self, facts: ContentFacts, place: str) -> T | None:
        """What was kept for this segment, if it still is."""
        key = (facts.sha256, facts.version, place)
        index = next((index for index, (other, _) in enumerate(self._open) if other == key), None)
        return None if index is None else self._open.pop(index)[1]

    def drop(self, facts: ContentFacts, place: str) -> None:
        """Nobody will ask for this segment: close what was kept for it."""
        opened = self.take(facts, place)
        if opened is not None:
            opened.close()
