"""A simulated coordinator's work on the lake, one thing at a time: openings, starts, commits.

Each piece of work is a generator that yields how long to wait; between any two of its steps the coordinator may be
killed or put to sleep. The protocol itself is `pipeline.lake.commit`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from operators.errors import InvariantError
from pipeline.lake.codec import parse_delta
from pipeline.lake.commit import Commit, Rules
from pipeline.lake.parts import outcome_file
from pipeline.lake.paths import base_of, outcomes_path, shard_path, version_path
from pipeline.lake.proposal import (
    Action,
    Committed,
    CreateAnswered,
    CreateVersion,
    Event,
    FilterShard,
    OutcomesWritten,
    Proposal,
    ReadVersion,
    Refused,
    ShardFiltered,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState
from pipeline.lake.store import CreateAnswer
from pipeline.records import Shard, Span
from pipeline.simulate.faults import Step
from pipeline.simulate.packer import ShardRow
from pipeline.simulate.store import SHORT_S, SimulatedStore

Work = Generator[float, None, None]
MOST_CREATES = 5
POLL_S = 0.05
DAY = "2026-11-24"


@dataclass(slots=True)
class _Answer:
    said: CreateAnswer | None = None

    def hear(self, said: CreateAnswer) -> None:
        self.said = said


class Desk:
    """See the module.

    Args:
        store: of the lake.
        writer: this coordinator's name, the same in all its lives.
        rules: of the commit.
        reached: is told of each step; raises to kill.
    """

    def __init__(self, store: SimulatedStore, writer: str, rules: Rules, reached: Callable[[Step], None]) -> None:
        self.state = LakeState()
        self._store = store
        self._writer = writer
        self._rules = rules
        self._reached = reached

    def refresh(self) -> Work:
        """Read what others have committed since."""
        while body := self._store.read(version_path(self.state.version + 1)):
            self.state.apply(parse_delta(body))
        yield self._store.rng.uniform(0.0, SHORT_S)

    def commit(self, proposal: Proposal) -> Generator[float, None, Committed]:
        """Run the protocol to its end.

        Raises:
            StopError: it was refused.
        """
        while True:
            done = yield from self._try(proposal)
            if done is not None:
                return done
            # The store would not take the version: begin from the files again, and propose the same.
            self.state = LakeState()
            yield from self.refresh()

    def upload(self, product: str, rows: tuple[ShardRow, ...]) -> Shard:
        """A shard's name and facts; its rows are the caller's to put."""
        path = shard_path(product, DAY, self.state.version, self._store.unique())
        return Shard(product, path, len(rows), len(rows), 1, "00")

    def vacuum(self, floor: int, *, raises_floor: bool) -> Work:
        """Raise the floor, then delete what is older and no version references. Not to raise it is a mistake."""
        if raises_floor:
            yield from self.commit(Proposal(min_base=floor))
            floor = self.state.min_base
        live = {path for shards in self.state.shards.values() for path in shards} | set(self.state.outcomes)
        for files in (self._store.shards, self._store.outcomes):
            for path in [path for path in files if base_of(path) < floor and path not in live]:
                del files[path]

    def _try(self, proposal: Proposal) -> Generator[float, None, Committed | None]:
        machine = Commit(
            proposal,
            self.state,
            writer=self._writer,
            new_id=self._store.unique,
            now_ms=lambda: int(self._store.timeline.now_s * 1000),
            rules=self._rules,
        )
        creates: dict[int, int] = {}
        action = machine.begin()
        while not isinstance(action, Committed):
            if isinstance(action, Refused):
                raise action.error
            if isinstance(action, CreateVersion):
                creates[action.version] = creates.get(action.version, 0) + 1
                if creates[action.version] > MOST_CREATES:
                    return None
            event = yield from self._do(action)
            action = machine.handle(event)
        return action

    def _do(self, action: Action) -> Generator[float, None, Event]:
        rng = self._store.rng
        match action:
            case FilterShard(shard, drop, base):
                yield rng.uniform(0.0, SHORT_S)
                self._reached(Step.FILTER)
                return ShardFiltered(self._filtered(shard, drop, base))
            case WriteOutcomes(product, letters, empties, base):
                path = outcomes_path(base, self._store.unique())
                self._store.outcomes[path] = (letters, empties)
                yield rng.uniform(0.0, SHORT_S)
                self._reached(Step.OUTCOMES)
                return OutcomesWritten(outcome_file(product, path, letters, empties))
            case CreateVersion(_, path, body):
                self._reached(Step.CREATE)
                answer = _Answer()
                self._store.create(path, body, answer.hear)
                self._reached(Step.PUT)
                while answer.said is None:
                    yield POLL_S
                self._reached(Step.CREATED)
                return CreateAnswered(answer.said)
            case ReadVersion(_, path):
                yield rng.uniform(0.0, SHORT_S)
                body = self._store.read(path)
                self._reached(Step.READ)
                return VersionRead(body)
            case _:
                raise InvariantError(f"{type(action).__name__} is no action to carry out")

    def _filtered(self, shard: Shard, drop: Iterable[Span], base: int) -> Shard | None:
        gone = {
            (span.log.source_id, span.log.partition, offset)
            for span in drop
            for start, end in span.ranges
            for offset in range(start, end)
        }
        rows = self._store.shards.get(shard.path, ())
        left = tuple(row for row in rows if (row.origin.source_id, row.origin.partition, row.origin.offset) not in gone)
        if left == rows:
            return shard
        if not left:
            return None
        path = shard_path(shard.product, DAY, base, self._store.unique())
        self._store.shards[path] = left
        return Shard(shard.product, path, len(left), len(left), 1, "00")
