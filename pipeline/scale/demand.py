"""What a cluster should have room for: the pools' wishes, where they do not fit, as shapes for its autoscaler.

Ray's autoscaler is told what must fit *in all*, at the same time, in use or not; so one pool's missing worker is asked
for together with every worker there is. Where all wishes fit, nothing is asked for: machines in use stay by themselves,
and idle ones may go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.scale.packing import Share

HOLD_S = 30.0
"""A wish is asked for until it has been granted, or not been had any more, for so long: signals change every second,
machines come in minutes."""

Bundles = Mapping[Share, int]
"""Workers by what one takes."""


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """One pool's turn.

    Attributes:
        share: of one worker.
        present: workers ready, starting or draining: they hold their place.
        wanted: how many there should be, within the configured limits.
        short: whether `wanted` does not fit into what the cluster has now.
    """

    share: Share
    present: int
    wanted: int
    short: bool


@dataclass(slots=True)
class _Asked:
    workers: int
    since_s: float


class Demand:
    """What is asked for, from period to period."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    def update(self, pools: Mapping[str, PoolDemand], now_s: float) -> Bundles:
        """What the cluster should have room for; empty where it has enough.

        Args:
            pools: by name.
            now_s: any clock that never goes back.
        """
        for name, pool in pools.items():
            asked = self._asked.get(name)
            if pool.short and (asked is None or pool.wanted >= asked.workers or now_s - asked.since_s > HOLD_S):
                self._asked[name] = _Asked(pool.wanted, now_s)
            elif asked is not None and now_s - asked.since_s > HOLD_S:
                del self._asked[name]
        if not self._asked:
            return {}
        bundles: Counter[Share] = Counter()
        for name, pool in pools.items():
            asked = self._asked.get(name)
            bundles[pool.share] += max(pool.present, asked.workers if asked else 0)
        return {share: count for share, count in bundles.items() if count}


def joined(demands: Mapping[str, Bundles]) -> Bundles:
    """Of several processes that use the same cluster."""
    total: Counter[Share] = Counter()
    for bundles in demands.values():
        total.update(bundles)
    return dict(total)


def told(bundles: Bundles) -> str:
    """For people: "2 × 1 CPU and 0.5 GPU, 4 × 1 CPU"; "" for none."""
    shapes = sorted(bundles.items(), key=lambda each: (-each[0].gpus, -each[0].cpus))
    return ", ".join(
        f"{count} × {share.cpus:g} CPU" + (f" and {share.gpus:g} GPU" if share.gpus else "") for share, count in shapes
    )
