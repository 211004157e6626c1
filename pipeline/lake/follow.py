"""Reading the log while others write to it: which versions to ask for at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MOST_AT_ONCE = 16


class ReadAhead:
    """Holds versions that were read before they were asked for.

    A version never changes once it is there, but one that is not there may come at any time: what was not found is told
    once, and nothing is held across a put. As many are asked for as others brought the last time, and one more: who is
    slow and reads one by one would never catch up with those who write.

    Args:
        most: versions asked for at once.
    """

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._expected = 1
        self._mine = False
        self._held = dict[int, bytes | None]()

    def wanted(self, version: int) -> range:
        """The versions to read now, so that `take` may answer: none where it is held."""
        if version in self._held:
            return range(0)
        return range(version, version + (1 if self._mine else self._expected))

    def give(self, found: Mapping[int, bytes | None]) -> None:
        """What was read."""
        if not self._mine:
            there = sum(body is not None for body in found.values())
            self._expected = min(2 * there if there == len(found) else there + 1, self._most)
        self._mine = False
        self._held = dict(found)

    def take(self, version: int) -> bytes | None:
        """A version's bytes; None where there was none when it was read."""
        return self._held.pop(version)

    def forget(self) -> None:
        """Time has passed: what was not there may be there now."""
        self._held.clear()
        self._mine = False

    def after_put(self, *, exists: bool) -> None:
        """A put was answered: what was not there before it says nothing of what is there now.

        Args:
            exists: somebody else was faster; else the next version read is likely one's own, and the last.
        """
        self._held.clear()
        self._mine = not exists
