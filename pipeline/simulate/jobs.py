"""Simulated jobs: processes that work on what the lake or a log has already, beside the live ones, and then end."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from operators.errors import (
    SourceUnavailableError,
    StopError,
    StoreUnavailableError,
    TopicRecreatedError,
    TransientError,
)
from operators.records import MediaReference, Origin, VoidReason
from pipeline.flow.calls import Item
from pipeline.lake.gather import Offsets
from pipeline.lake.items import Place
from pipeline.lake.outcomes import outcome_bytes
from pipeline.lake.proposal import Proposal
from pipeline.lake.remade import remade_message
from pipeline.lake.replay import Replay
from pipeline.lake.store import LakeStore, NoSuchFileError
from pipeline.records import Letter, SealKind, SourcePartition, Task
from pipeline.refs.parse import parse
from pipeline.simulate.broker import SimulatedLog
from pipeline.simulate.desk import Work
from pipeline.simulate.faults import Step
from pipeline.simulate.mistakes import Mistake, kind_for
from pipeline.simulate.packer import ShardRow
from pipeline.simulate.process import SimulatedProcess
from pipeline.simulate.publish import TOPIC
from pipeline.simulate.store import SimulatedStore
from pipeline.simulate.world import World

TASKS_A_ROUND = 4


class Job(SimulatedProcess):
    """A process that ends when it has done all that there was when it began; killed before, it begins again."""

    def __init__(self, world: World, name: str, kind: SealKind) -> None:
        super().__init__(world, name, kind_for(world.mistake, kind))
        self.done = False
        self._survey_done = False

    @property
    def idle(self) -> bool:
        """Whether it has ended."""
        return self.done

    def _begin_reading(self) -> None:
        self._survey_done = False
        self.submit(self._surveying())

    def _surveying(self) -> Work:
        try:
            yield from self._survey()
        except TransientError:
            self.later(1.0, lambda: self.submit(self._surveying()))
            return
        except StopError as error:
            self._stop(error)
            return
        self._reached(Step.JOB)
        self._survey_done = True

    def _feed(self) -> None:
        if self._survey_done:
            self._give()

    @abstractmethod
    def _give(self) -> None:
        """A round: give the lane some of what there is to do."""

    @abstractmethod
    def _survey(self) -> Work:
        """Find out what there is to do."""

    @property
    @abstractmethod
    def _exhausted(self) -> bool:
        """Whether everything was given to the lane."""

    def _round(self) -> None:
        if self._survey_done and self._exhausted and self.rests and self.error is None:
            self._finished()
            self.done = True
            self.world.faults.seen[f"job done: {self.name.partition(' ')[0]}"] += 1
            self.end()
            return
        super()._round()

    def _rows(self, path: str) -> tuple[ShardRow, ...]:
        if path not in self.world.store.shards:
            raise NoSuchFileError(path)
        return self.world.store.shards[path]

    def _finished(self) -> None:
        """Everything is committed."""

    def _failed(self, error: StopError) -> None:
        if isinstance(error, NoSuchFileError):
            # Vacuum took what a rewrite had replaced: as in production, the command is given again.
            self.world.faults.seen["job met vacuum"] += 1
            self.crash()
        else:
            super()._failed(error)


class _Files:
    """The store, as far as `Replay` needs one."""

    def __init__(self, store: SimulatedStore) -> None:
        self._store = store

    def read(self, path: str) -> bytes:
        self._store.may_fail()
        if path not in self._store.outcomes:
            raise NoSuchFileError(path)
        return outcome_bytes(*self._store.outcomes[path])


def _all(letter: Letter) -> bool:
    del letter
    return True


class ReplayJob(Job):
    """`mediatok dlq replay`: all open letters of the config's products."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, f"replay {name}", SealKind.REPLAY)
        self._replay: Replay | None = None
        self._tasks = deque[Task]()
        self._at_end = False

    def _survey(self) -> Work:
        self._tasks, self._at_end = deque[Task](), False
        yield from self.desk.refresh()
        state = self.desk.state
        keys = {product.name: product.key for product in self.products}
        if self.world.mistake is Mistake.LETTERS_LEFT:
            state = state.copy()
            for path in [path for path, file in state.outcomes.items() if file.product not in keys.values()]:
                for files in state.letters.values():
                    files.pop(path, None)
        store = cast("LakeStore", _Files(self.world.store))
        self._replay = Replay(store, state, keys, _all, self._rows_of)

    def _rows_of(self, key: str, messages: Offsets) -> dict[Place, set[int]]:
        found: dict[Place, set[int]] = {}
        for path in self.desk.state.shards.get(key, ()):
            for row in self._rows(path):
                log = SourcePartition(row.origin.source_id, row.origin.partition)
                if row.origin.offset in messages.get(log, ()):
                    found.setdefault((log, row.origin.offset), set()).add(row.origin.item)
        return found

    def _replayed(self) -> frozenset[str] | None:
        return None if self._replay is None else frozenset(self._replay.files)

    @property
    def _exhausted(self) -> bool:
        return self._at_end and not self._tasks

    def _give(self) -> None:
        assert self._replay is not None
        if not self._tasks:
            try:
                found = self._replay.next()
            except StoreUnavailableError:
                return
            self._at_end = found is None
            self._tasks.extend(found or ())
        for _ in range(min(len(self._tasks), TASKS_A_ROUND)):
            task = self._tasks.popleft()
            items = parse(task.message).items
            self.lane.admit(task.message, items, task.products, self.world.now_s, task.wanted)
            self._reached(Step.ADMITTED)


