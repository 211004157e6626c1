"""The commit protocol against a store that answers late or unclearly, with several committers and crashes."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ConfigError, InvariantError, ProductSupersededError
from operators.records import EmptyReason, Failure, Modality, Origin, VoidReason
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.ranges import Ranges
from pipeline.lake.codec import parse_delta
from pipeline.lake.commit import Commit, Rules
from pipeline.lake.delta import Delta, Opening, Skip, Start
from pipeline.lake.parts import outcome_file
from pipeline.lake.paths import outcomes_path, shard_path
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
    Verdict,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState, fold
from pipeline.lake.store import CreateAnswer
from pipeline.records import Empty, Letter, Product, Sealed, Shard, SourcePartition, Span, ranges_of

LOG = SourcePartition("topic", 0)
SPEC = TokenSpec(TokenKind.CODES, Modality.IMAGE, "rgb8", ("y", "x"), (1024,), "uint16", (32, 32))


def product(revision: int = 1, fingerprint: str = "a") -> Product:
    return Product("image-rq", revision, fingerprint * 64, Modality.IMAGE, SPEC)


KEY = product().key


def span(*offsets: int) -> Span:
    return Span(LOG, ranges_of(offsets))


def letter(offset: int, item: int = 0) -> Letter:
    failure = Failure("decode.truncated", "decode", "cut")
    return Letter(KEY, Origin("topic", 0, offset, item), f"u{offset}", failure, "t", None, b"v", (), 1, 5)


def empty(offset: int) -> Empty:
    return Empty(KEY, Origin("topic", 0, offset, 0), f"u{offset}", EmptyReason.NO_TOKENS)


@dataclass
class World:
    """A store in memory: what lies there, and puts that are still on their way."""

    rng: random.Random = field(default_factory=lambda: random.Random(0))
    log: dict[str, bytes] = field(default_factory=dict[str, bytes])
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    files: dict[str, tuple[tuple[Letter, ...], tuple[Empty, ...]]] = field(default_factory=dict)
    late: list[CreateVersion] = field(default_factory=list[CreateVersion])
    ids: itertools.count[int] = field(default_factory=itertools.count)
    trouble: float = 0.0
    plain_put: bool = False

    def unique(self) -> str:
        return f"u{next(self.ids)}"

    def shard(self, base: int, offsets: tuple[int, ...], key: str = KEY) -> Shard:
        path = shard_path(key, "2026-11-24", base, self.unique())
        self.rows[path] = offsets
        return Shard(key, path, len(offsets), 10 * len(offsets), 100, "00" * 32)

    def put(self, action: CreateVersion) -> bool:
        if action.path in self.log and not self.plain_put:
            return False
        self.log[action.path] = action.body
        return True

    def do(self, action: Action) -> Event:
        match action:
            case FilterShard(shard, drop, base):
                gone = {o for each in drop for start, end in each.ranges for o in range(start, end)}
                left = tuple(offset for offset in self.rows[shard.path] if offset not in gone)
                return ShardFiltered(self.shard(base, left, shard.product) if left else None)
            case WriteOutcomes(key, letters, empties, base):
                path = outcomes_path(base, self.unique())
                self.files[path] = (letters, empties)
                return OutcomesWritten(outcome_file(key, path, letters, empties))
            case CreateVersion():
                if self.rng.random() >= self.trouble:
                    return CreateAnswered(CreateAnswer.CREATED if self.put(action) else CreateAnswer.EXISTS)
                match self.rng.randrange(3):
                    case 0:  # done, and nobody heard
                        self.put(action)
                    case 1:  # lands whenever it likes, or twice: an SDK's own retry
                        self.late.append(action)
                    case _:
                        self.put(action)
                        self.late.append(action)
                return CreateAnswered(CreateAnswer.UNCLEAR)
            case ReadVersion(_, path):
                return VersionRead(self.log.get(path))
            case _:
                raise AssertionError(action)

    def land(self) -> None:
        if self.late:
            self.put(self.late.pop(self.rng.randrange(len(self.late))))

    def deltas(self) -> list[Delta]:
        return [parse_delta(self.log[path]) for path in sorted(self.log)]

    def commit(self, state: LakeState, proposal: Proposal, rules: Rules | None = None) -> Committed:
        machine = Commit(proposal, state, writer="w", new_id=self.unique, now_ms=lambda: 7, rules=rules)
        action = machine.begin()
        while not isinstance(action, Committed):
            if isinstance(action, Refused):
                raise action.error
            action = machine.handle(self.do(action))
        return action


OPEN = Proposal(openings=(Opening(product(), "image"),), starts=(Start(KEY, LOG, 0),))


def opened(world: World) -> LakeState:
    state = LakeState()
    world.commit(state, OPEN)
    return state


# --- several committers at once


@dataclass
class Committer:
    """Wants its messages in the lake; knows nothing of the others."""

    name: str
    world: World
    wants: set[int]
    rules: Rules
    state: LakeState = field(default_factory=LakeState)
    machine: Commit | None = None
    action: Action | None = None
    done: bool = False

    def step(self) -> None:
        if self.machine is None or self.action is None:
            self.action = self.begin()
        else:
            self.action = self.machine.handle(self.world.do(self.action))
        if isinstance(self.action, Refused):
            raise self.action.error
        if isinstance(self.action, Committed):
            for part in self.action.parts:
                for each in part.settled:
                    self.wants -= {o for start, end in each.ranges for o in range(start, end)}
            self.machine = None
            self.done = not self.wants

    def begin(self) -> Action:
        rng, world = self.world.rng, self.world
        chosen = sorted(rng.sample(sorted(self.wants), rng.randint(1, len(self.wants))))
        again = sorted(rng.sample(chosen, rng.randint(0, len(chosen))))  # two packers with the same messages
        sealed = tuple(self.sealed(tuple(offsets)) for offsets in (chosen, again) if offsets)
        self.machine = Commit(
            Proposal(sealed, OPEN.openings, OPEN.starts),
            self.state,
            writer=self.name,
            new_id=world.unique,
            now_ms=lambda: 0,
            rules=self.rules,
        )
        return self.machine.begin()

    def sealed(self, offsets: tuple[int, ...]) -> Sealed:
        """Offset mod 4 says what a message becomes: rows, rows, a letter, void."""
        rows = tuple(offset for offset in offsets if offset % 4 < 2)
        voids = [offset for offset in offsets if offset % 4 == 3]
        half = len(rows) // 2
        return Sealed(
            KEY,
            tuple(self.world.shard(self.state.version, part) for part in (rows[:half], rows[half:]) if part),
            (span(*offsets),),
            tuple(letter(offset) for offset in offsets if offset % 4 == 2),
            voids={VoidReason.TOMBSTONE: len(voids)} if voids else {},
            voided=((VoidReason.TOMBSTONE, span(*voids)),) if voids else (),
        )

    def crash(self) -> None:
        self.machine, self.action, self.state = None, None, LakeState()
        for delta in self.world.deltas():
            self.state.apply(delta)


def run(rng: random.Random, rules: Rules, *, plain_put: bool = False, crashes: bool = True) -> World:
    world = World(rng, trouble=0.4, plain_put=plain_put)
    owners = [
        Committer(f"w{i % 2}", world, set(rng.sample(range(12), rng.randint(1, 12))), rules)
        for i in range(rng.randint(1, 3))
    ]
    wanted = set[int]().union(*(owner.wants for owner in owners))
    for turn in itertools.count():
        alive = [owner for owner in owners if not owner.done]
        if not alive:
            break
        if turn > 200:
            world.trouble = 0.0
        owner = rng.choice(alive)
        if crashes and turn < 200 and rng.random() < 0.05:
            owner.crash()
        elif rng.random() < 0.15:
            world.land()
        else:
            owner.step()
        assert turn < 5_000, "no end in sight"
    while world.late:
        world.land()
    check(world, wanted)
    return world


def check(world: World, wanted: set[int]) -> None:
    """From the files alone, without the state's help: every message exactly once."""
    deltas = world.deltas()
    shards = [shard for delta in deltas for shard in delta.shards]
    rows = Counter(offset for shard in shards for offset in world.rows[shard.path])
    letters = Counter(
        each.origin.offset for delta in deltas for file in delta.outcomes for each in world.files[file.path][0]
    )
    assert rows == Counter({offset: 1 for offset in wanted if offset % 4 < 2})
    assert letters == Counter({offset: 1 for offset in wanted if offset % 4 == 2})
    assert sum(void.items for delta in deltas for void in delta.voids) == sum(offset % 4 == 3 for offset in wanted)
    state = fold(deltas)
    assert state.next_uncovered(KEY, LOG, 0) == next(o for o in itertools.count() if o not in wanted)
    assert state.own_coverage[KEY, LOG].span(LOG) == span(*wanted)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_the_store_answers_no_message_is_lost_or_repeated(seed: int) -> None:
    run(random.Random(seed), Rules())


