"""Simulated upkeep: takedowns and compactions, which replace live files, beside whoever else commits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence

from operators.errors import StoreUnavailableError
from pipeline.lake.delta import OutcomeFile, Rewrite
from pipeline.lake.parts import outcome_file
from pipeline.lake.paths import base_of, outcomes_path
from pipeline.lake.proposal import Proposal
from pipeline.lake.store import NoSuchFileError
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.records import Predicate, Shard
from pipeline.simulate.desk import Work, without
from pipeline.simulate.faults import Step
from pipeline.simulate.life import Living
from pipeline.simulate.packer import ShardRow
from pipeline.simulate.world import World

RETRY_S = 1.0
SMALL_ROWS = 12
"""Shards of up to so many rows together are merged."""


class Upkeep(Living):
    """A command that changes the lake and ends; what fails is begun again."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.done = False

    @property
    def idle(self) -> bool:
        """Whether it has ended."""
        return self.done

    def describe(self) -> str:
        """What it does, for people."""
        return f"{self.name}: done {self.done}"

    def _begin(self) -> None:
        self.submit(self._working_on())

    def _working_on(self) -> Work:
        try:
            yield from self.desk.load()
            yield from self._work_on()
        except StoreUnavailableError:
            self.later(RETRY_S, lambda: self.submit(self._working_on()))
            return
        except NoSuchFileError:
            # Vacuum took what somebody else had replaced meanwhile.
            self.later(RETRY_S, lambda: self.submit(self._working_on()))
            return
        self.done = True
        self.world.faults.seen[f"job done: {self.name.partition(' ')[0]}"] += 1
        self.end()

    @abstractmethod
    def _work_on(self) -> Work:
        """The command, from its start."""

    def _rows(self, shard: Shard) -> Generator[float, None, tuple[ShardRow, ...]]:
        store = self.world.store
        yield store.soon_s()
        store.may_fail()
        if shard.path not in store.shards:
            raise NoSuchFileError(shard.path)
        return store.shards[shard.path]

    def _replaced(self, shards: Sequence[Shard], rows: tuple[ShardRow, ...]) -> Generator[float, None, Rewrite]:
        """These shards become one, without what is taken down."""
        product = shards[0].product
        kept, gone = without(rows, self.desk.state.predicates)
        yield self.world.store.soon_s()
        new = (self.desk.upload(product, kept, self.desk.state.version),) if kept else ()
        self._reached(Step.JOB)
        return Rewrite(product, tuple(shard.path for shard in shards), new, (), len(gone))

    def _commit_rewrites(self, *rewrites: Rewrite) -> Work:
        done = yield from self.desk.try_commit(Proposal(rewrites=rewrites))
        if done.stale_rewrites:
            self.world.faults.seen["rewrite was stale"] += 1
        self._reached(Step.JOB)


class Takedown(Upkeep):
    """`mediatok lake takedown`: predicates first, then every older file in which something of the kind is found."""

    def __init__(self, world: World, name: str, predicates: Sequence[Predicate]) -> None:
        super().__init__(world, f"takedown {name}")
        self._predicates = tuple(predicates)

    def _work_on(self) -> Work:
        yield from self.desk.try_commit(Proposal(predicates=self._predicates))
        self._reached(Step.JOB)
        newest = max(self.desk.state.predicates[predicate] for predicate in self._predicates)
        clean = set[str]()
        while older := list(self._older(newest, clean)):
            for file in older:
                yield from self._without(file, clean)

    def _older(self, version: int, clean: set[str]) -> Iterator[Shard | OutcomeFile]:
        state = self.desk.state
        shards = (shard for shards in state.shards.values() for shard in shards.values())
        for each in (*shards, *state.outcomes.values()):
            if each.path not in clean and base_of(each.path) < version:
                yield each

    def _without(self, file: Shard | OutcomeFile, clean: set[str]) -> Work:
        state = self.desk.state
        if isinstance(file, OutcomeFile):
            yield from self._without_outcomes(file, clean)
            return
        rows = yield from self._rows(file)
        if without(rows, state.predicates)[0] == rows:
            clean.add(file.path)
        elif self.desk.state.is_live(file.product, file.path):
            rewrite = yield from self._replaced([file], rows)
            yield from self._commit_rewrites(rewrite)

    def _without_outcomes(self, file: OutcomeFile, clean: set[str]) -> Work:
        store = self.world.store
        yield store.soon_s()
        store.may_fail()
        if file.path not in store.outcomes:
            raise NoSuchFileError(file.path)
        letters, empties = store.outcomes[file.path]
        gone = taken_down_outcomes(letters, empties, self.desk.state.predicates.keys())
        if not gone:
            clean.add(file.path)
            return
        state = self.desk.state
        if not state.is_live(file.product, file.path):
            return
        kept = (
            tuple(letter for letter in letters if letter.origin not in gone),
            tuple(empty for empty in empties if empty.origin not in gone),
        )
        new = tuple[OutcomeFile, ...]()
        if any(kept):
            path = outcomes_path(state.version, store.unique())
            yield from store.write_outcomes(path, kept)
            new = (outcome_file(file.product, path, *kept),)
        void = {letter.origin for letter in letters if state.has_open_letter(file.product, file.path, letter.origin)}
        void |= {empty.origin for empty in empties}
        opened = state.open_count(file.product, file.path)
        rewrite = Rewrite(file.product, (file.path,), outcomes=new, taken_down=len(gone & void), open_letters=opened)
        yield from self._commit_rewrites(rewrite)


class Compaction(Upkeep):
    """`mediatok lake compact`: neighbouring small shards become one."""

    def _work_on(self) -> Work:
        for product in list(self.desk.state.products):
            group, rows = list[Shard](), tuple[ShardRow, ...]()
            for shard in list(self.desk.state.shards[product].values()):
                group.append(shard)
                rows += yield from self._rows(shard)
                if len(rows) > SMALL_ROWS and len(group) > 1:
                    yield from self._merge(group, rows)
                    group, rows = [], ()
            if len(group) > 1:
                yield from self._merge(group, rows)

    def _merge(self, group: Sequence[Shard], rows: tuple[ShardRow, ...]) -> Work:
        rewrite = yield from self._replaced(group, rows)
        yield from self._commit_rewrites(rewrite)
