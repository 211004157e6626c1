"""One replica, exact: the production lane under the virtual clock, each reference with its own seconds of work.

What waits, what is in flight and what holds bytes is decided by `flow.lane` alone; here is only how long a call takes.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.records import ContentFacts, MediaReference, Modality, Origin, WindowMeta
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.calls import Action, Block, CallFailure, Forget, Pack, Prepare, PreparedItem, RowSpan, Seal, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitReason
from pipeline.records import Message, Product, Shard
from pipeline.simulate.clock import Timeline
from pipeline.simulate.media import Row, Token, raised
from pipeline.simulate.packer import ShardRow, SimulatedPacker

VIEW = "whole"
PRODUCT = Product(
    "scaled", 1, "5" * 64, Modality.IMAGE, TokenSpec(TokenKind.CODES, Modality.IMAGE, VIEW, ("t",), (2,), "uint16")
)
TOKENIZE = PRODUCT.key
_PACKER = "packer-0"


@dataclass(frozen=True, slots=True)
class Job:
    """A reference's work: seconds to prepare and to tokenize each of its segments, one window a segment."""

    prepare_s: tuple[float, ...]
    tokenize_s: tuple[float, ...]


@dataclass(slots=True)
class Visit:
    """A reference's way: when it was admitted, when its first call began, when its last row was packed."""

    admitted_s: float
    began_s: float | None = None
    prepared_s: float | None = None
    left_s: float | None = None


@dataclass(slots=True)
class Tally:
    """What one stage's workers did since it was last asked."""

    arrived: int = 0
    finished: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class _Worker:
    stage: str
    calls: deque[Prepare | Tokenize] = field(default_factory=deque[Prepare | Tokenize])
    computing: bool = False


