"""Frozen listings as a source of messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from operators.errors import TransientError
from operators.records import Origin
from pipeline.records import Message, SourcePartition
from pipeline.source.base import LogEnds, Positions
from pipeline.source.events import Assigned, EndReached, Event, Exhausted, Messages
from pipeline.source.listing import Frozen, ListingStore, read_part
from pipeline.source.listing_rows import Row

_RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)


class ListingSource:
    """A `Source` over finished listings, one after the other; holds one part of one of them at a time.

    Where the store or the lake does not answer, it gives nothing and tries again a second later.
    """

    def __init__(
        self,
        listings: Sequence[Frozen],
        store: ListingStore,
        positions: Positions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listings = {SourcePartition(listing.source_id, 0): listing for listing in listings}
        self._store = store
        self._lake = positions
        self._clock = clock
        self._next: dict[SourcePartition, int] = {}
        self._open: list[SourcePartition] = []
        self._part: tuple[SourcePartition, int] | None = None
        self._rows: tuple[Row, ...] = ()
        self._begun = self._exhausted = self._paused = self._closed = False
        self._retry_at_s = clock()

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        events: list[Event] = []
        if not self._closed and not self._exhausted and self._clock() >= self._retry_at_s:
            try:
                self._begin(events)
                if not self._paused:
                    self._read(max_messages, events)
            except TransientError as error:
                _log.warning("listing can't be read at present", error=str(error))
                self._retry_at_s = self._clock() + _RETRY_S
        if not events:
            time.sleep(timeout_s)
        return events

    def pause(self) -> None:
        """See `Source.pause`."""
        self._paused = True

    def resume(self) -> None:
        """See `Source.resume`."""
        self._paused = False

    def recheck(self) -> None:
        """A frozen listing does not change."""

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """The lake alone knows how far a listing was read."""

    def lag(self) -> Mapping[SourcePartition, int]:
        """See `Source.lag`."""
        return {log: listing.rows - self._next.get(log, 0) for log, listing in self._listings.items()}

    def close(self) -> None:
        """See `Source.close`."""
        self._closed = True
        self._rows = ()

    def _begin(self, events: list[Event]) -> None:
        if self._begun:
            return
        ends = [LogEnds(log, listing.source_id, 0, listing.rows) for log, listing in self._listings.items()]
        found = self._lake.resolve(ends, None)
        self._next = {log: min(found[log], listing.rows) for log, listing in self._listings.items()}
        self._begun = True
        self._open = list(self._listings)
        if self._open:
            events.append(Assigned(tuple(self._open)))

    def _read(self, max_messages: int, events: list[Event]) -> None:
        while self._open:
            log = self._open[0]
            if self._next[log] < self._listings[log].rows:
                if max_messages <= 0:
                    return
                messages = self._some(log, max_messages)
                max_messages -= len(messages)
                events.append(Messages(messages))
            else:
                self._open.pop(0)
                events.append(EndReached(log, self._listings[log].rows))
        self._exhausted = True
        self._rows = ()
        events.append(Exhausted())

    def _some(self, log: SourcePartition, most: int) -> tuple[Message, ...]:
        first = self._next[log]
        part, place = self._listings[log].find(first)
        if self._part != (log, part):
            self._rows = read_part(self._store, log.source_id, part)
            self._part = (log, part)
        rows = self._rows[place : place + most]
        self._next[log] = first + len(rows)
        return tuple(
            Message(Origin(log.source_id, 0, offset, 0), log.source_id, None, row.value)
            for offset, row in enumerate(rows, first)
        )
