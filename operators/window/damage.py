"""Which windows are partial."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def is_partial(damage_s: Iterable[Fraction], start: int, end: int, rate_hz: int, *, last: bool) -> bool:
    """Whether something is missing in [start, end), or, in an item's `last` window, at its end."""
    return any(start <= at_s * rate_hz < end or (last and at_s * rate_hz >= end) for at_s in damage_s)
