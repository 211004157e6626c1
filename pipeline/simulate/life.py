"""What every simulated process has: a life that may end at any step, and work on the lake, one thing at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from operators.errors import StopError
from pipeline.simulate.desk import Desk, Work
from pipeline.simulate.faults import Killed, Step
from pipeline.simulate.mistakes import rules_for
from pipeline.simulate.world import World

RESTART_S = 3.0


class Living(ABC):
    """See the module.

    Args:
        world: everything around it.
        name: its own, in all its lives.
    """

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self.alive = False
        self._life = 0
        self._asleep_until_s = 0.0

    @abstractmethod
    def _begin(self) -> None:
        """It has just been started, with nothing in memory."""

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether it has nothing to do until something happens."""

    def start(self) -> None:
        """A new process with nothing in memory."""
        self._life += 1
        self.alive = True
        world = self.world
        self.desk = Desk(world.store, self.name, rules_for(world.mistake), self._reached, world.mistake)
        self._work = deque[Work]()
        self._working: Work | None = None
        self._begin()

    def crash(self) -> None:
        """Everything in memory is gone, and the actors with it. What is on its way to the store stays on its way."""
        self._life += 1
        self.alive = False
        self._asleep_until_s = 0.0
        self.world.timeline.after(self.world.rng.uniform(0.1, RESTART_S), self.start)

    def end(self) -> None:
        """It has done what it was for, and does not come back."""
        self._life += 1
        self.alive = False

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while, and know nothing of it afterwards."""
        self._asleep_until_s = self.world.now_s + seconds

    def wake(self) -> None:
        """Stop sleeping."""
        self._asleep_until_s = 0.0

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something in a while, if this life lasts so long."""
        life, timeline = self._life, self.world.timeline

        def fire() -> None:
            if self._life != life:
                return
            if timeline.now_s < self._asleep_until_s:
                timeline.after(self._asleep_until_s - timeline.now_s, fire)
                return
            try:
                act()
            except Killed:
                self.crash()
            except StopError as error:
                self._failed(error)

        timeline.after(delay_s, fire)

    def _failed(self, error: StopError) -> None:
        """The process ends with an error. It is started again, as by whoever looks after it."""
        self.world.broken(f"{self.name}: {error.code}: {error}")
        self.crash()

    def _reached(self, step: Step) -> None:
        if self.world.faults.kills(step):
            raise Killed(step)

    # --- the lake

    @property
    def busy(self) -> bool:
        """Whether something is being done on the lake, or waits for that."""
        return self._working is not None or bool(self._work)

    def submit(self, work: Work) -> None:
        """Do this on the lake, when what was asked for before is done."""
        self._work.append(work)
        if self._working is None:
            self.later(0.0, self._next)

    def _next(self) -> None:
        if self._working is None and self._work:
            self._working = self._work.popleft()
            self._advance()

    def _advance(self) -> None:
        assert self._working is not None
        delay_s = next(self._working, None)
        if delay_s is None:
            self._working = None
            self._next()
        else:
            self.later(delay_s, self._advance)
