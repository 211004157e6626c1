"""What goes wrong in a schedule. Each seed has kinds of its own, so that rare ones meet often enough."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Step(StrEnum):
    """A boundary in a coordinator at which it may be killed: all that it held in memory is gone, with its actors."""

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
    COMMITTED = "commit settled"
    ADVISE = "before Kafka's offsets"
    ADVISED = "after Kafka's offsets"


class PutFate(StrEnum):
    """What a store makes of an exclusive create."""

    FINE = "fine"
    LOST_ANSWER = "put applied, answer lost"
    NEVER = "put never applied, answer unclear"
    LATE = "put lands after its author gave up"
    TWICE = "put applied, and retried into a 412 on its own success"


class Kind(StrEnum):
    """Faults that come by chance."""

    PUT = "put"
    WORKER_DIED = "worker died"
    VALUE_LOST = "value lost"
    PACKER_DIED = "packer died"
    PACKER_DIED_UNHEARD = "packer died after its upload, before its report"
    REBALANCE = "rebalance"
    ZOMBIE = "coordinator slept through a rebalance"
    BLIP = "partition lost and won back"
    DRAIN = "coordinator drained and restarted"
    VACUUM = "vacuum raised the floor"
    SLOW = "call took ten times as long"


class Killed(Exception):  # noqa: N818  no error: an event of the schedule
    """A coordinator is killed at a step."""


_TYPICAL = {
    Step.ASSIGNED: 4,
    Step.STARTS: 2,
    Step.BEGUN: 3,
    Step.ADMITTED: 25,
    Step.SENT: 40,
    Step.ANSWERED: 40,
    Step.PACKED: 20,
    Step.SEALED: 6,
    Step.FILTER: 1,
    Step.OUTCOMES: 4,
    Step.CREATE: 12,
    Step.PUT: 12,
    Step.CREATED: 12,
    Step.READ: 12,
    Step.COMMITTED: 8,
    Step.ADVISE: 5,
    Step.ADVISED: 5,
}
"""How often a step is reached in a schedule, roughly: a crash is planned within this."""


@dataclass(slots=True)
class Faults:
    """One schedule's faults.

    Attributes:
        chances: by kind, the probability each time it could happen; for REBALANCE, ZOMBIE, BLIP, DRAIN and VACUUM,
            how many times it happens.
        put_fates: what an unclear put may come to.
        crashes: by step, the times (counted in the whole world) at which whoever reaches it is killed.
        seen: what did happen.
        calm: nothing goes wrong any more.
    """

    rng: random.Random
    chances: dict[Kind, float]
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
        """Whether the coordinator that reaches this step now is killed at it."""
        self._reached[step] += 1
        if self.calm or self._reached[step] not in self.crashes.get(step, ()):
            return False
        self.seen[f"crash: {step}"] += 1
        return True


def draw_faults(rng: random.Random) -> Faults:
    """A schedule's faults: about half of all kinds, each more or less often."""

    def some(chance: float) -> float:
        return chance * rng.random() if rng.random() < 0.5 else 0.0

    def count(most: int) -> float:
        return float(rng.randint(1, most)) if rng.random() < 0.5 else 0.0

    chances = {
        Kind.PUT: some(0.7),
        Kind.WORKER_DIED: some(0.15),
        Kind.VALUE_LOST: some(0.15),
        Kind.PACKER_DIED: some(0.15),
        Kind.PACKER_DIED_UNHEARD: some(0.15),
        Kind.SLOW: some(0.2),
        Kind.REBALANCE: count(3),
        Kind.ZOMBIE: count(2),
        Kind.BLIP: count(4),
        Kind.DRAIN: count(1),
        Kind.VACUUM: count(2),
    }
    fates = [fate for fate in PutFate if fate is not PutFate.FINE and rng.random() < 0.6]
    crashes: dict[Step, set[int]] = {}
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        step = rng.choice((*Step, Step.PUT, Step.PUT, Step.CREATED))
        crashes.setdefault(step, set()).add(rng.randint(1, _TYPICAL[step]))
    if Step.PUT in crashes:
        # An author that dies over a put that is on its way for long is rare by chance, and the worst that can be.
        chances[Kind.PUT], fates = max(chances[Kind.PUT], 0.5), [*fates, PutFate.LATE]
    return Faults(rng, chances, tuple(fates), crashes)
