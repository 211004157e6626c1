"""What is to be done of a lake, as a source that ends: replayed letters, messages made anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from operators.errors import TransientError
from pipeline.records import SourcePartition, Task
from pipeline.source.events import Event, Exhausted, Tasks

_RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)


class Work(Protocol):
    """Tasks, some at a time."""

    @property
    def left(self) -> Mapping[SourcePartition, int]:
        """Messages that have not been given yet, by log."""
        ...

    def next(self) -> Sequence[Task] | None:
        """What comes next, perhaps nothing; None at the end.

        Raises:
            TransientError: nothing was given; call again.
        """
        ...


class JobSource:
    """A `Source` over the tasks of a job. Where the store does not answer, it tries again a second later."""

    def __init__(self, work: Work, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._clock = clock
        self._given: list[Task] = []
        self._ended = self._exhausted = self._paused = False
        self._retry_at_s = clock()

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        if self._paused or self._exhausted or self._clock() < self._retry_at_s:
            time.sleep(timeout_s)
            return []
        try:
            self._fill(max_messages)
        except TransientError as error:
            _log.warning("the lake can't be read at present", error=str(error))
            self._retry_at_s = self._clock() + _RETRY_S
        some, self._given = tuple(self._given[:max_messages]), self._given[max_messages:]
        events: list[Event] = [Tasks(some)] if some else []
        if self._ended and not self._given:
            self._exhausted = True
            events.append(Exhausted())
        return events

    def pause(self) -> None:
        """See `Source.pause`."""
        self._paused = True

    def resume(self) -> None:
        """See `Source.resume`."""
        self._paused = False

    def recheck(self) -> None:
        """The lake's log does not change."""

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """The lake alone knows how far a job is."""

    def lag(self) -> Mapping[SourcePartition, int]:
        """See `Source.lag`."""
        left = dict(self._work.left)
        for task in self._given:
            left[task.message.log] = left.get(task.message.log, 0) + 1
        return left

    def close(self) -> None:
        """See `Source.close`."""
        self._exhausted = True
        self._given.clear()

    def _fill(self, wanted: int) -> None:
        while not self._ended and len(self._given) < wanted:
            some = self._work.next()
            if some is None:
                self._ended = True
            else:
                self._given += some