class Replica:
    """See the module.

    Args:
        timeline: whose clock it lives by.
        settings: of the lane.
        segment_bytes: what a prepared segment really holds, whatever the settings expect.

    Attributes:
        visits: of each offset.
    """

    def __init__(self, timeline: Timeline, settings: LaneSettings, segment_bytes: int | None = None) -> None:
        self.timeline = timeline
        self.lane = Lane("scaled", {TOKENIZE: VIEW}, [_PACKER], settings, random.Random(0), lambda: 0)  # noqa: S311
        self.visits: list[Visit] = []
        self.tallies = {PREPARE: Tally(), TOKENIZE: Tally()}
        self._jobs: dict[str, Job] = {}
        self._segment_bytes = settings.lease_bytes if segment_bytes is None else segment_bytes
        self._workers: dict[str, _Worker] = {}
        self._hired = 0
        # Seals after each row: how shards fill is not what is asked here.
        self._packer = SimulatedPacker([TOKENIZE], _upload, target_bytes=1)

    # --- from outside ---

    def offer(self, job: Job) -> None:
        """A message with one reference comes now."""
        offset = len(self.visits)
        reference = MediaReference(str(offset), Origin("s", 0, offset, 0))
        self._jobs[reference.uri] = job
        self.visits.append(Visit(self.timeline.now_s))
        self.tallies[PREPARE].arrived += 1
        self.lane.admit(Message(reference.origin, "t", None, None), [reference], [TOKENIZE], self.timeline.now_s)
        self.act()

    def hire(self, stage: str) -> str:
        """One worker more."""
        self._hired += 1
        name = f"{stage}-{self._hired}"
        self._workers[name] = _Worker(stage)
        self.lane.worker_ready(name, [stage])
        self.act()
        return name

    def retire(self, stage: str, count: int) -> None:
        """So many workers fewer; they finish what they have."""
        serving = [
            n for n, each in self._workers.items() if each.stage == stage and self.lane.core.workers.serves(n, stage)
        ]
        for name in serving[len(serving) - count :]:
            self.lane.core.workers.retire(name)
        self._part()

    def kill(self, name: str) -> None:
        """A worker dies with what it has."""
        worker = self._workers.pop(name)
        self.lane.core.workers.remove(name)
        for number, action in enumerate(worker.calls):
            how = CallFailure.WORKER_DIED if number == 0 and worker.computing else CallFailure.WORKER_LEFT
            self.lane.failed(action.call, how, raised())
        self.act()

    def workers(self, stage: str) -> list[str]:
        """Those that take calls."""
        return [
            n for n, each in self._workers.items() if each.stage == stage and self.lane.core.workers.serves(n, stage)
        ]

    @property
    def in_system(self) -> int:
        """References admitted and not settled."""
        return len(self.lane.core.ledger)

    def take(self, stage: str) -> Tally:
        """What was done since the last time."""
        tally, self.tallies[stage] = self.tallies[stage], Tally()
        return tally

    # --- the loop ---

    def act(self) -> None:
        """Send what can be sent."""
        for action in self.lane.actions(self.timeline.now_s):
            if isinstance(action, Prepare | Tokenize):
                self._workers[action.worker].calls.append(action)
                self._next(action.worker)
            else:
                self.timeline.after(0.0, lambda action=action: self._packed(action))
        for sealed in self.lane.take_sealed():
            for span in sealed.covers:
                for start, stop in span.ranges:
                    for offset in range(start, stop):
                        self.visits[offset].left_s = self.timeline.now_s
            self.lane.settled(sealed.product, sealed.covers)
        if self.lane.core.waits.get(TOKENIZE) is WaitReason.BATCH_FILLING:
            self.timeline.after(self.lane.core.settings.batch_wait_s, self.act)

    def _next(self, name: str) -> None:
        """A worker computes one call at a time; the next one's arguments are there already."""
        worker = self._workers[name]
        if worker.computing or not worker.calls:
            return
        worker.computing = True
        action, now_s = worker.calls[0], self.timeline.now_s
        takes_s = self._takes_s(action)
        if isinstance(action, Prepare):
            for lease in action.leases:
                visit = self.visits[lease.reference.origin.offset]
                visit.began_s = now_s if visit.began_s is None else visit.began_s
        self.timeline.after(takes_s, lambda: self._done(name, action, takes_s))

    def _takes_s(self, action: Prepare | Tokenize) -> float:
        if isinstance(action, Prepare):
            return sum(self._jobs[lease.reference.uri].prepare_s[lease.cursor or 0] for lease in action.leases)
        rows = (row for piece in action.pieces for row in piece.block.handle[piece.start : piece.stop])
        return sum(self._jobs[row.uri].tokenize_s[row.start] for row in rows)

    def _done(self, name: str, action: Prepare | Tokenize, took_s: float) -> None:
        worker = self._workers.get(name)
        if worker is None or action.call not in self.lane.core.calls:
            return
        worker.calls.popleft()
        worker.computing = False
        tally = self.tallies[worker.stage]
        tally.busy_s += took_s
        if isinstance(action, Prepare):
            items, block = self._prepare(action)
            tally.finished += len(action.leases)
            self.tallies[TOKENIZE].arrived += len(items)
            self.tallies[PREPARE].arrived += sum(item.cursor is not None for item in items)
            self.lane.prepared(action.call, items, {VIEW: block}, self.timeline.now_s)
        else:
            rows = [row for piece in action.pieces for row in piece.block.handle[piece.start : piece.stop]]
            tally.finished += len(rows)
            self.lane.tokenized(action.call, Block(tuple(Token(TOKENIZE, row) for row in rows), len(rows)))
        self._next(name)
        self._part()
        self.act()

    def _prepare(self, action: Prepare) -> tuple[tuple[PreparedItem, ...], Block]:
        rows: list[Row] = []
        items: list[PreparedItem] = []
        for lease in action.leases:
            uri, segment = lease.reference.uri, lease.cursor or 0
            more = segment + 1 < len(self._jobs[uri].prepare_s)
            if not more:
                self.visits[lease.reference.origin.offset].prepared_s = self.timeline.now_s
            spans: Mapping[str, RowSpan] = {VIEW: RowSpan(len(rows), (WindowMeta(segment, segment + 1),))}
            rows.append(Row(uri, VIEW, segment))
            facts = ContentFacts(version="1", sha256=uri, size_bytes=1)
            items.append(PreparedItem(facts, spans, segment + 1 if more else None))
        return tuple(items), Block(tuple(rows), self._segment_bytes * len(rows))

    def _packed(self, action: Action) -> None:
        assert isinstance(action, Pack | Seal | Forget)
        match action:
            case Pack():
                report = self._packer.add(action.deliveries, action.batches)
            case Seal():
                report = self._packer.seal()
            case Forget():
                report = self._packer.forget(action.logs)
        self.lane.packed(action.call, report)
        self.act()

    def _part(self) -> None:
        """Retired workers that have finished leave."""
        for name in self.lane.core.workers.retired():
            self.lane.core.workers.remove(name)
            self._workers.pop(name, None)


def _upload(product: str, rows: tuple[ShardRow, ...]) -> Shard:
    return Shard(product, "part", len(rows), len(rows), 0, "")
