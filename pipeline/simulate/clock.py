"""Virtual time: nothing waits, everything happens in order."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timeline:
    """What happens when. Things due at the same moment happen in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Let something happen in `delay_s`."""
        heapq.heappush(self._due, (self.now_s + delay_s, next(self._order), act))

    def run(self, until_s: float, done: Callable[[], bool] | None = None) -> None:
        """Let time pass, up to `until_s` or until `done`, which is asked after each thing that happens."""
        while self._due and self._due[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._due)
            act()
            if done is not None and done():
                return
        self.now_s = max(self.now_s, until_s)
