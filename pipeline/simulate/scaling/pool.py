"""A pool of equal workers as flow: so much work comes, so much is done in a step, the rest waits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.scale.records import PoolMemory, PoolSignals
from pipeline.simulate.scaling.scenario import Stage

_REST = 1e-6
"""Of an item's time: less is not worth a beginning."""


@dataclass(slots=True)
class _Counts:
    """Since the last decision."""

    arrived: float = 0.0
    finished: float = 0.0
    busy_s: float = 0.0


class FluidPool:
    """See the module.

    A step does as many items as its workers have time for, as there are, and as there is room for downstream. The time
    of n items is drawn from a gamma distribution with n times the mean and n times the variance of one, so that it does
    not matter how many are drawn together. Each item's time is spent in full, and no other: what outlasts the step is
    owed to the next ones. So the measured service time is the true one, whether work or workers are scarce.

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
        self._owed_s = 0.0
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
        able_s = self.ready * step_s
        shared = math.inf if self.stage.shared_hz is None else self.stage.shared_hz(now_s) * step_s
        most = max(0.0, min(shared, self.queue, room_items))
        done, busy_s = self._spend(able_s, most)
        if done == shared:  # workers that wait for a store are busy: how else would they know that it is slow?
            busy_s = able_s
        self.queue -= done
        self.busy = busy_s / step_s
        self.busy_s += busy_s
        self._counts.finished += done
        self._counts.busy_s += busy_s
        return done

    def _spend(self, able_s: float, most: float) -> tuple[float, float]:
        """What becomes of so many worker-seconds: items done, at most `most`, and seconds that were worked."""
        busy_s = min(able_s, self._owed_s)
        self._owed_s -= busy_s
        done, service_s = 0.0, self.stage.service_s
        while able_s - busy_s > _REST * service_s and done < most:
            # Whoever is free begins a whole item, even if there is no time left for the whole of it.
            items = min(most - done, max(1.0, (able_s - busy_s) / service_s))
            took_s = self._time_s(items)
            done = most if items == most - done else done + items
            self._owed_s = max(0.0, busy_s + took_s - able_s)
            busy_s = min(able_s, busy_s + took_s)
        return done, busy_s

    def _time_s(self, items: float) -> float:
        """Worker-seconds for so many items, which need not be whole."""
        variance = self.stage.spread**2
        if not variance:
            return items * self.stage.service_s
        return self.stage.service_s * variance * float(self._rng.standard_gamma(items / variance))

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
