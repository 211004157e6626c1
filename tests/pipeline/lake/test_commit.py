"""The commit protocol: properties, planted mistakes, and cases by name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ConfigError, InvariantError, ProductSupersededError
from operators.records import VoidReason
from pipeline.flow.ranges import Ranges
from pipeline.lake.commit import Commit, Rules
from pipeline.lake.delta import Delta, Opening, Skip, Start
from pipeline.lake.proposal import (
    Committed,
    CreateAnswered,
    CreateVersion,
    Proposal,
    ReadVersion,
    Reason,
    Verdict,
    VersionRead,
)
from pipeline.lake.state import LakeState, fold
from pipeline.lake.store import CreateAnswer
from pipeline.records import Sealed, SealKind, SourcePartition, Span
from tests.pipeline.lake.commit_world import (
    KEY,
    LOG,
    OPEN,
    World,
    empty,
    letter,
    opened,
    product,
    run,
    span,
)


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
        return Sealed(KEY, (world.shard(2, (1,)),), (span(1, 2),), (letter(2),), kind=SealKind.REPLAY)

    done = world.commit(state, Proposal((replay(), replay())))
    assert [part.verdict for part in done.parts] == [Verdict.ADMITTED, Verdict.REFUSED]
    assert done.delta is not None
    assert done.delta.covers == ()
    assert state.open_letters("image-rq", span(0, 1, 2)) == ((2, 3),)
    again = world.commit(behind, Proposal((Sealed(KEY, (world.shard(2, (1,)),), (span(1),), kind=SealKind.REPLAY),)))
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
