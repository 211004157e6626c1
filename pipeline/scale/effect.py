"""What the last growth of a pool brought: more workers are no faster where something that they share is the limit.

Ten workers that read a store which gives 100 a second are as slow together as forty. Their speed falls as their number
rises, which looks like a higher load, which asks for more workers: a pool that only looks at its load climbs to its
limit and makes the store slower still. So the speed before and after is kept, and a growth that brought less than a
fifth of what it should have ends the climb. It is tried again, by a quarter, after a pause that doubles each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

PAUSE_S = 120.0
MOST_PAUSES = 5
CAREFUL = 1.25
"""Growth after one that brought nothing."""
_LEAST_GAIN = 0.2
_MEMORY_S = 60.0


@dataclass(frozen=True, slots=True)
class Effect:
    """See the module.

    Attributes:
        workers, speed: before the last growth; None: there was none.
        after: workers after it.
        items, busy_s: finished since its workers were ready, older ones faded.
        failures: growths in a row that brought nothing.
        since_s: since when it has been known that the last one did not.
        ready_s: when its workers were first seen to be ready.
    """

    workers: int | None = None
    speed: float = 0.0
    after: int = 0
    items: float = 0.0
    busy_s: float = 0.0
    failures: int = 0
    since_s: float | None = None
    ready_s: float | None = None

    def seen(self, items: int, busy_s: float, window_s: float, *, starting: bool, now_s: float) -> Effect:
        """One window more."""
        if self.workers is None or starting:
            return self
        keep = math.exp(-window_s / _MEMORY_S)
        after = replace(
            self,
            items=self.items * keep + items,
            busy_s=self.busy_s * keep + busy_s,
            ready_s=now_s if self.ready_s is None else self.ready_s,
        )
        if not after._known:
            return after
        if after._gained:
            return replace(after, failures=0, since_s=None)
        failures = self.failures + (self.since_s is None)
        return replace(after, failures=failures, since_s=now_s if self.since_s is None else self.since_s)

    def grown(self, workers: int, speed: float, after: int) -> Effect:
        """The pool grows now, from `workers` that do `speed` items a second each."""
        return Effect(workers, speed, after, failures=self.failures)

    def forbids(self, now_s: float) -> bool:
        """Whether a further growth must wait."""
        if self.since_s is None:
            return False
        return now_s - self.since_s < PAUSE_S * 2.0 ** (min(self.failures, MOST_PAUSES) - 1)

    @property
    def earned(self) -> bool:
        """Whether the last growth doubled the pool at least, and brought what it should: the next may be bolder."""
        return self.workers is not None and self.after >= 2 * self.workers and self._known and self._gained

    def is_awaited(self, patience_s: float, now_s: float) -> bool:
        """Whether the last growth can't be judged yet; waited for no longer than `patience_s`."""
        return self.ready_s is not None and not self._known and now_s - self.ready_s < patience_s

    @property
    def _known(self) -> bool:
        """Whether enough has been finished since: about an item a worker, but a hundred tell as much as a thousand."""
        return self.items >= max(8, min(self.after, 100))

    @property
    def _gained(self) -> bool:
        assert self.workers is not None
        before, now = self.workers * self.speed, self.after * self.items / max(self.busy_s, 1e-9)
        return now >= before * (1.0 + _LEAST_GAIN * (self.after / max(1, self.workers) - 1.0))


NO_EFFECT = Effect()
