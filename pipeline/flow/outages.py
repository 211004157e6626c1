"""Which places (a bucket, a host) are down, and what becomes of items whose fetch failed in a way that may pass.

A place is judged by the last items that were tried there, each by its latest try. It is down when at least two in a
row failed and either most of the last 32 did or nothing has worked for a window. One object that fails among others
that work is guilty; a place where nothing works blames nobody, however long it takes, up to `outage_most_s`. Where a
lane reads from many hosts with an item or two each, none of them shows that the network is away; so once 32 items in a
row have failed and nothing has worked for some seconds, the lane is cut off from all of them.

While a place is down its items are parked. A single one is let through now and then, as a probe; each success lets
two more through, so that the load comes back within seconds, doubling from round to round, and not all at once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from operators.records import Origin

LAST_ITEMS = 32
LEAST_FAILING = 2
MOST_FAILING_SHARE = 0.5
PROBE_FIRST_S = 1.0
PROBE_MOST_S = 10.0
"""Probes come at twice the distance of the one before, up to this; each between half of it and all of it."""
ALLOWED_A_SUCCESS = 2
EVERYWHERE = "everywhere"
"""Stands for all places together."""
CUT_OFF_S = 5.0
"""Nothing must have worked anywhere for so long, or for the window where that is shorter."""
MOST_PLACES = 4096
"""Of places that are up, what is known of the longest known ones is forgotten above this."""


class AfterFailure(StrEnum):
    """What becomes of an item whose try failed in a way that may pass."""

    RETRY = "retry"
    """It backs off and is tried again."""
    HOLD = "hold"
    """Its place is down: it waits for that, and the try does not count."""
    LETTER = "letter"
    """Its tries are used up while its place works: its own fault. Or nothing works for longer than is waited for."""
    GIVEN_UP = "given_up"
    """Its tries are used up, and its place has been down for longer than is waited for, while others worked."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A place that is down.

    Attributes:
        since_s: when that was found, on the lane's clock.
        error: what the last try there said.
    """

    place: str
    since_s: float
    error: str


@dataclass(slots=True)
class _Place:
    """What is known of a place.

    Attributes:
        fine: of the last items, how many went well before any of `tried`.
        tried: the rest of them, in the order of their latest tries, and whether that went well; empty where all did.
        restored_s: when it was last found to work again.
        given_up_since_s: since when it was down when it was given up.
        allowance: parked leases that may go although it is down.
    """

    fine: int = 0
    tried: dict[Origin, bool] = field(default_factory=dict[Origin, bool])
    worked_s: float | None = None
    down_since_s: float | None = None
    restored_s: float | None = None
    given_up_since_s: float | None = None
    allowance: int = 0
    probes: int = 0
    probe_due_s: float = 0.0

    def note(self, item: Origin, *, fine: bool) -> None:
        if fine and not self.tried:
            self.fine = min(LAST_ITEMS, self.fine + 1)
            return
        self.tried.pop(item, None)
        self.tried[item] = fine
        if self.fine + len(self.tried) > LAST_ITEMS:
            if self.fine:
                self.fine -= 1
            else:
                del self.tried[next(iter(self.tried))]
        if fine and all(self.tried.values()):
            self.fine += len(self.tried)
            self.tried.clear()

    @property
    def mostly_fails(self) -> bool:
        failing = sum(not fine for fine in self.tried.values())
        return failing > MOST_FAILING_SHARE * (self.fine + len(self.tried))

    @property
    def failing_in_a_row(self) -> int:
        count = 0
        for fine in reversed(self.tried.values()):
            if fine:
                break
            count += 1
        return count


class Outages:
    """See the module.

    Args:
        window_s: a place where nothing has worked for so long has lost its good name.
        outage_most_s: a place that is down for longer is given up: its items may become letters again.
        most_tries: transient failures before an item becomes a letter.
        rng: for jitter.
    """

    def __init__(self, window_s: float, outage_most_s: float, most_tries: int, rng: random.Random) -> None:
        self._window_s = window_s
        self._outage_most_s = outage_most_s
        self._most_tries = most_tries
        self._rng = rng
        self._everywhere = _Place()
        self._places = {EVERYWHERE: self._everywhere}
        self._down: dict[str, Outage] = {}

    @property
    def down(self) -> Mapping[str, Outage]:
        """Places that are down."""
        return self._down

    def waits_for(self, uri: str) -> str | None:
        """Which place that is down keeps this reference; None where it may be fetched."""
        if not self._down:
            return None
        place = place_of(uri)
        if place in self._down:
            return place
        return EVERYWHERE if EVERYWHERE in self._down else None

    def was_down(self, uri: str, since_s: float) -> bool:
        """Whether this reference's place is down, or was until some moment after `since_s`; not if it was given up."""
        return any(
            place.down_since_s is not None or (place.restored_s is not None and place.restored_s >= since_s)
            for place in (self._places.get(place_of(uri)), self._everywhere)
            if place is not None
        )

    def worked(self, uri: str, item: Origin, now_s: float) -> None:
        """Its place has answered, if only that there is no such object."""
        name = place_of(uri)
        place = self._known(name)
        place.note(item, fine=True)
        for each in (place, self._everywhere):
            each.worked_s, each.given_up_since_s = now_s, None
        self._everywhere.note(item, fine=True)
        if self._everywhere.down_since_s is not None:
            self._everywhere.restored_s = now_s
            self._up(EVERYWHERE, self._everywhere)
        if place.down_since_s is not None:
            place.allowance += ALLOWED_A_SUCCESS
            place.probes, place.probe_due_s = 0, now_s + PROBE_FIRST_S
            if not place.mostly_fails:
                place.restored_s = now_s
                self._up(name, place)

    def failed(self, uri: str, item: Origin, tries: int, error: str, now_s: float) -> AfterFailure:
        """Its place did not answer, or asked to come later.

        Args:
            uri: of the item.
            item: that was tried.
            tries: that failed and count, this one included.
            error: what it said.
            now_s: the lane's clock.
        """
        name = place_of(uri)
        place = self._known(name)
        place.note(item, fine=False)
        self._judge(name, place, error, now_s, doubted=self._doubted(place, now_s))
        if place.down_since_s is not None:
            return AfterFailure.HOLD
        if place.given_up_since_s is None:
            self._everywhere.note(item, fine=False)
            self._judge(EVERYWHERE, self._everywhere, error, now_s, doubted=self._cut_off(now_s))
            if self._everywhere.down_since_s is not None:
                return AfterFailure.HOLD
        if tries < self._most_tries:
            return AfterFailure.RETRY
        since_s, worked_s = place.given_up_since_s, self._everywhere.worked_s
        others_work = since_s is not None and worked_s is not None and worked_s > since_s
        return AfterFailure.GIVEN_UP if others_work else AfterFailure.LETTER

    def allow(self, place: str, wanted: int, now_s: float) -> int:
        """How many of `wanted` parked leases of a place may go now: all if it is up, else probes and what they won."""
        known = self._places.get(place)
        if known is None or known.down_since_s is None:
            return wanted
        if known.allowance:
            allowed = min(wanted, known.allowance)
            known.allowance -= allowed
            return allowed
        if wanted and now_s >= known.probe_due_s:
            self._next_probe(known, now_s)
            return 1
        return 0

    def _doubted(self, place: _Place, now_s: float) -> bool:
        """Whether this may be more than the fault of an item."""
        silent = place.worked_s is None or now_s - place.worked_s >= self._window_s
        return place.failing_in_a_row >= LEAST_FAILING and (silent or place.mostly_fails)

    def _cut_off(self, now_s: float) -> bool:
        """Whether nothing works any more, wherever it is."""
        worked_s = self._everywhere.worked_s
        silent = worked_s is None or now_s - worked_s >= min(CUT_OFF_S, self._window_s)
        return silent and self._everywhere.failing_in_a_row >= LAST_ITEMS

    def _judge(self, name: str, place: _Place, error: str, now_s: float, *, doubted: bool) -> None:
        """A try has failed there."""
        if place.down_since_s is not None:
            good_s = place.down_since_s if place.worked_s is None else max(place.worked_s, place.down_since_s)
            if now_s - good_s >= self._outage_most_s:
                place.given_up_since_s = place.down_since_s
                self._up(name, place)
            else:
                self._down[name] = Outage(name, place.down_since_s, error)
            return
        if place.given_up_since_s is None and doubted:
            place.down_since_s = now_s
            place.allowance, place.probes = 0, 0
            self._next_probe(place, now_s)
            self._down[name] = Outage(name, now_s, error)

    def _up(self, name: str, place: _Place) -> None:
        place.down_since_s = None
        del self._down[name]

    def _next_probe(self, place: _Place, now_s: float) -> None:
        most_s = min(PROBE_MOST_S, PROBE_FIRST_S * 2.0 ** min(place.probes, 16))
        place.probes += 1
        place.probe_due_s = now_s + self._rng.uniform(most_s / 2, most_s)

    def _known(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            if len(self._places) >= MOST_PLACES:
                self._forget_half()
            place = self._places[name] = _Place()
        return place

    def _forget_half(self) -> None:
        """Of the places that are up, those known for longest."""
        up = [name for name in self._places if name not in self._down and name != EVERYWHERE]
        for name in up[: -(-len(up) // 2)]:
            del self._places[name]


def place_of(uri: str) -> str:
    """What is up or down as one: scheme and bucket or host, with port, without credentials; "" where there is none."""
    scheme, sign, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}" if sign else ""
