"""A pool of equal workers as flow: so much work comes, so much is done in a step, the rest waits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.scale.records import PoolMemory, PoolSignals
from pipeline.simulate.scaling.scenario import Stage


@dataclass(slots=True)
class _Counts:
    """Since the last decision."""

    arrived: float = 0.0
    finished: float = 0.0
    busy_s: float = 0.0


class FluidPool:
    """See the module.

    A step does as many items as its workers have time for, as there are, and as there is room for downstream. How long
    items are is drawn once a step for all of them: the mean of n of them varies by spread / root(n). Work that takes
    longer than a step is done bit by bit, so that a worker is busy or not, but never half done when it is retired.

    Attributes:
        queue: items before it.
        ready, starting, draining: workers.
        busy: workers that had work in the last step, on average.
    """

    def __init__(self, stage: Stage, rng: np.random.Generator) -> None:
        self.stage = stage
        self.memory = PoolMemory()
        self.queue = 0.0
        self.ready = stage.workers
        self.busy = 0.0
        self.busy_s = 0.0
        self._starting: list[tuple[float, int]] = []
        self._overrun = 0.0
        self._rng = rng
        self._counts = _Counts()
        self._fractions = {"arrived": 0.0, "finished": 0.0}

    @property
    def starting(self) -> int:
        """Workers that have been asked for and are not ready."""
        return sum(count for _, count in self._starting)

    @property
    def workers(self) -> int:
        """Ready or starting."""
        return self.ready + self.starting

    @property
    def room(self) -> float:
        """Items that may still come."""
        return max(0.0, self.stage.room_items - self.queue)

    def settle(self, now_s: float) -> None:
        """Those whose time has come are ready."""
        self.ready += sum(count for at_s, count in self._starting if at_s <= now_s)
        self._starting = [(at_s, count) for at_s, count in self._starting if at_s > now_s]

    def resize(self, target: int, now_s: float) -> int:
        """Start or stop workers; those that start are stopped first. Returns how many moved, with their sign."""
        change = target - self.workers
        if change > 0:
            self._starting.append((now_s + self.stage.start_s, change))
        elif change < 0:
            self.ready -= self._cancel(-change)
        return change

    def _cancel(self, count: int) -> int:
        """Take so many away from those that start, the latest first; returns how many are left to take."""
        while self._starting and count:
            at_s, last = self._starting.pop()
            if last > count:
                self._starting.append((at_s, last - count))
            count -= min(last, count)
        return count

    def lose(self, share: float) -> None:
        """This share of its workers dies; what they had is done again."""
        lost = int(self._rng.binomial(self.ready, share))
        self.ready -= lost
        self.queue += min(lost * self.stage.unit_items, self._counts.finished)
        self._starting = [(at_s, count - int(self._rng.binomial(count, share))) for at_s, count in self._starting]

    def arrive(self, items: float) -> None:
        """Items come."""
        self.queue += items
        self._counts.arrived += items

    def work(self, room_items: float, step_s: float, now_s: float) -> float:
        """One step. Returns the items that were finished."""
        stage = self.stage
        able_s = self.ready * step_s
        able = self._able_items(able_s)
        shared = math.inf if stage.shared_hz is None else stage.shared_hz(now_s) * step_s
        done = max(0.0, min(able, shared, self.queue, room_items))
        # Workers that wait for a store are busy: how else would they know that it is slow?
        busy_s = able_s if done in (able, shared) else min(able_s, done * stage.service_s)
        self.queue -= done
        self.busy = busy_s / step_s
        self.busy_s += busy_s
        self._counts.finished += done
        self._counts.busy_s += busy_s
        return done

    def _able_items(self, able_s: float) -> float:
        """What its workers can do in so many worker-seconds: as many renewals, with their mean and variance."""
        mean = able_s / self.stage.service_s
        able = mean + self.stage.spread * math.sqrt(mean) * float(self._rng.standard_normal()) - self._overrun
        # A long item that outlasts the step is worked on in the next ones.
        self._overrun = max(0.0, -able)
        return max(0.0, able)

    def rest(self) -> None:
        """A step in which it may do nothing."""
        self.busy = 0.0

    def signals(self, upstream_items: float, lag_items: float, window_s: float) -> PoolSignals:
        """What a decision sees; counts begin anew."""
        counts, self._counts = self._counts, _Counts()
        return PoolSignals(
            queued_items=int(self.queue),
            queued_units=math.ceil(int(self.queue) / self.stage.unit_items),
            in_flight_units=math.ceil(self.busy),
            upstream_items=int(upstream_items),
            workers_ready=self.ready,
            workers_starting=self.starting,
            workers_draining=0,
            arrived_items=self._whole("arrived", counts.arrived),
            finished_items=self._whole("finished", counts.finished),
            busy_s=counts.busy_s,
            window_s=window_s,
            lag_items=int(lag_items),
        )

    def _whole(self, name: str, items: float) -> int:
        """Whole items; the fraction is counted next time."""
        whole, self._fractions[name] = divmod(self._fractions[name] + items, 1.0)
        return int(whole)
