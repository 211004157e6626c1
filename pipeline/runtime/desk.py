"""All work on the lake, one thing at a time on a thread of its own: openings, starts, commits."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from operators.errors import ProductSupersededError, StoreUnavailableError, TransientError
from pipeline.flow.coverage import Coverage
from pipeline.flow.positions import choose_start
from pipeline.graph import LanePlan
from pipeline.lake.delta import Delta, Opening, Start, VoidCount
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Committed, PartResult, Proposal
from pipeline.lake.state import LakeState
from pipeline.records import Predicate, Sealed, Shard, SourcePartition
from pipeline.source.base import LogEnds

RETRY_S, MOST_RETRY_S = 0.5, 15.0
PATIENCE_S = 600.0
"""A store may be away for so long before the run ends; what was sealed is made again then."""
TURN_S = 10.0
"""How long a source waits for an answer; it asks again a second later."""

Answer = TypeVar("Answer")
Policy = Callable[[Sequence[LogEnds]], Mapping[SourcePartition, int]]
"""Where logs of which the lake knows nothing begin; without those that can't be told at present."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """A commit, for the coordinator.

    Attributes:
        parts: what became of each part.
        shards, voids: that this version added.
        positions: by log, the least offset that a running product still owes: what Kafka's lag monitors may hear.
        predicates: what is taken down, as of this version.
        took_s: from the proposal to the settled version.
        conflicts: how many versions of others it met on its way.
    """

    version: int
    parts: tuple[PartResult, ...]
    shards: tuple[Shard, ...]
    voids: tuple[VoidCount, ...]
    positions: Mapping[SourcePartition, int]
    predicates: frozenset[Predicate]
    took_s: float
    conflicts: int = 0


class LakeDesk:
    """See the module. `owed` is for the coordinator's thread; all else waits for its turn."""

    def __init__(
        self, lake: Lake, plans: Sequence[LanePlan], *, keep_added: bool, replayed: frozenset[str] | None = None
    ) -> None:
        self._lake = lake
        self._plans = plans
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lake")
        self._keep_added = keep_added
        self._replayed = replayed
        self._added: list[Delta] = []
        self._known: dict[tuple[SourcePartition, str], tuple[int, tuple[Coverage, ...]]] = {}

    @property
    def base_version(self) -> int:
        """The version that this process knows."""
        return self._lake.state.version

    @property
    def predicates(self) -> frozenset[Predicate]:
        """What is taken down, as of `base_version`. Before the first commit only: later ones tell with their result."""
        return frozenset(self._lake.state.predicates)

    def open_products(self) -> int:
        """Open what the lake does not run yet. Returns the version.

        Raises:
            ProductSupersededError: a higher revision runs.
            ConfigError: another fingerprint needs a higher revision.
        """
        openings = tuple(Opening(item.product, plan.name) for plan in self._plans for item in plan.products)
        return self._thread.submit(lambda: self._lake.commit(Proposal(openings=openings)).version).result()

    def begun(self, source_id: str, keys: Sequence[str]) -> bool:
        """Whether one of these products has a `from` in any log of a source. Blocks for its turn."""
        return self._in_turn(lambda: source_id in _sources(self._lake.refresh(), keys))

    def resolve(self, logs: Sequence[LogEnds], keys: Sequence[str], by_policy: Policy) -> Mapping[SourcePartition, int]:
        """Where a lane reads each log from. Products without a `from` have theirs committed first, all at once.

        A log whose policy can't be told at present is left out. Blocks for its turn.

        Raises:
            StoreUnavailableError: the store does not answer, or a commit has waited for it for too long.
        """
        return self._in_turn(lambda: self._resolve(logs, keys, by_policy))

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

    def _in_turn(self, work: Callable[[], Answer]) -> Answer:
        """Not longer than a poll may take: a commit outlasts a store that is away, a membership does not."""
        future = self._thread.submit(work)
        try:
            return future.result(TURN_S)
        except TimeoutError as error:
            future.cancel()
            raise StoreUnavailableError(f"the lake is busy for {TURN_S:.0f} s") from error

    def _resolve(
        self, logs: Sequence[LogEnds], keys: Sequence[str], by_policy: Policy
    ) -> Mapping[SourcePartition, int]:
        state = self._lake.refresh()
        known = _sources(state, keys)
        committed = {ends.log: {key: state.position(key, ends.log) for key in keys} for ends in logs}
        policy = by_policy([ends for ends in logs if ends.log.source_id not in known])
        starts, reasons = list[Start](), Counter[str]()
        logs = [ends for ends in logs if ends.log.source_id in known or ends.log in policy]
        for ends in logs:
            start = choose_start(
                committed[ends.log],
                source_known=ends.log.source_id in known,
                earliest=ends.earliest,
                by_policy=functools.partial(policy.__getitem__, ends.log),
            )
            starts += [Start(key, ends.log, offset) for key, offset in start.new.items()]
            reasons.update(start.reasons[key].value for key in start.new)
        if starts:
            version = self._lake.commit(Proposal(starts=tuple(starts))).version
            _log.info("starts committed", version=version, logs=len({start.log for start in starts}), **reasons)
        return {ends.log: self._position(ends.log, keys) for ends in logs}

    def _position(self, log: SourcePartition, keys: Sequence[str]) -> int:
        state, positions = self._lake.state, list[int]()
        for key in keys:
            # A `from` that another process committed in between stands; ours was a proposal.
            committed, position = state.start(key, log), state.position(key, log)
            if committed is None or position is None:
                # A closed product gets no `from`: it was superseded while this one was being committed.
                raise ProductSupersededError(f"{key}: a higher revision has closed it; raise `revision` here too")
            self._known[log, key] = (committed, tuple(each.copy() for each in state.coverages(key, log)))
            positions.append(position)
        return min(positions)

    def _commit(self, sealed: tuple[Sealed, ...]) -> CommitResult:
        started_s = time.monotonic()
        committed = self._outlast(Proposal(sealed=sealed, replayed=self._replayed))
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
        predicates, took_s = frozenset(state.predicates), time.monotonic() - started_s
        version, parts = committed.version, committed.parts
        return CommitResult(version, parts, shards, voids, positions, predicates, took_s, committed.conflicts)

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


def _sources(state: LakeState, keys: Sequence[str]) -> frozenset[str]:
    """Those in which one of these products has a `from`."""
    return frozenset(log.source_id for key in keys for log in state.logs(key))
