"""A round: faults, then quiet until everything acknowledged is done, then a count of everything."""

from __future__ import annotations

import functools
import heapq
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError

from infra.services import ServiceUnavailableError
from tests.chaos.audit import Acknowledged, Audit
from tests.chaos.faults import MOST_FAULTS, Strike, begin, draw, possible_faults
from tests.chaos.stage import Stage

PATIENCE_S = 180.0
"""Without any sign of life: on a busy machine the actors of a fresh Ray alone may take minutes."""
MOST_S = 900.0
LOOK_S = 0.5


@dataclass(frozen=True)
class RoundReport:
    """What came of a round.

    Attributes:
        messages: acknowledged since the last round's end.
        recovered_s: from the undoing of the last fault until all was done that had been acknowledged by then.
        took_s: all of it.
        stuck: messages that were not done in time, and only after everything had been started again.
        failures: of the count, by name; empty is good.
    """

    number: int
    strikes: tuple[Strike, ...]
    messages: int
    recovered_s: float
    took_s: float
    stuck: int
    audit: Audit
    failures: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def line(self) -> str:
        """For people."""
        faults = ", ".join(strike.fault for strike in self.strikes)
        count = self.audit.count
        verdict = ", ".join(f"{name} {number}" for name, number in self.failures.items()) or "all there, once"
        counts = f"{count.rows} rows, {count.letters} letters, {count.empties} empties"
        times = f"{self.took_s:5.1f} s, recovered in {self.recovered_s:5.1f} s"
        return f"{self.number:3}  {times}  {self.messages:5} messages; {counts}: {verdict}  [{faults}]"


class Rounds:
    """Plays rounds on a stage.

    Args:
        seed: of what strikes when.
    """

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._rng = random.Random(seed)
        self._possible = possible_faults(stage)
        self._rng.shuffle(self._possible)
        self._before = 0

    def warm_up(self) -> None:
        """Wait until the first messages are done: a run's start is not what is measured.

        Raises:
            TimeoutError: they are not.
        """
        end_s = time.monotonic() + 2 * PATIENCE_S
        while not (first := self._stage.publisher.acknowledged()) and time.monotonic() < end_s:
            time.sleep(LOOK_S)
        while not first or self._left(first):
            if time.monotonic() > end_s:
                self._stage.dump("start")
                raise TimeoutError("the first messages are not done; see the replicas' logs")
            time.sleep(LOOK_S)

    def play(self, number: int) -> RoundReport:
        """One round."""
        stage, began_s = self._stage, time.monotonic()
        strikes = draw(self._rng, len(stage.replicas), self._possible, number)
        self._strike(strikes, began_s)
        calm_s = time.monotonic()
        stuck = self._await(number)
        recovered_s = time.monotonic() - calm_s
        stage.publisher.pause()
        stuck += self._await(number)
        acknowledged = stage.publisher.acknowledged()
        audit = stage.auditor.audit(acknowledged)
        stage.publisher.resume()
        messages, self._before = len(acknowledged) - self._before, len(acknowledged)
        failures = audit.failures | ({"stuck": stuck} if stuck else {})
        took_s = time.monotonic() - began_s
        return RoundReport(number + 1, strikes, messages, recovered_s, took_s, stuck, audit, failures)

    def _strike(self, strikes: tuple[Strike, ...], began_s: float) -> None:
        """Begin and undo each when it is time."""
        plan: list[tuple[float, int, Callable[[], object]]] = []

        def begin_it(number: int, strike: Strike) -> None:
            undo = begin(strike, self._stage)
            due_s = time.monotonic() - began_s + strike.lasts_s
            heapq.heappush(plan, (due_s, MOST_FAULTS + number, lambda: _undo(undo)))

        for number, strike in enumerate(strikes):
            heapq.heappush(plan, (strike.after_s, number, functools.partial(begin_it, number, strike)))
        while plan:
            due_s, _, act = heapq.heappop(plan)
            time.sleep(max(0.0, began_s + due_s - time.monotonic()))
            act()

    def _await(self, number: int) -> int:
        """Wait for what is acknowledged by now. Returns how many messages were not done in time.

        Raises:
            TimeoutError: they were not even done when everything had been killed and started again.
        """
        acknowledged = self._stage.publisher.acknowledged()
        left = self._patiently(acknowledged)
        if not left:
            return 0
        self._stage.dump(f"stuck-{number + 1}")
        print(f"    stuck: {len(left)} messages, e.g. {left[:5]}; all is killed and started again", flush=True)
        for replica in self._stage.replicas:
            replica.send(signal.SIGKILL)
        self._stage.ray.kill_raylet()
        if still := self._patiently(acknowledged):
            raise TimeoutError(f"{len(still)} messages are not done at all, e.g. {still[:5]}")
        return len(left)

    def _patiently(self, acknowledged: Acknowledged) -> list[tuple[str, int, int]]:
        alive, end_s, last_s = (0, 0), 0.0, time.monotonic() + MOST_S
        while left := self._left(acknowledged):
            # A Ray that has yet to come up is nothing that the pipeline could do without.
            now_s, now = time.monotonic(), (len(left), self._stage.ray_starts)
            if now != alive:
                alive, end_s = now, now_s + PATIENCE_S
            if now_s > min(end_s, last_s):
                break
            time.sleep(LOOK_S)
        return left

    def _left(self, acknowledged: Acknowledged) -> list[tuple[str, int, int]]:
        try:
            return self._stage.auditor.uncovered(acknowledged)
        except (OSError, BotoCoreError):  # the store has just come back
            return list(acknowledged)


def _undo(undo: Callable[[], object]) -> None:
    """What was killed may need a second try to come up on a busy machine."""
    try:
        undo()
    except ServiceUnavailableError:
        undo()