class JudgesByWriter(Rules):
    def is_mine(self, found: Delta, sent: Delta) -> bool:
        return found.writer == sent.writer


class NeverRechecks(Rules):
    def covered(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        return () if conflicts else super().covered(state, product, span, conflicts)


class ForgetsWhatItTook(Rules):
    def taken(self, ranges: Ranges, span: Span) -> Ranges:
        return ()


@pytest.mark.parametrize(
    ("rules", "plain_put"),
    [(JudgesByWriter(), False), (NeverRechecks(), False), (ForgetsWhatItTook(), False), (Rules(), True)],
    ids=["by writer", "not rechecked", "twice in one delta", "plain put"],
)
def test_each_planted_mistake_shows(rules: Rules, plain_put: bool) -> None:
    caught = 0
    for seed in range(60):
        try:
            run(random.Random(seed), rules, plain_put=plain_put)
        except (AssertionError, InvariantError, KeyError):
            caught += 1
    assert caught > 0


# --- one case each


def test_a_put_that_lands_after_it_was_tried_again_is_still_mine() -> None:
    world = World()
    state = opened(world)
    machine = Commit(
        Proposal((Sealed(KEY, covers=(span(1),)),)), state, writer="w", new_id=world.unique, now_ms=lambda: 0
    )
    first = machine.begin()
    assert isinstance(first, CreateVersion)
    read = machine.handle(CreateAnswered(CreateAnswer.UNCLEAR))
    assert isinstance(read, ReadVersion)
    second = machine.handle(VersionRead(None))
    assert second == first
    world.put(first)
    machine.handle(CreateAnswered(CreateAnswer.EXISTS))
    final = machine.handle(VersionRead(world.log[first.path]))
    assert isinstance(final, Committed)
    assert final.parts[0].verdict is Verdict.ADMITTED


def test_a_commit_of_what_is_there_already_makes_no_version() -> None:
    world = World()
    state = opened(world)
    part = Sealed(KEY, (world.shard(1, (3, 4)),), (span(3, 4),))
    assert world.commit(state, Proposal((part,))).version == 2
    again = world.commit(state, Proposal((part,), OPEN.openings, OPEN.starts))
    assert again.delta is None
    assert again.parts[0].reason is Reason.ALREADY_COVERED
    assert again.parts[0].settled == (span(3, 4),)
    assert len(world.log) == 2


def test_what_another_committed_meanwhile_is_filtered_from_shards_letters_and_voids() -> None:
    world = World()
    state = opened(world)
    behind = state.copy()
    world.commit(state, Proposal((Sealed(KEY, (world.shard(1, (0, 1)),), (span(0, 1, 2, 3),), (letter(2),)),)))
    mine = Sealed(
        KEY,
        (world.shard(1, (1, 5)),),
        (span(1, 2, 3, 5, 6, 7, 8),),
        (letter(2), letter(6)),
        (empty(8),),
        {VoidReason.TOMBSTONE: 2},
        voided=((VoidReason.TOMBSTONE, span(3, 7)),),
    )
    done = world.commit(behind, Proposal((mine,)))
    assert done.version == 3
    assert done.parts[0].verdict is Verdict.FILTERED
    assert done.parts[0].admitted == (span(5, 6, 7, 8),)
    assert done.parts[0].unsettled == ()
    assert done.delta is not None
    assert [world.rows[shard.path] for shard in done.delta.shards] == [(5,)]
    assert world.files[done.delta.outcomes[0].path] == ((letter(6),), (empty(8),))
    assert done.delta.voids[0].items == 1
    assert behind.open_letters("image-rq", span(*range(10))) == ((2, 3), (6, 7))


def test_a_committed_start_stands() -> None:
    world = World()
    state = opened(world)
    other = world.commit(state, Proposal(starts=(Start(KEY, LOG, 99), Start(KEY, SourcePartition("topic", 1), 7))))
    assert other.delta is not None
    assert [start.offset for start in other.delta.starts] == [7]
    assert state.position(KEY, LOG) == 0


def test_covering_before_a_start_is_refused() -> None:
    world = World()
    state = opened(world)
    stray = Sealed(KEY, covers=(Span(SourcePartition("other", 0), ((0, 1),)),))
    with pytest.raises(InvariantError, match="start"):
        world.commit(state, Proposal((stray,)))


@pytest.mark.parametrize(
    ("revision", "fingerprint", "error"),
    [(1, "b", ConfigError), (0, "b", ProductSupersededError)],
)
def test_a_changed_product_needs_a_higher_revision(revision: int, fingerprint: str, error: type[Exception]) -> None:
    world = World()
    state = opened(world)
    with pytest.raises(error):
        world.commit(state, Proposal(openings=(Opening(product(revision, fingerprint), "image"),)))
    assert len(world.log) == 1


def test_a_successor_inherits_coverage_starts_and_letters_and_only_its_predecessors_part_is_refused() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal((Sealed(KEY, covers=(span(0, 1, 5),), letters=(letter(1),)),)))
    new = product(2, "b")
    late = Sealed(KEY, (world.shard(2, (2,)),), (span(2),))
    live = Sealed(new.key, (world.shard(2, (1, 2), new.key),), (span(1, 2),))
    done = world.commit(state, Proposal((late, live), (Opening(new, "image"),)))
    assert [part.reason for part in done.parts] == [Reason.PRODUCT_CLOSED, Reason.ALREADY_COVERED]
    assert done.parts[0].verdict is Verdict.REFUSED
    assert done.closed_products == (KEY,)
    assert done.delta is not None
    assert done.delta.openings[0].closes == KEY
    assert [world.rows[shard.path] for shard in done.delta.shards] == [(2,)]
    assert state.position(new.key, LOG) == 3
    assert state.own_coverage[new.key, LOG].span(LOG) == span(2)
    assert state.open_letters("image-rq", span(1)) == ((1, 2),)
    back = world.commit(state, Proposal(openings=(Opening(product(3), "image"),)))
    assert back.delta is not None
    assert state.is_open(KEY)
    assert not state.is_open(new.key)
    assert state.position(KEY, LOG) == 3