class RetokenizeJob(Job):
    """`mediatok lake retokenize`: what predecessors have rows of, once more for the successor, in original origins."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, f"retokenize {name}", SealKind.RETOKENIZE)
        self._tasks = deque[tuple[str, Origin, dict[int, MediaReference]]]()

    def _survey(self) -> Work:
        yield from self.desk.refresh()
        state, found = self.desk.state, dict[tuple[str, Origin], dict[int, MediaReference]]()
        for product in self.products:
            letters = self._with_letters(product.name)
            for key in set(state.lineage(product.key)) - {product.key}:
                for row in [row for path in state.shards[key] for row in self._rows(path)]:
                    message = replace(row.origin, item=0)
                    if row.origin not in letters:
                        found.setdefault((product.key, message), {})[row.origin.item] = row.reference
        self._tasks = deque(
            (key, origin, items) for (key, origin), items in sorted(found.items()) if not self._has(key, origin)
        )

    def _with_letters(self, name: str) -> set[Origin]:
        """Items with open letters: a replay makes those, even where an old product has rows."""
        opened = {log: files for (owner, log), files in self.desk.state.letters.items() if owner == name}
        found = set[Origin]()
        for path in {path for files in opened.values() for path in files}:
            if path not in self.world.store.outcomes:
                raise NoSuchFileError(path)
            for letter in self.world.store.outcomes[path][0]:
                log = SourcePartition(letter.origin.source_id, letter.origin.partition)
                if letter.origin.offset in opened.get(log, {}).get(path, ()):
                    found.add(letter.origin)
        return found

    def _has(self, key: str, origin: Origin) -> bool:
        log = SourcePartition(origin.source_id, origin.partition)
        if self.world.mistake is Mistake.RETOKENIZE_BY_LINEAGE:
            return self.desk.state.covers(key, log, origin.offset)
        own = self.desk.state.own_coverage.get((key, log))
        return own is not None and own.covers(origin.offset)

    @property
    def _exhausted(self) -> bool:
        return not self._tasks

    def _give(self) -> None:
        for _ in range(min(len(self._tasks), TASKS_A_ROUND)):
            key, origin, references = self._tasks[0]
            if self.lane.core.ledger.holds(SourcePartition(origin.source_id, origin.partition), origin.offset):
                return  # another product's task of the same message is under way
            self._tasks.popleft()
            items: list[Item] = [references.get(item, VoidReason.NOT_MINE) for item in range(max(references) + 1)]
            wanted = {key: dict.fromkeys(references, 0)}
            self.lane.admit(remade_message(origin, TOPIC, references), items, (key,), self.world.now_s, wanted)
            self._reached(Step.ADMITTED)


class LogJob(Job):
    """A job that reads logs from where it is told up to where it is told."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, SealKind.LIVE)
        self._to_read: dict[SourcePartition, tuple[int, int]] = {}

    def _reading(self) -> Sequence[SourcePartition]:
        return sorted(self._to_read)

    @property
    def _exhausted(self) -> bool:
        return all(at >= end for at, end in self._to_read.values())

    def _give(self) -> None:
        for log, (at, end) in sorted(self._to_read.items()):
            if at < end:
                self._read(self.world.broker.logs[log], at, end)

    def _read(self, log: SimulatedLog, at: int, end: int) -> None:
        got = log.read(at, self.world.now_s, TASKS_A_ROUND)
        for one in [one for one in got if one.offset < end]:
            self._hole(log.log, at, one.offset)
            self.lane.admit(one.message, one.items, self._owing(log.log, one.offset), self.world.now_s)
            at = one.offset + 1
            self._to_read[log.log] = (at, end)
            self._reached(Step.ADMITTED)
        if len(got) < TASKS_A_ROUND or any(one.offset >= end for one in got):
            self._hole(log.log, at, end)
            self._to_read[log.log] = (end, end)

    def _hole(self, log: SourcePartition, start: int, end: int) -> None:
        for offset in range(start, end):
            self.lane.hole(log, offset, offset + 1, self._owing(log, offset))

    def _owing(self, log: SourcePartition, offset: int) -> list[str]:
        return self.owed(log, offset)


