"""Who gets how many workers when several pools want the same few CPUs and GPUs.

Minimums first, one worker at a time in turn; then always to the lane that holds the smallest share by weight (dominant
resource fairness: Ghodsi et al., NSDI 2011), and in the lane to its slowest stage. So the stages of a lane come out
equally fast: that is the split of the max-min linear program, rounded up stage by stage, since a lane as fast as r
needs ceil(r / speed) workers in each and gets no more than these. Every worker is placed on a node, and a GPU fraction
on one single GPU, so that what is granted can also start: three of 0.6 on two GPUs can't, although 1.8 is less than 2.

One at a time is how it reads; how it runs is a list of all steps in their order and a bisection for how far it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.scale.packing import Node, Room, Share, pack


class GrantReason(StrEnum):
    """Why a pool got what it got."""

    GRANTED = "granted"
    SHORT_OF_CPUS = "short_of_cpus"
    SHORT_OF_GPUS = "short_of_gpus"
    GPU_FRAGMENTED = "gpu_fragmented"
    NEVER_FITS = "never_fits"
    LANE_LIMITED = "lane_limited"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a pool would like.

    Attributes:
        workers: how many in all, those that it has included.
        min_workers: given before anybody gets more than the minimum.
        cpus, gpus: of one worker; a GPU number is a fraction below 1 or a whole number.
        weight: twice the weight, twice the share; > 0.
        lane: pools of one lane share its weight; "": a lane of its own.
        speed: references of the lane that one worker does in a second; 0: unknown, a lane of its own too.

    Raises:
        ValueError: the GPU number is neither, or something is negative.
    """

    workers: int
    min_workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    weight: float = 1.0
    lane: str = ""
    speed: float = 0.0

    def __post_init__(self) -> None:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus is a fraction below 1 or a whole number, not {self.gpus}")
        if min(self.workers, self.min_workers, self.cpus, self.gpus, self.speed) < 0 or self.weight <= 0:
            raise ValueError(f"negative, or without weight: {self}")

    @property
    def share(self) -> Share:
        """Of a node, for one worker."""
        return Share(self.cpus, self.gpus)


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


def allocate(wishes: Mapping[str, Wish], nodes: Sequence[Node]) -> dict[str, Grant]:
    """Share what the nodes have among the pools. Pure; ties go by name.

    Args:
        wishes: by pool, e.g. "image/tokenize".
        nodes: what the pools may use in all, the workers that they have now included; what draining workers still
            hold should be taken off.

    Returns:
        A grant for each wish; never more than wished for.
    """
    sharing = _Sharing(wishes, nodes)
    for steps in (sharing.minimums, sharing.growth):
        sharing.go(steps)
    return sharing.grants()


