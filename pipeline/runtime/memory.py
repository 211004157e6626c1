"""A worker's watch over its own memory: it leaves before its node runs short, and says whether a batch is to blame.

Ray's memory killer takes the newest actor, not the biggest, so a decoder that leaks would take innocents with it. Here
each worker looks at itself. After a call that leaves it above its limit it answers and begins no other; in mid-call it
is ended at `MARGIN` times the limit, since native code can't be asked to stop.

What counts is memory of its own: anonymous pages. Windows in Ray's object store and weights that are mapped from their
file are shared with others and cost a process nothing of its own.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from operators.errors import ConfigError, MemoryPressureError
from pipeline.runtime.allocator import give_back

MARGIN = 1.25
"""Of the limit: what a call may take beyond it before it is cut short."""
LOOK_S = 0.05
"""Between two looks: a call that takes 2 GB/s is seen within 100 MB."""


class Leaving(StrEnum):
    """Why a worker leaves."""

    MEMORY = "memory"
    """What many calls left behind took it over: no batch is to blame."""
    MEMORY_IN_CALL = "memory_in_call"
    """One call took so much that a fresh worker would have gone over too: its batch is suspect."""


@dataclass(frozen=True, slots=True)
class Departure:
    """What a worker says as it leaves.

    Attributes:
        message: the figures, for people.
    """

    reason: Leaving
    message: str


class MemoryWatch:
    """One worker's. A thread looks while a call is computed; without a limit there is none.

    Args:
        limit_bytes: 0: no limit.
        end: ends the process; called by the thread, in mid-call, and not expected to return.
        own: how much memory the process has of its own, in bytes.
    """

    def __init__(
        self, limit_bytes: int, end: Callable[[Departure], None], own: Callable[[], int] | None = None
    ) -> None:
        self._limit_bytes = limit_bytes
        self._end = end
        self._own = own or own_bytes
        self._fresh_bytes = 0
        self._unused = True
        self._began_bytes: int | None = None
        self._departure: Departure | None = None

    @property
    def departure(self) -> Departure | None:
        """Set once the worker must leave: it begins no further call."""
        return self._departure

    def start(self) -> None:
        """The worker is warm: what it has now, it always has.

        Raises:
            ConfigError: that is above the limit already.
        """
        if not self._limit_bytes:
            return
        self._fresh_bytes = self._own()
        if self._fresh_bytes >= self._limit_bytes:
            raise ConfigError(
                f"memory_bytes: a worker that has just started has {_mb(self._fresh_bytes)} of its own, more than its "
                f"limit of {_mb(self._limit_bytes)}"
            )
        threading.Thread(target=self._look_on, name="memory-watch", daemon=True).start()

    def begin(self) -> None:
        """A call begins."""
        if not self._limit_bytes:
            return
        self._began_bytes = self._own()
        if self._unused:
            # Threads that began since then are no call's doing: the first one is judged as a fresh worker's.
            self._unused, self._fresh_bytes = False, self._began_bytes

    def finish(self) -> None:
        """The call has been computed; see `departure`."""
        self._began_bytes = None
        if not self._limit_bytes or self._own() <= self._limit_bytes:
            return
        gc.collect()
        give_back()
        if (own_bytes_now := self._own()) > self._limit_bytes:
            self._departure = Departure(Leaving.MEMORY, self._figures(own_bytes_now))

    def look(self) -> Departure | None:
        """In mid-call: whether the process must end now."""
        began_bytes = self._began_bytes
        if began_bytes is None:
            return None
        now_bytes, most_bytes = self._own(), MARGIN * self._limit_bytes
        if now_bytes <= most_bytes:
            return None
        grown_bytes = now_bytes - began_bytes
        by_itself = self._fresh_bytes + grown_bytes > most_bytes
        reason = Leaving.MEMORY_IN_CALL if by_itself else Leaving.MEMORY
        return Departure(reason, f"{self._figures(now_bytes)}, {_mb(grown_bytes)} of it in one call")

    def _look_on(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_S):
            if (departure := self.look()) is not None:
                self._end(departure)

    def _figures(self, now_bytes: int) -> str:
        return f"{_mb(now_bytes)} of its own, {_mb(self._limit_bytes)} allowed, {_mb(self._fresh_bytes)} at its start"


def memory_failure(departure: Departure) -> MemoryPressureError:
    """As the error that it is."""
    return MemoryPressureError(f"the worker left, over its memory: {departure.message}")


def own_bytes() -> int:
    """Resident memory of this process that it shares with nobody, in bytes.

    Raises:
        ConfigError: the system has no /proc to read it from.
    """
    try:
        _, resident, shared = Path("/proc/self/statm").read_text(encoding="ascii").split()[:3]
    except OSError as error:
        raise ConfigError(f"memory_bytes: this system does not tell a process's memory ({error})") from error
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _mb(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
