"""A simulated process's work on the lake, one thing at a time: openings, starts, commits.

Each piece of work is a generator that yields how long to wait; between any two of its steps the process may be
killed or put to sleep. The protocol itself is `pipeline.lake.commit`; how a store that fails is outlasted is as in
`pipeline.runtime.desk` and `pipeline.lake.lake`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from operators.errors import InvariantError, StoreUnavailableError
from operators.records import Origin
from pipeline.lake.codec import delta_bytes, parse_delta
from pipeline.lake.commit import Commit, Rules
from pipeline.lake.delta import OutcomeFile
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
    Reason,
    Refused,
    ShardFiltered,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState
from pipeline.lake.store import CreateAnswer, NoSuchFileError
from pipeline.records import Empty, Letter, Predicate, PredicateField, Shard, Span
from pipeline.simulate.faults import Step
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.packer import ShardRow
from pipeline.simulate.store import SimulatedStore

Work = Generator[float, None, None]
MOST_CREATES = 5
POLL_S = 0.05
RETRY_S = 0.5
CHECKPOINT_EVERY = 5
OLD_S = 5.0
"""Whoever goes by age thinks that by then every upload has been committed."""
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
        writer: this process's name, the same in all its lives.
        rules: of the commit.
        reached: is told of each step; raises to kill.
        mistake: that is planted.
    """

    def __init__(
        self,
        store: SimulatedStore,
        writer: str,
        rules: Rules,
        reached: Callable[[Step], None],
        mistake: Mistake | None = None,
    ) -> None:
        self.state = LakeState()
        self.store = store
        self._writer = writer
        self._rules = rules
        self._reached = reached
        self._mistake = mistake
        self._unheard = list[OutcomeFile]()

    # --- reading

    def load(self) -> Work:
        """The newest checkpoint, and what has been committed since.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        yield self.store.soon_s()
        self.store.may_fail()
        newest = max(self.store.checkpoints, default=0)
        state = self.store.checkpoints[newest].copy() if newest else LakeState()
        yield from self._catch_up(state)
        self.state = state

    def refresh(self) -> Work:
        """Read what others have committed since.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        yield from self._catch_up(self.state)

    def _catch_up(self, state: LakeState) -> Work:
        yield self.store.soon_s()
        self.store.may_fail()
        while body := self.store.log.get(version_path(state.version + 1)):
            state.apply(self.store.parsed(body))

    # --- committing

    def commit(self, proposal: Proposal) -> Generator[float, None, Committed]:
        """Run the protocol to its end, however long the store is away.

        Raises:
            StopError: it was refused.
        """
        while True:
            try:
                done = yield from self.try_commit(proposal)
            except StoreUnavailableError:
                yield RETRY_S
                continue
            return done

    def try_commit(self, proposal: Proposal) -> Generator[float, None, Committed]:
        """As `commit`, once: what it came to is not known where the store fails. To propose the same again is safe.

        Raises:
            StopError: it was refused.
            StoreUnavailableError: the store does not answer.
        """
        try:
            done = yield from self._run_beside_vacuum(proposal)
        except StoreUnavailableError:
            yield from self.load()
            raise
        too_old = any(part.reason is Reason.BASE_TOO_OLD for part in done.parts)
        if done.delta is not None or (too_old and self._mistake is not Mistake.HINT_LEFT_LATE):
            yield from self._after_commit()
        return done

    def _run_beside_vacuum(self, proposal: Proposal) -> Generator[float, None, Committed]:
        try:
            done = yield from self._run(proposal)
        except NoSuchFileError:
            yield from self.load()
            named = (shard.path for part in proposal.sealed for shard in part.shards)
            if all(base_of(path) >= self.state.min_base for path in named):
                raise
            done = yield from self._run(proposal)
        return done

    def _after_commit(self) -> Work:
        """Hint and checkpoint: true whenever they come, so whoever dies before leaves them to the next."""
        self._reached(Step.HINT)
        yield self.store.soon_s()
        self.store.write_hint(self.state.version)
        if self.state.version // CHECKPOINT_EVERY > max(self.store.checkpoints, default=0) // CHECKPOINT_EVERY:
            self.store.checkpoint(self.state, truncates=self._mistake is Mistake.LOG_TRUNCATED)
            self.publish_live()

    def publish_live(self) -> None:
        """Write each product's live list, unless a later version's is there."""
        for product in self.state.products:
            if self.store.live.get(product, (0, ()))[0] <= self.state.version:
                files = tuple(self.state.shards[product])
                if self._mistake is Mistake.LIVE_LIST_GROWS:
                    files = tuple(dict.fromkeys((*self.store.live.get(product, (0, ()))[1], *files)))
                self.store.live[product] = (self.state.version, files)

    def _run(self, proposal: Proposal) -> Generator[float, None, Committed]:
        machine = Commit(
            proposal,
            self.state,
            writer=self._writer,
            new_id=self.store.unique,
            now_ms=lambda: int(self.store.timeline.now_s * 1000),
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
                    raise StoreUnavailableError(f"version {action.version} was not taken")
            event = yield from self._do(action)
            action = machine.handle(event)
        return action

    def _do(self, action: Action) -> Generator[float, None, Event]:
        store = self.store
        match action:
            case FilterShard(shard, drop, base, predicates):
                yield store.soon_s()
                store.may_fail()
                self._reached(Step.FILTER)
                return self._filtered(shard, drop, base, predicates)
            case WriteOutcomes(product, letters, empties, base):
                path = outcomes_path(base, store.unique())
                yield from self._write_outcomes(product, path, letters, empties)
                self._reached(Step.OUTCOMES)
                return OutcomesWritten(outcome_file(product, path, letters, empties))
            case CreateVersion(_, path, body):
                self._reached(Step.CREATE)
                answer = _Answer()
                store.create(path, self._named_too(body), answer.hear)
                self._reached(Step.PUT)
                while answer.said is None:
                    yield POLL_S
                self._reached(Step.CREATED)
                return CreateAnswered(answer.said)
            case ReadVersion(_, path):
                body = yield from store.read(path)
                self._reached(Step.READ)
                return VersionRead(body)
            case _:
                raise InvariantError(f"{type(action).__name__} is no action to carry out")

    def _write_outcomes(self, product: str, path: str, letters: tuple[Letter, ...], empties: tuple[Empty, ...]) -> Work:
        try:
            yield from self.store.write_outcomes(path, (letters, empties))
        except StoreUnavailableError:
            if self._mistake is Mistake.OUTCOMES_TWICE and path in self.store.outcomes:
                self._unheard.append(outcome_file(product, path, letters, empties))
            raise

    def _named_too(self, body: bytes) -> bytes:
        """As a mistake, a version names what was written and not heard of, too."""
        if not self._unheard:
            return body
        delta = parse_delta(body)
        both, self._unheard = (*delta.outcomes, *self._unheard), []
        return delta_bytes(replace(delta, outcomes=both, base=replace(delta, outcomes=both).oldest_base))

    # --- shards

    def upload(self, product: str, rows: tuple[ShardRow, ...], base: int) -> Shard:
        """Bring a shard in. Its packer knows no version but the hint.

        Raises:
            StoreUnavailableError: an error, before or after the shard was made.
        """
        shard = self.named(product, rows, base)
        self.store.upload(shard.path, rows)
        return shard

    def named(self, product: str, rows: tuple[ShardRow, ...], base: int) -> Shard:
        """A shard's name and facts."""
        path = shard_path(product, DAY, base, self.store.unique())
        return Shard(product, path, len(rows), len(rows), 1, "00")

    def _filtered(
        self, shard: Shard, drop: Iterable[Span], base: int, predicates: Sequence[Predicate]
    ) -> ShardFiltered:
        if shard.path not in self.store.shards:
            raise NoSuchFileError(shard.path)
        rows = self.store.shards[shard.path]
        gone = {
            (span.log.source_id, span.log.partition, offset)
            for span in drop
            for start, end in span.ranges
            for offset in range(start, end)
        }
        left = tuple(row for row in rows if (row.origin.source_id, row.origin.partition, row.origin.offset) not in gone)
        kept, taken_down = without(left, predicates)
        if kept == rows:
            return ShardFiltered(shard)
        if not kept:
            return ShardFiltered(None, taken_down)
        return ShardFiltered(self.upload(shard.product, kept, base), taken_down)

    # --- vacuum

    def vacuum(self, floor: int) -> Work:
        """Raise the floor, then delete what is older and is named neither at the floor nor by any version since."""
        mistake, store = self._mistake, self.store
        if mistake not in {Mistake.VACUUM_WITHOUT_FLOOR, Mistake.VACUUM_BY_CLOCK}:
            yield from self.commit(Proposal(min_base=floor))
            floor = self.state.min_base
        self.publish_live()
        named = store.named_since(floor)
        before = dict(store.outcomes)
        for files in (store.shards, store.outcomes):
            for path in [path for path in files if path not in named]:
                too_old = store.timeline.now_s - store.born_s.get(path, 0.0) > OLD_S
                if too_old if mistake is Mistake.VACUUM_BY_CLOCK else base_of(path) < floor:
                    del files[path]
        store.deleted |= {path: file for path, file in before.items() if path not in store.outcomes}
        store.land_hint()


def without(
    rows: Iterable[ShardRow], predicates: Iterable[Predicate]
) -> tuple[tuple[ShardRow, ...], frozenset[Origin]]:
    """Rows less those that predicates take down, and the items of those."""
    wanted = set(predicates)
    rows = tuple(rows)
    if not wanted:
        return rows, frozenset()
    down = {
        row.origin
        for row in rows
        if Predicate(PredicateField.URI, row.token.window.uri) in wanted
        or (row.subject is not None and Predicate(PredicateField.SUBJECT_KEY, row.subject) in wanted)
    }
    return tuple(row for row in rows if row.origin not in down), frozenset(down)
