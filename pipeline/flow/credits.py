"""Room, counted before anything is sent: slots and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from operators.errors import InvariantError


@dataclass(slots=True)
class Credits:
    """A budget of bytes. Reservations are estimates; what is really held replaces them once it is known.

    Because an estimate can be low, `used_bytes` may pass `limit_bytes` by what one round of calls was underestimated;
    nothing more is admitted until it is back below. One reservation is always admitted when nothing is held, so that
    an item larger than the whole budget runs alone instead of never.
    """

    limit_bytes: int
    used_bytes: int = 0
    peak_bytes: int = 0

    def admits(self, size_bytes: int) -> bool:
        """Whether there is room for `size_bytes` more."""
        return self.used_bytes == 0 or self.used_bytes + size_bytes <= self.limit_bytes

    def take(self, size_bytes: int) -> None:
        """Count `size_bytes` as held."""
        self.used_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)

    def give(self, size_bytes: int) -> None:
        """The memory has been released.

        Raises:
            InvariantError: more was given back than taken.
        """
        self.used_bytes -= size_bytes
        if self.used_bytes < 0:
            raise InvariantError(f"{-self.used_bytes} bytes more were given back than taken")


@dataclass(slots=True)
class Valve:
    """Pause with hysteresis: closes at `high`, opens again at `low` (each toggle costs the consumer its prefetch)."""

    low: int
    high: int
    closed: bool = False

    def update(self, level: int) -> bool:
        """Returns whether the valve is closed at this level."""
        self.closed = level >= self.high or (self.closed and level > self.low)
        return self.closed
