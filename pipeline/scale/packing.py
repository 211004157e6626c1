"""Whether so many workers fit onto these nodes at the same time.

Nodes in the same state are counted, not listed: 512 machines of 8 GPUs are one entry until something is placed, so that
30,000 workers take milliseconds. Shares are counted in ten-thousandths, as Ray does: twenty times 0.05 is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

_PARTS = 10_000
"""Of a CPU or a GPU."""

_State = tuple[int, tuple[int, ...]]
"""What is free on a node: parts of CPUs, and parts of each GPU, ascending."""


@dataclass(frozen=True, slots=True)
class Node:
    """One machine's part for us: CPUs (fractions allowed) and whole GPUs."""

    cpus: float
    gpus: int = 0


@dataclass(frozen=True)
class Share:
    """What one worker takes of one node; a GPU number is a fraction below 1 or a whole number.

    Without slots, so that its parts are counted once.
    """

    cpus: float
    gpus: float

    @cached_property
    def cpu_parts(self) -> int:
        """Parts of CPUs."""
        return round(self.cpus * _PARTS)

    @cached_property
    def gpu_parts(self) -> int:
        """Parts of each of its GPUs."""
        return round(min(self.gpus, 1.0) * _PARTS)

    @cached_property
    def gpu_count(self) -> int:
        """On how many GPUs it is."""
        return max(1, round(self.gpus)) if self.gpus > 0 else 0


class Room:
    """What is still free: of these nodes, or as much as in another room."""

    def __init__(self, of: Sequence[Node] | Room) -> None:
        self._free: Counter[_State] = (
            of._free.copy()
            if isinstance(of, Room)
            else Counter((round(node.cpus * _PARTS), (_PARTS,) * node.gpus) for node in of)
        )

    def place(self, share: Share, workers: int = 1) -> int:
        """Put workers where they leave least: on the GPU with least to spare, as Ray does, so that whole ones stay
        whole; without a GPU, on nodes with the fewest.

        Returns:
            For how many there was room.
        """
        left = workers
        while left and (best := self._best(share)) is not None:
            count, after = _fill(best, share, left)
            nodes = min(self._free[best], left // count)
            self._move(best, after, nodes)
            left -= nodes * count
        return workers - left

    def _best(self, share: Share) -> _State | None:
        fitting = [
            (sum(state[1][index] for index in chosen) if chosen else sum(state[1]), state)
            for state in self._free
            if (chosen := _gpus(state, share)) is not None
        ]
        return min(fitting)[1] if fitting else None

    def _move(self, before: _State, after: _State, nodes: int) -> None:
        self._free[before] -= nodes
        if not self._free[before]:
            del self._free[before]
        self._free[after] += nodes

    @property
    def free_gpus(self) -> float:
        """In all."""
        return sum(sum(gpus) * nodes for (_, gpus), nodes in self._free.items()) / _PARTS

    @property
    def most_free_gpu(self) -> float:
        """Of one single GPU."""
        return max((gpus[-1] for _, gpus in self._free if gpus), default=0) / _PARTS

    @property
    def most_free_cpus(self) -> float:
        """Of one single node."""
        return max((cpus for cpus, _ in self._free), default=0) / _PARTS

    def has_gpus(self, share: Share) -> bool:
        """Whether a node has the GPUs, its CPUs left aside."""
        bare = Share(0.0, share.gpus)
        return any(_gpus(state, bare) is not None for state in self._free)


def pack(empty: Room, workers: Iterable[tuple[Share, int]]) -> Room | None:
    """What is left of the room when all these are placed, or None if they don't fit.

    Largest first, GPUs before CPUs (first fit decreasing): placed in turn instead, workers without a GPU take the CPUs
    that the GPUs of their node need.
    """
    room = Room(empty)
    for share, count in sorted(workers, key=lambda each: (-each[0].gpus, -each[0].cpus)):
        if room.place(share, count) < count:
            return None
    return room


@lru_cache(maxsize=1 << 14)
def _gpus(state: _State, share: Share) -> tuple[int, ...] | None:
    """The GPUs of a node that one worker would get, or None if it doesn't fit there."""
    cpus, gpus = state
    if cpus < share.cpu_parts:
        return None
    fitting = tuple(index for index, free in enumerate(gpus) if free >= share.gpu_parts)
    return fitting[: share.gpu_count] if len(fitting) >= share.gpu_count else None


@lru_cache(maxsize=1 << 14)
def _fill(state: _State, share: Share, most: int) -> tuple[int, _State]:
    """As many workers as fit onto one node, at most so many, and what is left of it then."""
    if not share.gpu_count:
        count = min(most, state[0] // share.cpu_parts) if share.cpu_parts else most
        return count, (state[0] - count * share.cpu_parts, state[1])
    count = 0
    while count < most and (following := _take(state, share)) is not None:
        state, count = following, count + 1
    return count, state


@lru_cache(maxsize=1 << 14)
def _take(state: _State, share: Share) -> _State | None:
    """The node with one worker more."""
    chosen = _gpus(state, share)
    if chosen is None:
        return None
    free = [gpu - share.gpu_parts if index in chosen else gpu for index, gpu in enumerate(state[1])]
    return state[0] - share.cpu_parts, tuple(sorted(free))
