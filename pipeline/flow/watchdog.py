"""Says that a lane is stuck, and on what: work is there, nothing finishes, and no good reason is known.

A lane that waits for what it has been told of (a bucket that is down, a pause between tries, letters that are held, a
shard that may still grow) is not stuck. Nor is one whose calls take long: they have `times` times the 99th percentile
of their stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pipeline.flow.glance import Glance
from pipeline.flow.waits import WaitReason


class StallCause(StrEnum):
    """What a lane is stuck on; `explanation` says it in a line."""

    CALL_OVERDUE = "call_overdue"
    PACKER_SILENT = "packer_silent"
    COMMIT_SILENT = "commit_silent"
    CREDITS_LOST = "credits_lost"
    BATCH_OPEN = "batch_open"
    NOT_SENT = "not_sent"
    NO_WORKER = "no_worker"
    SOURCE_SILENT = "source_silent"
    UNKNOWN = "unknown"

    @property
    def explanation(self) -> str:
        """One line for people: what is wrong, and what to look at."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    StallCause.CALL_OVERDUE: "a worker has not answered: it hangs in an operator or a store, or its answer is lost",
    StallCause.PACKER_SILENT: "a packer has not answered: look at the disk of its spool and at the lake's store",
    StallCause.COMMIT_SILENT: "what is sealed is not being committed: look at the lake's store and at the broker",
    StallCause.CREDITS_LOST: "the lane's memory counts as used up though nothing holds it: a fault in mediatok",
    StallCause.BATCH_OPEN: "a batch does not close beside a free worker: a fault in mediatok",
    StallCause.NOT_SENT: "work waits beside a free worker and is not sent: a fault in mediatok",
    StallCause.NO_WORKER: "work waits and no worker becomes ready: look at the cluster",
    StallCause.SOURCE_SILENT: "the source has messages and gives none: look at the broker",
    StallCause.UNKNOWN: "items are in flight, and nothing says what they wait for: a fault in mediatok",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long nothing may finish before that is a stall.

    Attributes:
        times: so many times the 99th percentile of the slowest stage that has work,
        least_s, most_s: within these (the most while its times are unknown).
    """

    times: float = 10.0
    least_s: float = 30.0
    most_s: float = 600.0

    def of(self, p99_s: float | None) -> float:
        """In seconds."""
        return self.most_s if p99_s is None else min(self.most_s, max(self.least_s, self.times * p99_s))


@dataclass(frozen=True, slots=True)
class Stall:
    """A lane is stuck.

    Attributes:
        since_s: when something last finished, on the caller's clock.
        detail: who, what and how long, in a line.
    """

    cause: StallCause
    since_s: float
    detail: str


class Watchdog:
    """See the module. One a lane; the caller brings the time, from any clock that never goes back."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._finished: int | None = None
        self._since_s = 0.0
        self._stall: Stall | None = None

    @property
    def stall(self) -> Stall | None:
        """The present one."""
        return self._stall

    def look(self, finished: int, now_s: float, glance: Callable[[], Glance]) -> bool:
        """A second has passed.

        Args:
            finished: a count that grows with whatever finishes: calls, messages read, commits.
            glance: is asked when nothing has finished for a while.

        Returns:
            Whether a stall has begun or ended: the moment to say so.
        """
        before = self._stall
        if finished != self._finished:
            self._finished, self._since_s, self._stall = finished, now_s, None
        elif now_s - self._since_s >= self._patience.least_s:
            found = self._judge(glance(), now_s - self._since_s)
            if found is None:
                self._stall = None
            elif self._stall is None:
                cause, detail = found
                self._stall = Stall(cause, self._since_s, detail)
        return (before is None) != (self._stall is None)

    def _judge(self, seen: Glance, silent_s: float) -> tuple[StallCause, str] | None:
        """What a lane that has been silent for so long is stuck on; None where that is fine."""
        busy = {call.stage for call in seen.calls} | {stage for stage, units in seen.queued.items() if units}
        patience_s = max((self._patience.of(seen.p99_s.get(stage)) for stage in busy), default=self._patience.least_s)
        if silent_s < patience_s:
            return None
        if seen.calls:
            return _in_calls(seen, patience_s)
        if seen.committing_s is not None:
            return StallCause.COMMIT_SILENT, f"a commit has been under way for {seen.committing_s:.0f} s"
        if seen.sealed and silent_s >= seen.commit_every_s + self._patience.least_s:
            return StallCause.COMMIT_SILENT, "sealed shards wait, and no commit begins"
        if seen.works:
            return self._queued(seen, silent_s)
        if seen.in_flight and not seen.sealed:
            told = f"{seen.in_flight} messages in flight, no call is under way"
            return (StallCause.UNKNOWN, told) if silent_s >= seen.held_back_s + self._patience.least_s else None
        if seen.lag and silent_s >= 2 * self._patience.least_s:
            return StallCause.SOURCE_SILENT, f"{seen.lag} messages to read"
        return None

    def _queued(self, seen: Glance, silent_s: float) -> tuple[StallCause, str] | None:
        """Work waits to be sent, and no call is under way that would make room for it."""
        excused = False
        for stage, units in seen.queued.items():
            told = f"{units} units wait for {stage}"
            if not units:
                continue
            if not seen.ready.get(stage, 0):
                # Machines that were asked for come when they come, and the wait has a name.
                excused = seen.nodes_wanted or silent_s < self._patience.most_s
                if not excused:
                    return StallCause.NO_WORKER, f"{told}, no worker is ready"
            elif seen.waits.get(stage) is WaitReason.NO_BYTES:
                if seen.lost_bytes:
                    return StallCause.CREDITS_LOST, f"{told}, {seen.lost_bytes} bytes are held by nothing"
            elif seen.free_slots.get(stage, 0):
                aging = seen.waits.get(stage) is WaitReason.BATCH_FILLING
                cause = StallCause.BATCH_OPEN if aging else StallCause.NOT_SENT
                return cause, f"{told} beside {seen.free_slots[stage]} free slots"
        if excused:
            return None
        if seen.parcels:
            return StallCause.NOT_SENT, f"{seen.parcels} parcels wait for packers that have nothing to do"
        return StallCause.UNKNOWN, f"{sum(seen.queued.values())} units wait, no call is under way"


def _in_calls(seen: Glance, patience_s: float) -> tuple[StallCause, str] | None:
    """The oldest call under way; while it is within its time nothing else is to blame."""
    oldest = max(seen.calls, key=lambda call: call.age_s)
    if oldest.age_s < patience_s:
        return None
    cause = StallCause.PACKER_SILENT if oldest.who in seen.packers else StallCause.CALL_OVERDUE
    return cause, f"{oldest.who} has had a call of {oldest.stage} for {oldest.age_s:.0f} s"