class _Sharing:
    """One call of `allocate`: what has been granted so far, and to whom nothing more can be."""

    def __init__(self, wishes: Mapping[str, Wish], nodes: Sequence[Node]) -> None:
        self._empty = Room(nodes)
        self._names = sorted(wishes)
        self._wishes = [wishes[name] for name in self._names]
        self._shares = [wish.share for wish in self._wishes]
        self._granted = np.zeros(len(self._names), dtype=np.int64)
        self._refused: set[int] = set()
        self._room = self._empty
        # Of each pool's worker, the part of all CPUs and of all GPUs.
        totals = (sum(node.cpus for node in nodes) or 1.0, float(sum(node.gpus for node in nodes)) or 1.0)
        self._costs = np.array([(wish.cpus / totals[0], wish.gpus / totals[1]) for wish in self._wishes]).reshape(-1, 2)
        # One more than there could be if it were alone: the step that is refused, however large the wish.
        self._most = [min(wish.workers, Room(self._empty).place(wish.share, wish.workers) + 1) for wish in self._wishes]
        lanes: dict[str, list[int]] = {}
        for index, (name, wish) in enumerate(zip(self._names, self._wishes, strict=True)):
            lanes.setdefault(wish.lane if wish.lane and wish.speed else f"{name}\0", []).append(index)
        self._lanes = [lanes[name] for name in sorted(lanes)]

    def go(self, steps: Callable[[], np.ndarray]) -> None:
        """Grant step by step; who is refused once gets nothing more, and the others go on."""
        while len(order := steps()):
            fitting = self._fitting(order)
            self._granted += np.bincount(order[:fitting], minlength=len(self._granted))
            if fitting == len(order):
                return
            self._refused.add(int(order[fitting]))

    def _fitting(self, order: np.ndarray) -> int:
        """How many of the next steps there is room for: as many as the sums allow, or a few fewer, as it mostly is."""
        spent = np.cumsum(np.concatenate(((self._granted @ self._costs)[None], self._costs[order])), axis=0)
        least, most = 0, int((spent[1:] <= 1.0 + _SLACK).all(axis=1).sum()) + 1
        tried, back = most - 1, 1
        while most - least > 1:
            room = self._packed(self._granted + np.bincount(order[:tried], minlength=len(self._granted)))
            if room is not None:
                least, self._room, back = tried, room, 0
            else:
                most = tried
            # Back from the sums in ever larger steps; then between.
            tried = max(least + 1, most - back) if back else (least + most) // 2
            back *= 2
        return least

    def _packed(self, granted: np.ndarray) -> Room | None:
        return pack(self._empty, zip(self._shares, granted.tolist(), strict=True))

    def minimums(self) -> np.ndarray:
        """First workers before second ones, by name."""
        most = [min(wish.min_workers, most) for wish, most in zip(self._wishes, self._most, strict=True)]
        steps = [
            (worker, index)
            for index, count in enumerate(most)
            if index not in self._refused
            for worker in range(int(self._granted[index]), count)
        ]
        return np.array([index for _, index in sorted(steps)], dtype=np.int64)

    def growth(self) -> np.ndarray:
        """The lane with the smallest share next, and in it the slowest stage."""
        shares: list[np.ndarray] = [np.zeros(0)]
        pools: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
        for lane in self._lanes:
            share, pool = self._lane_growth(lane)
            shares.append(share)
            pools.append(pool)
        # Stable: equal shares keep the order of the lanes' names.
        return np.concatenate(pools)[np.argsort(np.concatenate(shares), kind="stable")]

    def _lane_growth(self, lane: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """A lane's further workers in order: what share it has before each, and which pool's it is."""
        stuck = [self._speed(index) * self._granted[index] for index in lane if index in self._refused]
        limit = min(stuck, default=np.inf)
        rates: list[np.ndarray] = []
        pools: list[np.ndarray] = []
        for index in lane:
            if index in self._refused:
                continue
            rate = np.arange(self._granted[index], self._most[index]) * self._speed(index)
            rates.append(rate[rate < limit - 1e-9])
            pools.append(np.full(len(rates[-1]), index))
        if not rates:
            return np.zeros(0), np.zeros(0, dtype=np.int64)
        order = np.argsort(np.concatenate(rates), kind="stable")
        pool = np.concatenate(pools)[order]
        # What a reference costs of the scarcest resource, by weight: so lanes rise together, each by its share.
        speeds = np.array([self._speed(index) for index in lane])
        cost = (self._costs[list(lane)] / speeds[:, None]).sum(axis=0).max() / self._wishes[lane[0]].weight
        return np.concatenate(rates)[order] * cost, pool

    def _speed(self, index: int) -> float:
        return self._wishes[index].speed or 1.0

    def grants(self) -> dict[str, Grant]:
        """The answer."""
        return {name: self._grant(index) for index, name in enumerate(self._names)}

    def _grant(self, index: int) -> Grant:
        wish, workers = self._wishes[index], int(self._granted[index])
        starts = workers >= min(max(1, wish.min_workers), wish.workers)
        if workers == wish.workers:
            return Grant(workers, GrantReason.GRANTED, starts)
        reason, text = self._why_not(wish) if index in self._refused else (GrantReason.LANE_LIMITED, _LANE_LIMITED)
        return Grant(workers, reason, starts, f"{workers} of {wish.workers} workers fit: {text}")

    def _why_not(self, wish: Wish) -> tuple[GrantReason, str]:
        """Why not one more, the deepest cause first: it would not fit if everything were free."""
        room, share = self._room, wish.share
        if not Room(self._empty).place(share):
            text = f"a worker takes {wish.cpus:g} CPU and {wish.gpus:g} GPU on one node; no node is that large"
            return GrantReason.NEVER_FITS, text
        if wish.gpus > 0 and round(room.free_gpus - wish.gpus, 6) < 0:
            text = f"a worker takes {wish.gpus:g} GPU, {room.free_gpus:.2g} are free"
            return GrantReason.SHORT_OF_GPUS, text
        if wish.gpus > 0 and not room.has_gpus(share):
            text = f"a worker takes {wish.gpus:g} whole GPUs of one node, no node has so many free"
            if wish.gpus <= 1:
                free = f"{room.free_gpus:.2g} are free but no more than {room.most_free_gpu:.2g} on one"
                text = f"a worker takes {wish.gpus:g} GPU, {free}"
            return GrantReason.GPU_FRAGMENTED, text
        beside = " beside a free GPU" if wish.gpus > 0 else ""
        most = room.most_free_cpus
        return (
            GrantReason.SHORT_OF_CPUS,
            f"a worker takes {wish.cpus:g} CPU{beside}, at most {most:.2g} are free on a node",
        )


_SLACK = 1e-6
"""Of everything there is: sums of fractions are not exact, places are."""
_LANE_LIMITED = "more would not make its lane faster, another stage can't grow"

__all__ = ["Grant", "GrantReason", "Node", "Wish", "allocate"]
