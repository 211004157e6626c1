"""What goes wrong in a schedule, and whether it does so now."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Step(StrEnum):
    """A boundary in a process at which it may be killed: all that it held in memory is gone, with its actors."""

    ASSIGNED = "assigned"
    STARTS = "before starts are committed"
    BEGUN = "after starts are committed"
    ADMITTED = "message admitted"
    SENT = "call sent"
    ANSWERED = "call answered"
    PACKED = "packer answered"
    SEALED = "sealed taken for a commit"
    FILTER = "shard filtered"
    OUTCOMES = "outcomes written"
    CREATE = "before the version is put"
    PUT = "version put, not answered"
    CREATED = "put answered"
    READ = "version read"
    HINT = "before the hint is written"
    COMMITTED = "commit settled"
    ADVISE = "before Kafka's offsets"
    ADVISED = "after Kafka's offsets"
    JOB = "in the middle of a job"


class PutFate(StrEnum):
    """What a store makes of an exclusive create."""

    FINE = "fine"
    LOST_ANSWER = "put applied, answer lost"
    NEVER = "put never applied, answer unclear"
    CONFLICT = "put answered with 409, nothing written"
    LATE = "put lands after its author gave up"
    TWICE = "put applied, and retried into a 412 on its own success"
    SLOW_ANSWER = "put applied at once, answered late"


class Kind(StrEnum):
    """Faults that come by chance, each time something is done."""

    PUT = "put"
    READ_FAILED = "read or list failed"
    READ_LATE = "read answered late, with what was there before"
    WRITE_FAILED = "outcomes file not written, 5xx"
    WRITE_UNHEARD = "outcomes file written, answered with 5xx"
    HINT_LATE = "hint landed over a newer one"
    UPLOAD_FAILED = "shard not uploaded, 5xx"
    UPLOAD_UNHEARD = "shard uploaded, answered with 5xx"
    WORKER_DIED = "worker died"
    VALUE_LOST = "value lost"
    PACKER_DIED = "packer died"
    PACKER_DIED_UNHEARD = "packer died after its upload, before its report"
    ANSWERED_TWICE = "packer's answer came twice, the second late"
    REDELIVERED = "message given again"
    SLOW = "call took ten times as long"


class Event(StrEnum):
    """Faults, and jobs that race the live work: they come a few times a schedule."""

    REBALANCE = "rebalance"
    ZOMBIE = "coordinator slept through a rebalance"
    BLIP = "partition lost and won back"
    DRAIN = "coordinator drained and restarted"
    VACUUM = "vacuum raised the floor"
    COMPACTED = "compaction removed a message"
    RETENTION = "retention moved a log's start"
    RECREATED = "topic made anew, shorter or as it comes"
    RECREATED_LONGER = "topic made anew, longer than the positions"
    TRUNCATED = "unclean election cut a log"
    DEPLOY = "rolling deploy of a changed product"
    ROLLBACK = "rolled back under a higher revision"
    OUTAGE = "a place of media was down"
    REPLAY = "replay of letters"
    RETOKENIZE = "re-tokenization for a successor"
    CATCH_UP = "catch-up below a product's start"
    BACKFILL = "backfill of a listing"
    TAKEDOWN = "takedown"
    COMPACTION = "compaction of shards"


class Killed(Exception):  # noqa: N818  no error: an event of the schedule
    """A process is killed at a step."""


@dataclass(slots=True)
class Faults:
    """One schedule's faults.

    Attributes:
        chances: by kind, the probability each time it could happen.
        events: how often each happens.
        put_fates: what an unclear put may come to.
        crashes: by step, the times (counted in the whole world) at which whoever reaches it is killed.
        seen: what did happen.
        calm: nothing goes wrong any more.
    """

    rng: random.Random
    chances: dict[Kind, float]
    events: dict[Event, int]
    put_fates: tuple[PutFate, ...]
    crashes: dict[Step, set[int]]
    seen: Counter[str] = field(default_factory=Counter[str])
    calm: bool = False
    _reached: Counter[Step] = field(default_factory=Counter[Step])

    def happens(self, kind: Kind) -> bool:
        """Whether this goes wrong now."""
        chance = self.chances.get(kind, 0.0)
        if self.calm or not chance or self.rng.random() >= chance:
            return False
        self.seen[kind] += 1
        return True

    def put(self) -> PutFate:
        """What becomes of a put."""
        if not self.put_fates or self.calm or self.rng.random() >= self.chances.get(Kind.PUT, 0.0):
            return PutFate.FINE
        fate = self.rng.choice(self.put_fates)
        self.seen[fate] += 1
        return fate

    def kills(self, step: Step) -> bool:
        """Whether the process that reaches this step now is killed at it."""
        self._reached[step] += 1
        if self.calm or self._reached[step] not in self.crashes.get(step, ()):
            return False
        self.seen[f"crash: {step}"] += 1
        return True
