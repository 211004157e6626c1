"""A source for benches: short items at a constant rate in one log, long ones at once in another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from operators.records import Origin
from pipeline.records import Message, SourcePartition
from pipeline.source.base import LogEnds, Positions
from pipeline.source.events import Assigned, Event, Messages

SHORT, LONG = 0, 1
"""Partitions. Each topic is a source of its own: how far a log is committed hangs on all products that read it."""


class Enough(Exception):  # noqa: N818  ends a run from within, long items and all
    """All short items are in the lake, or it took too long."""


@dataclass
class Latencies:
    """When each short item was due, and when its tokens were ready and committed; seconds of the monotonic clock."""

    due_s: list[float] = field(default_factory=list[float])
    ready_s: dict[int, float] = field(default_factory=dict[int, float])
    committed_s: list[float] = field(default_factory=list[float])

    def ready(self, offset: int) -> None:
        """Its tokens are on their way to the packer; the first time counts."""
        self.ready_s.setdefault(offset, time.monotonic())

    def committed(self, below: int) -> None:
        """All offsets below this one are in the lake."""
        self.committed_s += [time.monotonic()] * (below - len(self.committed_s))

    def until_ready_s(self) -> list[float]:
        """Of every item that was due and is ready."""
        return [at_s - self.due_s[offset] for offset, at_s in sorted(self.ready_s.items())]

    def until_committed_s(self) -> list[float]:
        """Likewise, in the lake."""
        return [at_s - due_s for due_s, at_s in zip(self.due_s, self.committed_s, strict=False)]


class PacedSource:
    """See the module.

    Args:
        topic: whose messages these are.
        short: files, offered one after the other, `rate_hz` of them a second; an item is due when the clock says so,
            whether or not somebody asks for it then.
        long: files, offered as soon as the lane is ready.
        lead_s: by how much the long ones are ahead.
        ready: whether all workers are.
        patience_s: how long after the last short item was due the run goes on at most.
    """

    def __init__(
        self,
        topic: str,
        short: Sequence[Path],
        long: Sequence[Path],
        positions: Positions,
        latencies: Latencies,
        ready: Callable[[], bool],
        *,
        rate_hz: float,
        lead_s: float,
        patience_s: float,
    ) -> None:
        self._log, self._long_log = SourcePartition(topic, SHORT), SourcePartition(topic, LONG)
        self._short = [_message(SourcePartition(topic, SHORT), number, path) for number, path in enumerate(short)]
        self._long = [_message(SourcePartition(topic, LONG), number, path) for number, path in enumerate(long)]
        self._positions, self._latencies, self._ready = positions, latencies, ready
        self._rate_hz, self._lead_s, self._patience_s = rate_hz, lead_s, patience_s
        self._assigned = self._paused = False
        self._began_s: float | None = None
        self._next = 0

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`.

        Raises:
            Enough: the bench is over.
        """
        if not self._assigned:
            self._assigned = True
            logs = {self._log: self._short, self._long_log: self._long}
            self._positions.resolve([LogEnds(log, log.source_id, 0, len(given)) for log, given in logs.items()], None)
            return [Assigned((self._log, self._long_log))]
        if not self._ready():
            return []
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s + self._lead_s
            return [Messages(tuple(self._long))] if self._long else []
        self._note_due(now_s)
        last_s = self._began_s + len(self._short) / self._rate_hz
        if self._short and (len(self._latencies.committed_s) == len(self._short) or now_s > last_s + self._patience_s):
            raise Enough
        if self._paused:
            return []
        given = tuple(self._short[self._next : min(len(self._latencies.due_s), self._next + max_messages)])
        self._next += len(given)
        return [Messages(given)] if given else []

    def _note_due(self, now_s: float) -> None:
        assert self._began_s is not None
        due = min(len(self._short), int((now_s - self._began_s) * self._rate_hz) + 1 if now_s >= self._began_s else 0)
        for number in range(len(self._latencies.due_s), due):
            self._latencies.due_s.append(self._began_s + number / self._rate_hz)

    def pause(self) -> None:
        """See `Source.pause`."""
        self._paused = True

    def resume(self) -> None:
        """See `Source.resume`."""
        self._paused = False

    def recheck(self) -> None:
        """It stays what it is."""

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """See `Source.advise`: how far the lake is."""
        if self._log in positions and self._short:
            self._latencies.committed(positions[self._log])

    def lag(self) -> Mapping[SourcePartition, int]:
        """See `Source.lag`."""
        return {self._log: max(0, min(len(self._short), len(self._latencies.due_s)) - self._next)}

    def close(self) -> None:
        """There is nothing to close."""


def _message(log: SourcePartition, number: int, path: Path) -> Message:
    value = json.dumps({"uri": path.as_uri()}).encode()
    return Message(Origin(*log, number, 0), log.source_id, None, value)
