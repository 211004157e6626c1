"""The bench's own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of all are not above (nearest rank): no value is made up.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By least squares, in units of y a unit of x; 0.0 of fewer than two different x."""
    count = len(points)
    if count == 0:
        return 0.0
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@dataclass(frozen=True, slots=True)
class Flatness:
    """Whether a curve has stopped to rise, from the last two thirds of it.

    Attributes:
        level: their mean.
        rise: from their begin to their end, by the line through them.
    """

    level: float
    rise: float

    @property
    def share(self) -> float:
        """Rise by level; 0.0 where the curve lies on zero."""
        return self.rise / self.level if self.level else 0.0


def flatness(points: Sequence[tuple[float, float]]) -> Flatness:
    """Of (time, value), ascending by time.

    Raises:
        ValueError: there are none.
    """
    if not points:
        raise ValueError("no points")
    begin, end = points[0][0], points[-1][0]
    late = [(x, y) for x, y in points if x >= begin + (end - begin) / 3]
    return Flatness(sum(y for _, y in late) / len(late), slope(late) * (late[-1][0] - late[0][0]))


def crossover(points: Sequence[tuple[float, float]]) -> float | None:
    """Where a ratio that rises with x first exceeds 1, between the points by the logarithms of both.

    Returns:
        None where it does not.
    """
    before: tuple[float, float] | None = None
    for x, ratio in sorted(points):
        if ratio > 1:
            if before is None or before[1] <= 0:
                return x
            share = -math.log(before[1]) / (math.log(ratio) - math.log(before[1]))
            return math.exp(math.log(before[0]) + share * (math.log(x) - math.log(before[0])))
        before = (x, ratio)
    return None
