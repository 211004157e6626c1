"""Who gets how many workers when several pools want the same few CPUs and GPUs.

Minimums first, one worker at a time in turn; then always to the pool that holds the smallest share by weight (dominant
resource fairness: Ghodsi et al., NSDI 2011). Every worker is placed on a node, and a GPU fraction on one single GPU, so
that what is granted can also start: three of 0.6 on two GPUs can't, although 1.8 is less than 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_EPSILON = 1e-6
"""Twenty times 0.05 is to fit into 1; in floats it does not."""


class GrantReason(StrEnum):
    """Why a pool got what it got."""

    GRANTED = "granted"
    SHORT_OF_CPUS = "short_of_cpus"
    SHORT_OF_GPUS = "short_of_gpus"
    GPU_FRAGMENTED = "gpu_fragmented"
    NEVER_FITS = "never_fits"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine's part for us: CPUs (fractions allowed) and whole GPUs."""

    cpus: float
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a pool would like.

    Attributes:
        workers: how many in all, those that it has included.
        min_workers: given before anybody gets more than the minimum.
        cpus, gpus: of one worker; a GPU number is a fraction below 1 or a whole number.
        weight: twice the weight, twice the share; > 0.

    Raises:
        ValueError: the GPU number is neither, or something is negative.
    """

    workers: int
    min_workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus is a fraction below 1 or a whole number, not {self.gpus}")
        if min(self.workers, self.min_workers, self.cpus, self.gpus) < 0 or self.weight <= 0:
            raise ValueError(f"negative, or without weight: {self}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a pool gets.

    Attributes:
        workers: how many.
        reason: why no more.
        starts: its minimum (or, with none, one worker if it wished for any) is met.
        detail: one line for people; "" where everything was granted.
    """

    workers: int
    reason: GrantReason
    starts: bool
    detail: str = ""


class _Room:
    """What is still free, node by node and GPU by GPU."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.cpus = [node.cpus for node in nodes]
        self.gpus = [[1.0] * node.gpus for node in nodes]

    def place(self, wish: Wish) -> bool:
        """Take one worker's share: of the GPU with least to spare, as Ray does, so that whole ones stay whole; without
        a GPU, where there are fewest.
        """
        spots = [
            (sum(self.gpus[node][i] for i in indexes or range(len(self.gpus[node]))), self.cpus[node], node, indexes)
            for node in range(len(self.cpus))
            if self.cpus[node] + _EPSILON >= wish.cpus and (indexes := self._gpus_for(node, wish.gpus)) is not None
        ]
        if not spots:
            return False
        _, _, node, indexes = min(spots)
        self.cpus[node] -= wish.cpus
        for index in indexes:
            self.gpus[node][index] -= min(wish.gpus, 1.0)
        return True

    def _gpus_for(self, node: int, gpus: float) -> tuple[int, ...] | None:
        """The GPUs of a node that one worker would get, or None."""
        each, count = min(gpus, 1.0), max(1, round(gpus)) if gpus > 0 else 0
        fitting = sorted((free, index) for index, free in enumerate(self.gpus[node]) if free + _EPSILON >= each)
        return tuple(index for _, index in fitting[:count]) if len(fitting) >= count else None

    def why_not(self, wish: Wish) -> tuple[GrantReason, str]:
        """Why `place` refused."""
        free_gpus = [gpu for gpus in self.gpus for gpu in gpus]
        best = max(free_gpus, default=0.0)
        if wish.gpus > 0 and sum(free_gpus) + _EPSILON < wish.gpus:
            return GrantReason.SHORT_OF_GPUS, f"a worker takes {wish.gpus:g} GPU, {sum(free_gpus):.2g} are free"
        if wish.gpus > 0 and all(self._gpus_for(node, wish.gpus) is None for node in range(len(self.cpus))):
            text = f"a worker takes {wish.gpus:g} GPU, {sum(free_gpus):.2g} are free but no more than {best:.2g} on one"
            if wish.gpus > 1:
                text = f"a worker takes {wish.gpus:g} whole GPUs of one node, no node has so many free"
            return GrantReason.GPU_FRAGMENTED, text
        most = max(self.cpus, default=0.0)
        beside = " beside a free GPU" if wish.gpus > 0 else ""
        return (
            GrantReason.SHORT_OF_CPUS,
            f"a worker takes {wish.cpus:g} CPU{beside}, at most {most:.2g} are free on a node",
        )


def allocate(wishes: Mapping[str, Wish], nodes: Sequence[Node]) -> dict[str, Grant]:
    """Share what the nodes have among the pools. Pure; ties go by name.

    Args:
        wishes: by pool, e.g. "image/tokenize".
        nodes: what the pools may use in all, the workers that they have now included; what draining workers still
            hold should be taken off.

    Returns:
        A grant for each wish; never more than wished for.
    """
    room = _Room(nodes)
    totals = (sum(node.cpus for node in nodes) or 1.0, float(sum(node.gpus for node in nodes)) or 1.0)
    granted = dict.fromkeys(sorted(wishes), 0)
    refused: dict[str, tuple[GrantReason, str]] = {}

    def share(name: str) -> tuple[float, str]:
        wish = wishes[name]
        most = max(wish.cpus / totals[0], wish.gpus / totals[1])
        return granted[name] * most / wish.weight, name

    for minimums in (True, False):
        while True:
            open_ = [
                name
                for name, wish in wishes.items()
                if name not in refused
                and granted[name] < (min(wish.min_workers, wish.workers) if minimums else wish.workers)
            ]
            if not open_:
                break
            # Minimums in turn, so that each pool has its first worker before one has its second.
            name = min(open_, key=lambda name: (granted[name], name) if minimums else share(name))
            if room.place(wishes[name]):
                granted[name] += 1
            else:
                refused[name] = _refusal(wishes[name], room, nodes)
    return {name: _grant(wishes[name], granted[name], refused.get(name)) for name in granted}


def _refusal(wish: Wish, room: _Room, nodes: Sequence[Node]) -> tuple[GrantReason, str]:
    """Why not one more, the deepest cause first: it would not fit if everything were free."""
    if _Room(nodes).place(wish):
        return room.why_not(wish)
    reason = f"a worker takes {wish.cpus:g} CPU and {wish.gpus:g} GPU on one node; no node is that large"
    return GrantReason.NEVER_FITS, reason


def _grant(wish: Wish, workers: int, refusal: tuple[GrantReason, str] | None) -> Grant:
    """The answer for one pool."""
    starts = workers >= min(max(1, wish.min_workers), wish.workers)
    if refusal is None:
        return Grant(workers, GrantReason.GRANTED, starts)
    return Grant(workers, refusal[0], starts, f"{workers} of {wish.workers} workers fit: {refusal[1]}")
