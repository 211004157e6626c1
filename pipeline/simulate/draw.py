"""Which faults a seed draws. Each seed has kinds of its own, so that rare ones meet often enough."""

from __future__ import annotations

import random

from pipeline.simulate.faults import Event, Faults, Kind, PutFate, Step

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
    Step.HINT: 10,
    Step.COMMITTED: 8,
    Step.ADVISE: 5,
    Step.ADVISED: 5,
    Step.JOB: 4,
}
"""How often a step is reached in a schedule, roughly: a crash is planned within this."""

_MOST_CHANCE = {
    Kind.PUT: 0.7,
    Kind.READ_FAILED: 0.1,
    Kind.READ_LATE: 0.3,
    Kind.WRITE_FAILED: 0.4,
    Kind.WRITE_UNHEARD: 0.4,
    Kind.HINT_LATE: 0.5,
    Kind.UPLOAD_FAILED: 0.3,
    Kind.UPLOAD_UNHEARD: 0.3,
    Kind.WORKER_DIED: 0.15,
    Kind.VALUE_LOST: 0.15,
    Kind.PACKER_DIED: 0.15,
    Kind.PACKER_DIED_UNHEARD: 0.15,
    Kind.ANSWERED_TWICE: 0.2,
    Kind.REDELIVERED: 0.2,
    Kind.SLOW: 0.2,
}
_SHARE = 0.35
"""Of the schedules, in which a kind may happen."""

_MOST_TIMES = {
    Event.REBALANCE: (0.5, 3),
    Event.ZOMBIE: (0.5, 2),
    Event.BLIP: (0.4, 3),
    Event.DRAIN: (0.4, 1),
    Event.VACUUM: (0.4, 2),
    Event.COMPACTED: (0.25, 3),
    Event.DEPLOY: (0.25, 1),
    Event.OUTAGE: (0.15, 2),
    Event.REPLAY: (0.15, 2),
    Event.CATCH_UP: (0.1, 1),
    Event.BACKFILL: (0.1, 1),
    Event.TAKEDOWN: (0.15, 2),
    Event.COMPACTION: (0.15, 3),
}
"""(Share of the schedules, most times in one.)"""

_TOPIC_FAULTS = (Event.RETENTION, Event.RECREATED, Event.RECREATED_LONGER, Event.TRUNCATED)
_TOPIC_SHARE = 0.3


def draw_faults(rng: random.Random) -> Faults:
    """A schedule's faults: some of all kinds, each more or less often."""
    chances = {kind: most * rng.random() if rng.random() < _SHARE else 0.0 for kind, most in _MOST_CHANCE.items()}
    events = {
        event: rng.randint(1, most) if rng.random() < share else 0 for event, (share, most) in _MOST_TIMES.items()
    }
    if events[Event.DEPLOY]:
        # Letters that outlive their product are what a replay may get wrong.
        events[Event.REPLAY] = max(events[Event.REPLAY], rng.choice((0, 1)))
    events[Event.RETOKENIZE] = events[Event.DEPLOY] * rng.choice((0, 0, 1, 2))
    events[Event.ROLLBACK] = events[Event.DEPLOY] * rng.choice((0, 1))
    for event in _TOPIC_FAULTS:
        events[event] = 0
    if rng.random() < _TOPIC_SHARE:
        events[rng.choice(_TOPIC_FAULTS)] = rng.choice((1, 1, 2))
    if events[Event.VACUUM] and rng.random() < 0.5:
        # Only beside a floor does it matter what packers take for the newest version.
        chances[Kind.HINT_LATE] = 0.6
    fates = [fate for fate in PutFate if fate is not PutFate.FINE and rng.random() < 0.6]
    crashes: dict[Step, set[int]] = {}
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        step = rng.choice((*Step, *[Step.PUT] * 6, Step.CREATED))
        crashes.setdefault(step, set()).add(rng.randint(1, _TYPICAL[step]))
    if Step.PUT in crashes:
        # An author that dies over a put that is on its way for long is rare by chance, and the worst that can be.
        chances[Kind.PUT], fates = max(chances[Kind.PUT], 0.5), [*fates, PutFate.LATE]
    return Faults(rng, chances, events, tuple(fates), crashes)