def test_a_replay_closes_a_letter_once_and_gains_no_coverage() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal((Sealed(KEY, covers=(span(0, 1, 2),), letters=(letter(1), letter(2))),)))
    behind = state.copy()

    def replay() -> Sealed:
        return Sealed(KEY, (world.shard(2, (1,)),), (span(1, 2),), (letter(2),), closes_letters=True)

    done = world.commit(state, Proposal((replay(), replay())))
    assert [part.verdict for part in done.parts] == [Verdict.ADMITTED, Verdict.REFUSED]
    assert done.delta is not None
    assert done.delta.covers == ()
    assert state.open_letters("image-rq", span(0, 1, 2)) == ((2, 3),)
    again = world.commit(behind, Proposal((Sealed(KEY, (world.shard(2, (1,)),), (span(1),), closes_letters=True),)))
    assert again.parts[0].reason is Reason.LETTER_NOT_OPEN
    assert again.delta is None
    assert fold(world.deltas()).counters[KEY].rows == 1


def test_a_skip_gives_up_only_what_is_missing() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal((Sealed(KEY, covers=(span(1),)),)))
    done = world.commit(state, Proposal((Sealed(KEY, covers=(span(3),)),), skips=(Skip(KEY, span(0, 1, 2, 3, 4)),)))
    assert done.delta is not None
    assert [skip.span for skip in done.delta.skips] == [span(0, 2, 4)]
    assert state.position(KEY, LOG) == 5
    assert state.counters[KEY].voids == {VoidReason.EXPIRED: 3}


def test_nothing_older_than_the_floor_comes_in() -> None:
    world = World()
    state = opened(world)
    old = Sealed(KEY, (world.shard(0, (4,)),), (span(4),))
    world.commit(state, Proposal(min_base=1))
    done = world.commit(state, Proposal((old,)))
    assert done.parts[0].reason is Reason.BASE_TOO_OLD
    assert done.parts[0].unsettled == (span(4),)
