"""What every source is, and what it asks of the lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pipeline.records import SourcePartition
from pipeline.source.events import Event

OffsetAt = Callable[[int], int]
"""A time (ms, UTC) -> the first offset whose message is not older; the log's end where there is none."""


class Source(Protocol):
    """A lane's input. Driven by one thread."""

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """What has happened. Does not wait longer than `timeout_s` for something to happen; a rebalance is handled
        inside, and takes as long as the lake and the broker need to say where to begin.

        Raises:
            StopError: OffsetGapError, TopicRecreatedError, ConfigError. Every later call raises it again.
            SourceUnavailableError: nothing can be read at present; call again.
        """
        ...

    def pause(self) -> None:
        """Give no messages until `resume`. Polling must go on: it keeps the membership of the group."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...

    def recheck(self) -> None:
        """Before a commit: is what was read still what it was?

        Raises:
            TopicRecreatedError: it isn't; nothing read since the last call that passed may be committed.
            SourceUnavailableError: nobody can tell at present.
        """
        ...

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """After a commit: tell the source's own bookkeeping how far the lake is. Advisory: never raises."""
        ...

    def lag(self) -> Mapping[SourcePartition, int]:
        """Messages that were not given yet, as far as known. Cheap."""
        ...

    def close(self) -> None:
        """Leave. Later calls do nothing."""
        ...


class Positions(Protocol):
    """The lake's view of progress."""

    def resolve(self, log: SourcePartition, topic: str, earliest: int, latest: int, at_time: OffsetAt | None) -> int:
        """Where to read a log from: its least uncovered offset, at or above its `from`, which is committed first
        for a product that has none.

        Called on each assignment, inside the rebalance; may take up to a second.

        Args:
            log: the log.
            topic: its name, for messages and for the configured start.
            earliest, latest: the log holds [earliest, latest).
            at_time: finds an offset by time; None where the log has no clock.

        Raises:
            StoreUnavailableError: tried again a second later; the log is not read before.
        """
        ...
