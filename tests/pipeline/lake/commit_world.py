"""The commit protocol against a store that answers late or unclearly, with several committers and crashes."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

from operators.records import EmptyReason, Failure, Modality, Origin, VoidReason
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.lake.codec import parse_delta
from pipeline.lake.commit import Commit, Rules
from pipeline.lake.delta import Delta, Opening, Start
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
    Refused,
    ShardFiltered,
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
    uris: dict[int, str] = field(default_factory=dict[int, str])
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
            case FilterShard(shard, drop, base, predicates):
                gone = {o for each in drop for start, end in each.ranges for o in range(start, end)}
                left = tuple(offset for offset in self.rows[shard.path] if offset not in gone)
                values = {predicate.value for predicate in predicates}
                down = {offset for offset in left if self.uris.get(offset, f"u{offset}") in values}
                left = tuple(offset for offset in left if offset not in down)
                new = self.shard(base, left, shard.product) if left else None
                return ShardFiltered(new, frozenset(Origin("topic", 0, offset, 0) for offset in down))
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
