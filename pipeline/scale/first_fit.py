"""Whether workers start whichever node each of them is put on.

That they fit together is not all: Ray places one worker after the other, by a policy of its own (it fills nodes to
half, then spreads; those without a GPU go to nodes without one as long as these have room), and what is placed stays.
Two workers of 1 CPU on two nodes of 2 leave no room for one of 2. So this counts what it takes to be in the way on
every node, and whether there is so much: a bound that holds for any policy, hence for Ray's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.scale.packing import Node, Room, Share

_PARTS = 10_000
"""Of a CPU or a GPU, as in `packing`."""


def start_order(workers: Iterable[tuple[Share, int]]) -> list[tuple[Share, int]]:
    """Those that are hardest to place first: by GPUs, then CPUs."""
    return sorted(workers, key=lambda each: (-each[0].gpus, -each[0].cpus))


def may_be_stuck(workers: Sequence[tuple[Share, int]], nodes: Sequence[Node]) -> Share | None:
    """The first worker for which there may be no room on any node, if those before it were placed badly.

    Args:
        workers: shares and how many of each, in the order in which they start. Together they fit.

    Returns:
        None: all start, wherever each is put. Else one that may not; that can be a false alarm.
    """
    before: list[tuple[Share, int]] = []
    for share, count in workers:
        if count > 0 and _blocked([*before, (share, count - 1)], share, nodes):
            return share
        before.append((share, count))
    return None


def _blocked(before: Sequence[tuple[Share, int]], share: Share, nodes: Sequence[Node]) -> bool:
    """Whether those before could leave too little of every node on which this one would fit."""
    placed = [(each, count) for each, count in before if count]
    cpu_used = sum(each.cpu_parts * count for each, count in placed)
    gpu_used = sum(each.gpu_parts * each.gpu_count * count for each, count in placed)
    cpu_step = math.gcd(*(each.cpu_parts for each, _ in placed)) or 1
    gpu_step = math.gcd(*(each.gpu_parts for each, _ in placed if each.gpu_count)) or 1
    fitting = Counter(node for node in nodes if Room([node]).place(share))
    cpu_cost = {node: _up(round(node.cpus * _PARTS) - share.cpu_parts + 1, cpu_step) for node in fitting}
    needed = sum(cpu_cost[node] * count for node, count in fitting.items()) if share.cpu_parts else math.inf
    if not share.gpu_count:
        return needed <= cpu_used
    # Some nodes may be blocked by their GPUs instead; those where that saves most CPUs.
    gpu_cost = {node: _gpu_cost(node, share, gpu_step) for node in fitting}
    left = gpu_used
    saved = blocked = 0
    for node in sorted(fitting, key=lambda node: -cpu_cost[node] / gpu_cost[node]):
        count = min(fitting[node], left // gpu_cost[node])
        left -= count * gpu_cost[node]
        blocked += count
        saved += count * cpu_cost[node]
    if blocked == fitting.total():
        return True
    if not share.cpu_parts:
        return False
    # With nodes of several kinds the best choice may be one node better than this.
    saved += max(cpu_cost.values()) if len(fitting) > 1 and left else 0
    return needed - saved <= cpu_used


def _gpu_cost(node: Node, share: Share, step: int) -> int:
    """Parts of this node's GPUs that must be taken to leave too little for one such worker."""
    if share.gpu_parts < _PARTS:
        return node.gpus * _up(_PARTS - share.gpu_parts + 1, step)
    return (node.gpus - share.gpu_count + 1) * step


def _up(parts: int, step: int) -> int:
    """To a multiple of what every worker takes a multiple of."""
    return -(-parts // step) * step
