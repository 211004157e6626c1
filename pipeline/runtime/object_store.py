"""Ray's object store: whether the lanes' memory fits into it, and whether it has had to write to disk.

What lies in it is bounded by the lanes' credits (`limits.window_bytes`, `limits.token_bytes`). Ray writes objects to
disk from `SPILL_SHARE` of its store's size on [2.60], and keeps the whole store on disk where /dev/shm is too small for
it: both are slow, and neither is told of in our log.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from operators.errors import ConfigError
from pipeline.config import Config, LaneConfig

SHM = "/dev/shm"  # noqa: S108  named, not written to
SPILL_SHARE = 0.8
"""`object_spilling_threshold`."""
REFUSED_BYTES = 10**10
"""A larger store than this is refused by Ray where /dev/shm is too small, not put on disk."""
PERIOD_S = 10.0
CALM_S = 120.0
"""So long without a byte more to disk ends an episode."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreUse:
    """Of all nodes' stores together, in bytes.

    Attributes:
        used: now.
        spilled: written to disk since they started.
    """

    used: int
    spilled: int


def shm_free_bytes() -> int | None:
    """What /dev/shm has left; None where there is none."""
    try:
        found = os.statvfs(SHM)
    except OSError:
        return None
    return found.f_bsize * found.f_bavail


def lane_bytes(lane: LaneConfig) -> int:
    """What a lane may hold in the store."""
    return lane.limits.window_bytes + lane.limits.token_bytes


def store_notes(config: Config, free_bytes: int | None) -> tuple[str, ...]:
    """What people should know before a local Ray starts; of a cluster that is joined nothing is known.

    Args:
        free_bytes: of /dev/shm.

    Raises:
        ConfigError: Ray would refuse the store's size.
    """
    store_bytes, lanes = config.ray.object_store_bytes, sum(map(lane_bytes, config.lanes.values()))
    if config.ray.address != "local":
        return ()
    notes: list[str] = []
    if free_bytes is not None and store_bytes > free_bytes:
        told = (
            f"ray.object_store_bytes: {_size(store_bytes)}, but {SHM} has {_size(free_bytes)} left; lower it, or make "
            f"{SHM} larger (Docker: --shm-size={_size(store_bytes * 1.1)}; Kubernetes: an emptyDir of medium Memory)"
        )
        if store_bytes > REFUSED_BYTES:
            raise ConfigError(told)
        notes.append(f"{told}: until then Ray's objects lie on disk, which is slow")
    most_bytes = store_bytes * SPILL_SHARE
    if lanes > most_bytes:
        sums = " + ".join(f"{_size(lane_bytes(lane))} ({name})" for name, lane in config.lanes.items())
        notes.append(
            f"lanes may hold {sums} of Ray's object store, which writes to disk from {_size(most_bytes)} on: each gets "
            f"{most_bytes / lanes:.0%} of that; raise ray.object_store_bytes, or lower limits.window_bytes and "
            "limits.token_bytes"
        )
    return tuple(notes)


def lane_share(config: Config) -> float:
    """By how much each lane's budgets are scaled so that a local store holds all of them without a write to disk."""
    if config.ray.address != "local":
        return 1.0
    return min(1.0, config.ray.object_store_bytes * SPILL_SHARE / sum(map(lane_bytes, config.lanes.values())))


class StoreWatch:
    """Reads the stores' use now and then, on a thread of its own, and warns once an episode of writes to disk.

    Args:
        read: asks one node, which asks all others; may take seconds, may raise.
    """

    def __init__(self, read: Callable[[], StoreUse]) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-watch")
        self._reading: Future[StoreUse] | None = None
        self._next_s = 0.0
        self._first: int | None = None
        self._seen = 0
        self._grew_s: float | None = None
        self._failed = False
        self.used_bytes: int | None = None

    def look(self, now_s: float) -> int | None:
        """Never waits. Returns the bytes written to disk since this watch began; None while unknown."""
        if self._reading is not None and self._reading.done():
            self._take(self._reading, now_s)
            self._reading = None
        if self._reading is None and now_s >= self._next_s:
            self._next_s = now_s + PERIOD_S
            self._reading = self._thread.submit(self._read)
        return None if self._first is None else self._seen - self._first

    def close(self) -> None:
        """Look no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self, reading: Future[StoreUse], now_s: float) -> None:
        if (error := reading.exception()) is not None:
            if not self._failed:
                _log.warning("the object store's use is unknown", error=str(error))
            self._failed = True
            return
        use = reading.result()
        self._failed, self.used_bytes = False, use.used
        if self._first is None:
            self._first = self._seen = use.spilled
        # A node that left takes its count with it.
        grown, self._seen = use.spilled - self._seen, max(use.spilled, self._first)
        if grown <= 0:
            return
        if self._grew_s is None or now_s - self._grew_s > CALM_S:
            _log.warning(
                "ray's object store writes to disk: the lanes hold more than it has room for, or others use it too",
                spilled_bytes=grown,
                used_bytes=use.used,
                advice="raise ray.object_store_bytes, or lower limits.window_bytes and limits.token_bytes",
            )
        self._grew_s = now_s


def read_use() -> StoreUse:
    """What the nodes say. About as much work as `ray memory --stats-only`: one call to each node.

    Raises:
        Exception: whatever Ray or gRPC raise where a node does not answer.
    """
    from ray._private import internal_api, state

    stats: Any = internal_api.get_memory_info_reply(state.state, timeout_seconds=PERIOD_S).store_stats
    return StoreUse(stats.object_store_bytes_used, stats.spilled_bytes_total)


def _size(number_bytes: float) -> str:
    return f"{number_bytes / (1 << 30):.2f}GiB" if number_bytes >= 1 << 30 else f"{number_bytes / (1 << 20):.0f}MiB"
