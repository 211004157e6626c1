"""How far one assigned log was read: finds holes and repeats, remembers leader epochs. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from pipeline.records import Range


@dataclass(slots=True)
class Progress:
    """One assignment of one log.

    Attributes:
        expected: the offset that comes next; all below it were given, or were holes.
        latest: the log's end as last heard of.
    """

    expected: int
    latest: int
    _epoch_starts: list[int] = field(default_factory=list[int])
    _epochs: list[int] = field(default_factory=list[int])

    def see(self, offset: int, leader_epoch: int | None = None) -> Range | None:
        """A message arrived. Returns the hole before it: empty where there is none, None where the message is a
        repeat and must be dropped.
        """
        if offset < self.expected:
            return None
        hole = (self.expected, offset)
        self.expected = offset + 1
        self.latest = max(self.latest, self.expected)
        if leader_epoch is not None and (not self._epochs or self._epochs[-1] != leader_epoch):
            self._epoch_starts.append(offset)
            self._epochs.append(leader_epoch)
        return hole

    def reach(self, end: int) -> Range:
        """The log ends at `end` for now. Returns the hole before it, empty where there is none."""
        hole = (self.expected, max(self.expected, end))
        self.expected = hole[1]
        self.latest = max(self.latest, self.expected)
        return hole

    def leader_epoch(self, position: int) -> int | None:
        """Of the message before `position`, so that the broker can tell whether the log was cut since; None: unknown.

        Forgets what lies further back: positions must not go down from call to call.
        """
        index = bisect_right(self._epoch_starts, position - 1) - 1
        if index < 0:
            return None
        del self._epoch_starts[:index], self._epochs[:index]
        return self._epochs[0]

    @property
    def lag(self) -> int:
        """Messages not given yet."""
        return max(0, self.latest - self.expected)
