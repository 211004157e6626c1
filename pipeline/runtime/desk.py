"""All work on the lake, one thing at a time on a thread of its own: openings, starts, commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from operators.errors import TransientError
from pipeline.flow.coverage import Coverage
from pipeline.flow.positions import choose_start
from pipeline.graph import LanePlan
from pipeline.lake.delta import Delta, Opening, Start, VoidCount
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Committed, PartResult, Proposal
from pipeline.records import Sealed, Shard, SourcePartition
from pipeline.source.base import OffsetAt

RETRY_S, MOST_RETRY_S = 0.5, 15.0
PATIENCE_S = 600.0
"""A store may be away for so long before the run ends; what was sealed is made again then."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """A commit, for the coordinator.

    Attributes:
        parts: what became of each part.
        shards, voids: that this version added.
        positions: by log, the least offset that a running product still owes: what Kafka's lag monitors may hear.
        took_s: from the proposal to the settled version.
    """

    version: int
    parts: tuple[PartResult, ...]
    shards: tuple[Shard, ...]
    voids: tuple[VoidCount, ...]
    positions: Mapping[SourcePartition, int]
    took_s: float


class LakeDesk:
    """See the module. `owed` is for the coordinator's thread; all else waits for its turn."""

    def __init__(self, lake: Lake, plans: Sequence[LanePlan], *, keep_added: bool) -> None:
        self._lake = lake
        self._plans = plans
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lake")
        self._keep_added = keep_added
        self._added: list[Delta] = []
        self._known: dict[tuple[SourcePartition, str], tuple[int, tuple[Coverage, ...]]] = {}

    @property
    def base_version(self) -> int:
        """The version that this process knows."""
        return self._lake.state.version

    def open_products(self) -> int:
        """Open what the lake does not run yet. Returns the version.

        Raises:
            ProductSupersededError: a higher revision runs.
            ConfigError: another fingerprint needs a higher revision.
        """
        openings = tuple(Opening(item.product, plan.name) for plan in self._plans for item in plan.products)
        return self._thread.submit(lambda: self._lake.commit(Proposal(openings=openings)).version).result()

    def start_of(self, log: SourcePartition, keys: Sequence[str], earliest: int, by_policy: Callable[[], int]) -> int:
        """Where a lane reads a log from. A product without a `from` has one committed first. Blocks for its turn."""
        return self._thread.submit(self._start_of, log, keys, earliest, by_policy).result()

    def owed(self, log: SourcePartition, offset: int, keys: Sequence[str]) -> tuple[str, ...]:
        """The products that had no outcome for a message when its log was assigned."""
        owed: list[str] = []
        for key in keys:
            start, coverages = self._known[log, key]
            if offset >= start and not any(coverage.covers(offset) for coverage in coverages):
                owed.append(key)
        return tuple(owed)

    def commit(self, sealed: Sequence[Sealed]) -> Future[CommitResult]:
        """Begin a commit; at most one is under way."""
        return self._thread.submit(self._commit, tuple(sealed))

    @property
    def added(self) -> tuple[Delta, ...]:
        """The versions that this process has committed, where it was asked to keep them: a run without end is not."""
        return tuple(self._added)

    def close(self) -> None:
        """Write the live lists and the card, when all else is done."""
        self._thread.submit(self._lake.publish_live).result()
        self._thread.shutdown()

    def _start_of(self, log: SourcePartition, keys: Sequence[str], earliest: int, by_policy: Callable[[], int]) -> int:
        state = self._lake.refresh()
        start = choose_start(
            {key: state.position(key, log) for key in keys},
            source_known=any(known.source_id == log.source_id for key in keys for known in state.logs(key)),
            earliest=earliest,
            by_policy=by_policy,
        )
        if start.new:
            starts = tuple(Start(key, log, offset) for key, offset in start.new.items())
            self._lake.commit(Proposal(starts=starts))
            state = self._lake.state
            reasons = {key: start.reasons[key].value for key in start.new}
            _log.info("start committed", log=f"{log.source_id}/{log.partition}", offset=start.position, reasons=reasons)
        positions: list[int] = []
        for key in keys:
            # A `from` that another process committed in between stands; ours was a proposal.
            committed, position = state.start(key, log), state.position(key, log)
            assert committed is not None
            assert position is not None
            self._known[log, key] = (committed, tuple(each.copy() for each in state.coverages(key, log)))
            positions.append(position)
        return min(positions)

    def _commit(self, sealed: tuple[Sealed, ...]) -> CommitResult:
        started_s = time.monotonic()
        committed = self._outlast(Proposal(sealed=sealed))
        state = self._lake.state
        logs = {span.log for part in sealed for span in part.covers}
        positions: dict[SourcePartition, int] = {}
        for log in logs:
            found = [state.position(item.product.key, log) for plan in self._plans for item in plan.products]
            positions[log] = min(position for position in found if position is not None)
        delta = committed.delta
        shards, voids = ((), ()) if delta is None else (delta.shards, delta.voids)
        if self._keep_added and committed.delta is not None:
            self._added.append(committed.delta)
        return CommitResult(committed.version, committed.parts, shards, voids, positions, time.monotonic() - started_s)

    def _outlast(self, proposal: Proposal) -> Committed:
        """Commit, however long the store is away. A try that went through unheard is found covered by the next."""
        tries, until_s = 0, time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._lake.commit(proposal)
            except TransientError as error:
                if time.monotonic() >= until_s:
                    raise
                _log.warning("commit tries again", tries=tries + 1, error=str(error))
                time.sleep(min(MOST_RETRY_S, RETRY_S * 2**tries))
                tries += 1


class LanePositions:
    """What a lane's source asks of the lake; see `pipeline.source.base.Positions`."""

    def __init__(self, desk: LakeDesk, plan: LanePlan) -> None:
        self._desk = desk
        self._keys = plan.keys
        self._start: Literal["earliest", "latest"] | datetime = plan.config.start

    def resolve(self, log: SourcePartition, topic: str, earliest: int, latest: int, at_time: OffsetAt | None) -> int:
        """See `Positions.resolve`."""
        del topic

        def by_policy() -> int:
            match self._start:
                case "earliest":
                    return earliest
                case "latest":
                    return latest
                case datetime() as time_:
                    return earliest if at_time is None else at_time(int(time_.timestamp() * 1000))

        return self._desk.start_of(log, self._keys, earliest, by_policy)
