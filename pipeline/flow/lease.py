"""Leases that wait for a worker: fresh ones, further ranges of what has begun, further segments that are bound to their
workers, suspects, retries that back off, and those that are parked because their place is down.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from operators.records import Origin
from pipeline.flow.calls import Lease
from pipeline.flow.outages import Outages, place_of

RETRY_FIRST_S = 0.5
RETRY_MOST_S = 60.0


def backoff_s(tries: int, rng: random.Random) -> float:
    """Full jitter: uniform in [0, min(60, 0.5 · 2^tries)] seconds (Brooker, "Exponential backoff and jitter")."""
    return rng.uniform(0.0, min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(tries, 16)))


class LeaseQueue:
    """First in, first out, but for suspects (a batch whose worker died, halved) that keep apart from the rest.

    The next segment of what was begun is bound to the worker that has its file open: anyone else would have to decode
    all that lies before it in its range once more. No call has two ranges of one item: they are for several workers,
    and the fewer a worker has open, the less is decoded again after its death.

    `alive` says whether a lease is still wanted; what is not is dropped when its turn comes. `outages` say which
    places are down: what is to be fetched from there is parked when its turn comes.
    """

    def __init__(self, alive: Callable[[Lease], bool], rng: random.Random, outages: Outages) -> None:
        self._alive = alive
        self._rng = rng
        self._outages = outages
        self._fresh: deque[Lease] = deque()
        self._ranges: deque[Lease] = deque()
        self._apart: deque[tuple[Lease, ...]] = deque()
        self._bound: dict[str, deque[Lease]] = {}
        self._delayed: list[tuple[float, int, Lease, str]] = []
        self._parked: dict[str, deque[Lease]] = {}
        self._tick = itertools.count()

    def __len__(self) -> int:
        """Leases that could go now; delayed and parked ones are not counted."""
        return self.unbound + sum(map(len, self._bound.values()))

    @property
    def unbound(self) -> int:
        """Of these, what any worker may take."""
        return self.fresh + len(self._ranges)

    @property
    def fresh(self) -> int:
        """Items that nobody has begun, and suspects."""
        return len(self._fresh) + sum(map(len, self._apart))

    @property
    def ranges(self) -> int:
        """Ranges of what has begun, for any worker."""
        return len(self._ranges)

    def bound(self, worker: str) -> int:
        """Further segments for this worker."""
        return len(self._bound.get(worker, ()))

    @property
    def delayed(self) -> int:
        """Leases that back off."""
        return len(self._delayed)

    @property
    def parked(self) -> int:
        """Leases whose place is down."""
        return sum(map(len, self._parked.values()))

    @property
    def parked_by_place(self) -> Mapping[str, int]:
        """The same, by place."""
        return {place: len(leases) for place, leases in self._parked.items()}

    @property
    def next_due_s(self) -> float | None:
        """When the next delayed lease is due; None where none is."""
        return self._delayed[0][0] if self._delayed else None

    def add(self, lease: Lease) -> None:
        """At the end of its queue."""
        (self._fresh if lease.cursor is None else self._ranges).append(lease)

    def go_on(self, lease: Lease, worker: str) -> None:
        """A further segment, for the worker that gave the one before."""
        self._bound.setdefault(worker, deque()).append(lease)

    def fork(self, leases: Sequence[Lease]) -> None:
        """Further ranges of what was begun: before those of what began later, so that it is ended first."""
        self._ranges.extendleft(reversed(leases))

    @property
    def bound_workers(self) -> tuple[str, ...]:
        """Workers that something is bound to."""
        return tuple(self._bound)

    def take_bound(self, worker: str, most: int) -> tuple[Lease, ...]:
        """Up to `most` leases that are bound to this worker."""
        taken = self._one_an_item(self._bound.get(worker, deque()), most, self._alive)
        if not self._bound.get(worker):
            self._bound.pop(worker, None)
        return taken

    def take_ranges(self, most: int) -> tuple[Lease, ...]:
        """Up to `most` further ranges."""
        return self._one_an_item(self._ranges, most, self._may_go)

    def take_abandoned(self) -> tuple[tuple[str, Lease], ...]:
        """Further segments that nobody wants any more, and the workers that have their files open."""
        gone = [(worker, lease) for worker, bound in self._bound.items() for lease in bound if not self._alive(lease)]
        for worker in {worker for worker, _ in gone}:
            alive = deque(lease for lease in self._bound[worker] if self._alive(lease))
            if alive:
                self._bound[worker] = alive
            else:
                del self._bound[worker]
        return tuple(gone)

    def unbind(self, worker: str) -> None:
        """The worker is gone: whoever is free takes what was bound to it."""
        self._ranges.extendleft(reversed(self._bound.pop(worker, ())))

    def add_apart(self, leases: Sequence[Lease]) -> None:
        """A group that is never mixed with others."""
        if leases:
            self._apart.append(tuple(leases))

    def retry_later(self, lease: Lease, why: str, now_s: float) -> None:
        """Back off by the lease's tries; `why` is for people."""
        due_s = now_s + backoff_s(lease.tries, self._rng)
        heapq.heappush(self._delayed, (due_s, next(self._tick), lease, why))

    def park(self, lease: Lease) -> None:
        """Its place is down: it waits for that."""
        uri = lease.reference.uri
        self._parked.setdefault(self._outages.waits_for(uri) or place_of(uri), deque()).append(lease)

    def wake(self, now_s: float) -> None:
        """Move what is due back into the queue."""
        while self._delayed and self._delayed[0][0] <= now_s:
            self.add(heapq.heappop(self._delayed)[2])

    def unpark(self, now_s: float, most: int) -> None:
        """Move what may go back into the queue: all of a place that is up, else a few, in groups of up to `most`."""
        for place, parked in list(self._parked.items()):
            allowed = self._outages.allow(place, len(parked), now_s)
            if not allowed:
                continue
            alive = deque(lease for lease in parked if self._alive(lease))
            if place in self._outages.down:
                going = [alive.popleft() for _ in range(min(allowed, len(alive)))]
                self._apart.extend(tuple(going[at : at + most]) for at in range(0, len(going), most))
            else:
                for lease in alive:
                    self.add(lease)
                alive.clear()
            if alive:
                self._parked[place] = alive
            else:
                del self._parked[place]

    def take_parked(self) -> tuple[Lease, ...]:
        """What is parked; it is no longer in the queue."""
        leases = tuple(lease for parked in self._parked.values() for lease in parked)
        self._parked.clear()
        return leases

    def each_queued(self) -> Iterator[Lease]:
        """What could go now."""
        yield from self._fresh
        yield from self._ranges
        for group in (*self._apart, *self._bound.values()):
            yield from group

    def each_delayed(self) -> Iterator[tuple[float, Lease, str]]:
        """What backs off: when it is due, and why."""
        return ((due_s, lease, why) for due_s, _, lease, why in self._delayed)

    def each_parked(self) -> Iterator[tuple[str, Lease]]:
        """What waits for a place that is down."""
        return ((place, lease) for place, leases in self._parked.items() for lease in leases)

    def take(self, most: int) -> tuple[Lease, ...]:
        """Up to `most` fresh leases, or one group of suspects."""
        while self._apart:
            group = tuple(lease for lease in self._apart.popleft() if self._alive(lease))
            if group:
                return group
        taken: list[Lease] = []
        while self._fresh and len(taken) < most:
            lease = self._fresh.popleft()
            if self._may_go(lease):
                taken.append(lease)
        return tuple(taken)

    def _one_an_item(self, leases: deque[Lease], most: int, may_go: Callable[[Lease], bool]) -> tuple[Lease, ...]:
        taken: dict[Origin, Lease] = {}
        while leases and len(taken) < most and leases[0].reference.origin not in taken:
            lease = leases.popleft()
            if may_go(lease):
                taken[lease.reference.origin] = lease
        return tuple(taken.values())

    def _may_go(self, lease: Lease) -> bool:
        """Whether it is wanted and its place is not down; else it is parked."""
        if not self._alive(lease):
            return False
        if self._outages.waits_for(lease.reference.uri) is None:
            return True
        self.park(lease)
        return False
