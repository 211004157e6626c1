"""How fast something goes, from events in time; and when it was back to its speed after a blow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BEFORE_S = 8.0
"""Over which the speed before a blow is taken."""
LOOK_S = 3.0
"""Over which it must have its speed again."""
SHARE = 0.9
"""Of its former speed, to count as back."""
STEP_S = 0.1


class Curve:
    """What was done up to any time.

    Args:
        events: (seconds, amount), ascending: the amount was done evenly since the event before.
    """

    def __init__(self, events: Sequence[tuple[float, float]]) -> None:
        self._at_s = np.asarray([at_s for at_s, _ in events] or [0.0])
        self._done = np.cumsum([amount for _, amount in events] or [0.0])

    def hz(self, from_s: float, to_s: float) -> float:
        """The mean speed between two times."""
        done = np.interp([from_s, to_s], self._at_s, self._done)
        return float(done[1] - done[0]) / (to_s - from_s)

    def back_s(self, blow_s: float, before_hz: float, now_s: float, late_s: float = 0.0) -> float | None:
        """Seconds from a blow until a time from which on it had its speed for `LOOK_S`; None: not yet, by `now_s`.

        Args:
            late_s: so long what was under way goes on as if nothing had happened; the answer is no less.
        """
        at_s = blow_s + late_s
        while at_s + LOOK_S <= now_s:
            if self.hz(at_s, at_s + LOOK_S) >= SHARE * before_hz:
                return at_s - blow_s
            at_s += STEP_S
        return None


def quantile(values: Sequence[float], share: float) -> float:
    """Of some values, at least one."""
    return float(np.quantile(np.asarray(values), share))
