"""Rewrites, and messages made anew: live files change, coverage does not."""

from __future__ import annotations

import pytest

from operators.errors import InvariantError
from operators.records import VoidReason
from pipeline.lake.delta import Delta, Opening, ProductSpan, Rewrite
from pipeline.lake.parts import outcome_file
from pipeline.lake.paths import outcomes_path
from pipeline.lake.proposal import Proposal, Reason, Verdict
from pipeline.lake.state import LakeState
from pipeline.records import Predicate, PredicateField, Sealed, SealKind, Shard
from tests.pipeline.lake.commit_world import KEY, World, letter, opened, product, span

NEXT = product(2, "b")


def with_rows(world: World, *groups: tuple[int, ...]) -> tuple[LakeState, list[Shard]]:
    state = opened(world)
    shards = [world.shard(1, group) for group in groups]
    world.commit(state, Proposal(tuple(Sealed(KEY, (each,), (span(*world.rows[each.path]),)) for each in shards)))
    return state, shards


def test_a_rewrite_takes_the_place_of_live_files_and_changes_no_coverage() -> None:
    world = World()
    state, (first, second) = with_rows(world, (0, 1), (2, 3))
    merged = world.shard(2, (0, 1, 2, 3))
    done = world.commit(state, Proposal(rewrites=(Rewrite(KEY, (first.path, second.path), (merged,)),)))
    assert done.stale_rewrites == ()
    assert list(state.shards[KEY]) == [merged.path]
    assert (state.counters[KEY].rows, state.counters[KEY].tokens) == (4, 40)
    assert state.position(KEY, span(0).log) == 4


def test_a_rewrite_of_what_another_replaced_meanwhile_is_stale() -> None:
    world = World()
    state, (first, second) = with_rows(world, (0, 1), (2, 3))
    behind = state.copy()
    less = world.shard(2, (1,))
    world.commit(state, Proposal(rewrites=(Rewrite(KEY, (first.path,), (less,), taken_down=1),)))
    both = Rewrite(KEY, (first.path, second.path), (world.shard(2, (0, 1, 2, 3)),))
    done = world.commit(behind, Proposal(rewrites=(both,)))
    assert (done.delta, done.stale_rewrites) == (None, (both,))
    assert behind.counters[KEY].rows == 3
    assert behind.counters[KEY].voids == {VoidReason.TAKEN_DOWN: 1}


def test_two_rewrites_of_one_file_in_one_commit_do_not_both_go_in() -> None:
    world = World()
    state, (first,) = with_rows(world, (0, 1))
    some, others = (Rewrite(KEY, (first.path,), (world.shard(2, (0, 1)),)) for _ in range(2))
    done = world.commit(state, Proposal(rewrites=(some, others)))
    assert done.stale_rewrites == (others,)
    assert state.counters[KEY].rows == 2


def test_a_rewrite_older_than_the_floor_is_stale() -> None:
    world = World()
    state, (first,) = with_rows(world, (0, 1))
    late = Rewrite(KEY, (first.path,), (world.shard(0, (0, 1)),))
    world.commit(state, Proposal(min_base=1))
    assert world.commit(state, Proposal(rewrites=(late,))).stale_rewrites == (late,)


def test_a_rewrite_by_one_who_did_not_know_of_a_takedown_is_stale() -> None:
    world = World()
    state, (first,) = with_rows(world, (0, 1))
    unaware = Rewrite(KEY, (first.path,), (world.shard(2, (0, 1)),))
    world.commit(state, Proposal(predicates=(Predicate(PredicateField.URI, "u1"),)))
    assert world.commit(state, Proposal(rewrites=(unaware,))).stale_rewrites == (unaware,)
    aware = Rewrite(KEY, (first.path,), (world.shard(3, (0,)),), taken_down=1)
    assert world.commit(state, Proposal(rewrites=(aware,))).stale_rewrites == ()


def test_a_closed_products_files_can_be_rewritten() -> None:
    world = World()
    state, (first,) = with_rows(world, (0, 1))
    world.commit(state, Proposal(openings=(Opening(NEXT, "image"),)))
    world.commit(state, Proposal(rewrites=(Rewrite(KEY, (first.path,), (world.shard(3, (1,)),), taken_down=1),)))
    assert state.counters[KEY].rows == 1


