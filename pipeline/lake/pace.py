"""When a coordinator's next commit is due. Pure: times in, times out.

Every commit holds all that was sealed since the last one, so a longer interval costs nothing but the wait. Replicas
that commit to one log get in each other's way once their versions come about as fast as one can be put: then each try
meets somebody else's version and must go round again. So:

- each interval is drawn around its length, and the first one is short: replicas that started together spread;
- a commit that met many versions of others stretches the interval, one that met few shrinks it back;
- a commit takes at most a third of the time, whatever makes it slow, while the stretch allows.

Nobody waits for ever: there is no order among replicas, but each try goes through with a probability that the stretch
keeps from vanishing [128 replicas at 10 s, by the model in tests/bench/pace.py: half of the commits take under 0.8 s,
99 of 100 under 2.2 s; one whose store is four times as slow as that of all others, some 10 to 40 s].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

MOST_STRETCH = 6.0
"""The longest interval, in configured ones."""
STRETCH, SHRINK = 1.25, 0.9
CONFLICTS_BORNE = 4
"""A commit may meet so many versions before it says that the log is crowded: one or two are chance."""
BUSY_SHARE = 1 / 3
"""Of the time that commits may take."""
JITTER = 0.2
"""An interval is drawn from 1 ± this of its length."""


class PaceReason(StrEnum):
    """Why the next commit is due when it is."""

    CONFIGURED = "configured"
    """As configured."""
    CROWDED = "crowded"
    """The last commit met so many versions of others that the interval grew."""
    CALMING = "calming"
    """It met few: the interval shrinks back to what is configured."""
    SLOW = "slow"
    """The last commit took so long that the next must wait for its share of the time."""


@dataclass(frozen=True, slots=True)
class Due:
    """The next commit.

    Attributes:
        at_s: on the caller's clock.
        interval_s: since the last one began.
    """

    at_s: float
    interval_s: float
    reason: PaceReason


class Pace:
    """One coordinator's.

    Args:
        interval_s: as configured.
        draw: gives numbers in [0, 1).
    """

    def __init__(self, interval_s: float, draw: Callable[[], float]) -> None:
        self._configured_s = self._current_s = interval_s
        self._draw = draw

    def first(self, now_s: float) -> Due:
        """The first commit after a start: somewhere within the interval."""
        interval_s = self._configured_s * (1 - self._draw() / 2)
        return Due(now_s + interval_s, interval_s, PaceReason.CONFIGURED)

    def after(self, began_s: float, took_s: float, conflicts: int) -> Due:
        """The next commit, given when the last one began, how long it took and how many versions it met."""
        before_s = self._current_s
        if conflicts > CONFLICTS_BORNE:
            self._current_s = min(before_s * STRETCH, self._configured_s * MOST_STRETCH)
            reason = PaceReason.CROWDED
        else:
            self._current_s = max(before_s * SHRINK, self._configured_s)
            reason = PaceReason.CONFIGURED if before_s == self._configured_s else PaceReason.CALMING
        interval_s = self._current_s * (1 + JITTER * (2 * self._draw() - 1))
        # An outage that has passed says nothing of how long the next commit takes: the stretch bounds this too.
        share_s = min(took_s / BUSY_SHARE, self._configured_s * MOST_STRETCH)
        if share_s > interval_s:
            interval_s, reason = share_s, PaceReason.SLOW
        return Due(began_s + interval_s, interval_s, reason)