class BackfillJob(LogJob):
    """`mediatok backfill`: a frozen listing, read by a run of its own."""

    def __init__(self, world: World, listing: SimulatedLog) -> None:
        super().__init__(world, f"backfill {listing.log.source_id}")
        self._listing = listing

    def _survey(self) -> Work:
        yield from self.desk.refresh()
        log = self._listing.log
        ends = (0, self._listing.end(self.world.now_s))
        starts = self.new_starts(log, (0, 0))
        if starts:
            self._reached(Step.STARTS)
            yield from self.desk.try_commit(Proposal(starts=tuple(starts)))
            self._reached(Step.BEGUN)
        self._to_read = {log: (self.position(log, 0), ends[1])}


class CatchUpJob(LogJob):
    """What lies below the `from` of a product that joined, or began at a log's end, as far as the log has it."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, f"catch-up {name}")
        self._source_id = ""
        self._gives_up = False

    def _survey(self) -> Work:
        yield from self.desk.refresh()
        broker, now_s = self.world.broker, self.world.now_s
        self._source_id = broker.source_id
        self._to_read = {}
        if broker.missing(now_s):
            raise SourceUnavailableError("no such topic")
        for partition in broker.partitions(now_s):
            log = broker.log_of(partition)
            starts = {key: self.desk.state.start(key, log.log) for key in self.keys}
            if log.cuts or any(start is None for start in starts.values()):
                continue
            least = log.start
            for key in self.keys:
                self.known[key, log.log] = (
                    least,
                    tuple(each.copy() for each in self.desk.state.coverages(key, log.log)),
                )
            self._to_read[log.log] = (least, max(start for start in starts.values() if start is not None))
        self._least = {log: at for log, (at, _) in self._to_read.items()}
        self._from = {log: {key: self.desk.state.start(key, log) for key in self.keys} for log in self._to_read}

    def _owing(self, log: SourcePartition, offset: int) -> list[str]:
        below = [key for key, start in self._from[log].items() if start is not None and offset < start]
        return [key for key in self.owed(log, offset) if key in below]

    def _read(self, log: SimulatedLog, at: int, end: int) -> None:
        if log.start > at or log.cuts or log.deleted:
            # What it was to read is going away: it ends with what it has.
            self._gives_up = True
            self._to_read[log.log] = (end, end)
            return
        super()._read(log, at, end)

    def _recheck(self) -> bool:
        if self.world.broker.source_id != self._source_id:
            raise TopicRecreatedError(f"{self._source_id} is {self.world.broker.source_id} now")
        return not self.world.broker.missing(self.world.now_s)

    def _stop(self, error: StopError) -> None:
        super()._stop(error)
        self.lane.revoke(self._reading())
        self._gives_up = True

    def _finished(self) -> None:
        if self._gives_up:
            return
        for log, at in self._least.items():
            for product in self.products:
                self.world.caught_up(product.name, log, at)
