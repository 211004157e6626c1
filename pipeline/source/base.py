"""What every source is, and what it asks of the lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.records import SourcePartition
from pipeline.source.events import Event

OffsetsAt = Callable[[int, Sequence[SourcePartition]], Mapping[SourcePartition, int]]
"""A time (ms, UTC) and logs -> in each the first offset whose message is not older, the log's end where there is none.
Left out are logs that don't answer."""


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


@dataclass(frozen=True, slots=True)
class LogEnds:
    """A log whose position is asked for.

    Attributes:
        log: which.
        topic: its name, for messages.
        earliest, latest: it holds [earliest, latest).
    """

    log: SourcePartition
    topic: str
    earliest: int
    latest: int


class Positions(Protocol):
    """The lake's view of progress. Both may take up to a second, inside the rebalance.

    Raises:
        StoreUnavailableError: tried again a second later; nothing is read before.
    """

    def begun(self, source_id: str) -> bool:
        """Whether any log of a source has a `from`. The first `resolve` of one that has none should name all its logs,
        whoever will read them: a log that comes later counts as a new one, of which everything is owed.
        """
        ...

    def resolve(self, logs: Sequence[LogEnds], at_time: OffsetsAt | None) -> Mapping[SourcePartition, int]:
        """Where to read each log from: its least uncovered offset, at or above its `from`.

        Products that have no `from` for some of these logs have one committed first, all in one commit. Called on each
        assignment.

        Args:
            logs: each once.
            at_time: finds offsets by time; None where logs have no clock. May be called by another thread.

        Returns:
            Without the logs that can't be begun at present, since their clock does not answer.
        """
        ...