def test_rewritten_letters_stay_open_unless_they_were_closed_before() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal((Sealed(KEY, covers=(span(0, 1, 2),), letters=(letter(0), letter(1), letter(2))),)))
    replayed = Sealed(KEY, (world.shard(2, (0,)),), (span(0),), kind=SealKind.REPLAY)
    world.commit(state, Proposal((replayed,)))
    (path,) = state.outcomes
    new = outcome_file(KEY, outcomes_path(3, "new"), [letter(0), letter(2)], [])
    rewrite = Rewrite(KEY, (path,), outcomes=(new,), taken_down=1, open_letters=2)
    world.commit(state, Proposal(rewrites=(rewrite,)))
    assert state.open_letters("image-rq", span(0, 1, 2)) == ((2, 3),)
    assert list(state.outcomes) == [new.path]
    assert state.counters[KEY].letters == 2


def test_a_rewrite_of_letters_of_which_one_was_closed_meanwhile_is_stale() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal((Sealed(KEY, covers=(span(0, 1),), letters=(letter(0), letter(1))),)))
    (path,) = state.outcomes
    down = Rewrite(KEY, (path,), taken_down=2, open_letters=state.open_count(KEY, path))
    world.commit(state, Proposal((Sealed(KEY, (world.shard(2, (0,)),), (span(0),), kind=SealKind.REPLAY),)))
    assert world.commit(state, Proposal(rewrites=(down,))).stale_rewrites == (down,)
    assert state.counters[KEY].voids == {}


@pytest.mark.parametrize(
    "rewrite", [Rewrite(KEY, ("data/nothing.arrow",)), Rewrite("other-1", ("data/nothing.arrow",))]
)
def test_a_log_that_replaces_what_is_not_live_is_broken(rewrite: Rewrite) -> None:
    state, _ = with_rows(World(), (0, 1))
    with pytest.raises(InvariantError, match=r"replaces|never opened"):
        state.apply(Delta(3, 2, "c", "w", 0, rewrites=(rewrite,)))


def succeeded(world: World) -> LakeState:
    """Messages 0 to 3 are the first product's, a letter in 2 still open; the second product runs."""
    state = opened(world)
    part = Sealed(KEY, (world.shard(1, (0, 1, 3)),), (span(0, 1, 2, 3),), (letter(2),))
    world.commit(state, Proposal((part,)))
    world.commit(state, Proposal(openings=(Opening(NEXT, "image"),)))
    return state


def remade(world: World, *offsets: int) -> Sealed:
    return Sealed(NEXT.key, (world.shard(3, offsets, NEXT.key),), (span(*offsets),), kind=SealKind.RETOKENIZE)


def test_a_predecessors_messages_are_made_anew_once_and_live_work_goes_on_where_it_was() -> None:
    world = World()
    state = succeeded(world)
    log = span(0).log
    done = world.commit(state, Proposal((remade(world, 0, 1),)))
    assert done.delta is not None
    assert (done.delta.covers, done.delta.remade) == ((), (ProductSpan(NEXT.key, span(0, 1)),))
    assert state.own_overlap(NEXT.key, span(0, 1, 2, 3)) == ((0, 2),)
    assert state.position(NEXT.key, log) == 4
    again = world.commit(state, Proposal((remade(world, 1, 3),)))
    assert again.parts[0].verdict is Verdict.FILTERED
    assert again.parts[0].reason is Reason.NOT_A_PREDECESSORS
    assert again.parts[0].settled == (span(1, 3),)
    assert state.counters[NEXT.key].rows == 3
    assert state.open_letters("image-rq", span(2)) == ((2, 3),)


def test_what_no_predecessor_covers_is_live_works_to_do() -> None:
    world = World()
    state = succeeded(world)
    done = world.commit(state, Proposal((remade(world, 4),)))
    assert (done.delta, done.parts[0].reason) == (None, Reason.NOT_A_PREDECESSORS)
    assert done.parts[0].unsettled == (span(4),)


@pytest.mark.parametrize(("offset", "says"), [(4, "never had"), (0, "a second time")])
def test_a_log_that_remakes_what_it_may_not_is_broken(offset: int, says: str) -> None:
    world = World()
    state = succeeded(world)
    world.commit(state, Proposal((remade(world, 0),)))
    with pytest.raises(InvariantError, match=says):
        state.apply(Delta(5, 4, "c", "w", 0, remade=(ProductSpan(NEXT.key, span(offset)),)))
