"""A lane as the watchdog sees it: what is under way, what waits, and what could be sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.flow.call_times import CallAge, CallTimes
from pipeline.flow.calls import Block
from pipeline.flow.lane import Lane
from pipeline.flow.packline import RESEAL_S
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitReason


@dataclass(frozen=True, slots=True)
class Around:
    """What a lane doesn't know itself.

    Attributes:
        committing_s: for how long a commit has been under way; None while none is.
        commit_every_s: seconds from one commit to the next.
        lag: messages that the source could give, and is not kept from giving.
        nodes_wanted: whether the cluster was asked for machines.
    """

    committing_s: float | None = None
    commit_every_s: float = 0.0
    lag: int = 0
    nodes_wanted: bool = False


@dataclass(frozen=True, slots=True)
class Glance:
    """See the module.

    Attributes:
        calls: under way, those of packers too.
        packers: their names.
        p99_s: by stage, how long its calls take; None while unknown.
        queued: by stage, units that could be sent now (not those that back off or wait for a place that is down).
        ready, free_slots: by stage, workers that take its calls, and calls that could be sent to them.
        waits: by stage, why the next call has not been sent.
        parcels: that wait for packers.
        lost_bytes: that count as held though no window or token holds them; 0 while calls are under way.
        committing_s: for how long a commit has been under way; None while none is.
        commit_every_s: seconds from one commit to the next.
        sealed: whether something waits to be committed.
        held_back_s: for how long what is in flight may lie still for a good reason: until a shard must close, or held
            letters go. Infinite: it waits for a place that is down, or a pause between tries.
        in_flight: messages.
        lag: messages that the source could give, and is not kept from giving.
        nodes_wanted: whether the cluster was asked for machines.
    """

    calls: tuple[CallAge, ...] = ()
    packers: frozenset[str] = frozenset()
    p99_s: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    queued: Mapping[str, int] = field(default_factory=dict[str, int])
    ready: Mapping[str, int] = field(default_factory=dict[str, int])
    free_slots: Mapping[str, int] = field(default_factory=dict[str, int])
    waits: Mapping[str, WaitReason] = field(default_factory=dict[str, WaitReason])
    parcels: int = 0
    lost_bytes: int = 0
    committing_s: float | None = None
    commit_every_s: float = 0.0
    sealed: bool = False
    held_back_s: float = 0.0
    in_flight: int = 0
    lag: int = 0
    nodes_wanted: bool = False

    @property
    def works(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self.parcels or any(self.queued.values()))


def glance(lane: Lane, times: CallTimes, around: Around, now_s: float) -> Glance:
    """Look at a lane. Goes through its queues: not for every round."""
    core, calls = lane.core, times.under_way(now_s)
    stages = (PREPARE, *lane.views)
    queued = {PREPARE: len(lane.prepare.ready)}
    queued |= {product: batcher.batches for product, batcher in lane.tokenize.batchers.items()}
    return Glance(
        calls=calls,
        packers=frozenset(lane.pack.lines),
        p99_s={stage: times.p99_s(stage) for stage in {*stages, *(call.stage for call in calls)}},
        queued=queued,
        ready={stage: core.workers.ready(stage) for stage in stages},
        free_slots={stage: core.workers.free_slots(stage) for stage in stages},
        waits=dict(core.waits),
        parcels=lane.pack.queued,
        lost_bytes=0 if calls else _lost_bytes(lane),
        committing_s=around.committing_s,
        commit_every_s=around.commit_every_s,
        sealed=lane.holds_sealed,
        held_back_s=_held_back_s(lane),
        in_flight=len(core.ledger),
        lag=around.lag,
        nodes_wanted=around.nodes_wanted,
    )


def _lost_bytes(lane: Lane) -> int:
    windows = (piece.block for batcher in lane.tokenize.batchers.values() for piece in batcher.pieces())
    tokens = (parcel.tokens for line in lane.pack.lines.values() for parcel in line.parcels() if parcel.tokens)
    return lane.core.windows.used_bytes - _size(windows) + lane.core.tokens.used_bytes - _size(tokens)


def _size(blocks: Iterable[Block]) -> int:
    """Each once."""
    return sum({id(block): block.size_bytes for block in blocks}.values())


def _held_back_s(lane: Lane) -> float:
    ready, settings = lane.prepare.ready, lane.core.settings
    if ready.delayed or ready.parked:
        return math.inf
    letters_s = settings.failures.window_s if lane.core.failures.held else 0.0
    return letters_s + (settings.seal_age_s + RESEAL_S if lane.pack.holds_rows else 0.0)
