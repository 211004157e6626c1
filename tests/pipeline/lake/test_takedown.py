"""Takedowns: what a predicate names never comes back, whoever had it in hand when it was committed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from operators.records import Origin, VoidReason
from pipeline.lake.proposal import Proposal, Verdict
from pipeline.lake.state import fold
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.records import Letter, Predicate, PredicateField, Sealed, SealKind
from tests.pipeline.lake.commit_world import KEY, World, empty, letter, opened, span

GONE = Predicate(PredicateField.URI, "u1")
SUBJECT = Predicate(PredicateField.SUBJECT_KEY, "anna")


def test_a_predicate_is_committed_once() -> None:
    world = World()
    state = opened(world)
    assert world.commit(state, Proposal(predicates=(GONE,))).version == 2
    assert world.commit(state, Proposal(predicates=(GONE,))).delta is None
    assert state.predicates == {GONE: 2}


def test_what_was_in_flight_when_it_was_taken_down_is_void_and_its_neighbours_are_rows() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal(predicates=(GONE,)))
    sealed = Sealed(KEY, (world.shard(0, (0, 1, 2)),), (span(0, 1, 2),), obeys=1)
    done = world.commit(state, Proposal((sealed,)))
    assert done.parts[0].verdict is Verdict.ADMITTED
    (path,) = state.shards[KEY]
    assert world.rows[path] == (0, 2)
    assert state.covers(KEY, span(1).log, 1)
    assert state.counters[KEY].voids == {VoidReason.TAKEN_DOWN: 1}


def test_a_shard_of_which_all_was_taken_down_is_not_added() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal(predicates=(GONE,)))
    world.commit(state, Proposal((Sealed(KEY, (world.shard(0, (1,)),), (span(1),)),)))
    assert state.shards[KEY] == {}
    assert state.counters[KEY].voids == {VoidReason.TAKEN_DOWN: 1}


def test_who_obeyed_a_predicate_already_has_no_shard_read_back() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal(predicates=(GONE,)))
    shard = world.shard(2, (0, 2))
    world.commit(state, Proposal((Sealed(KEY, (shard,), (span(0, 2),), obeys=2),)))
    assert list(state.shards[KEY]) == [shard.path]


def test_a_predicate_that_came_in_between_is_heeded_by_the_next_try() -> None:
    world = World()
    state = opened(world)
    behind = state.copy()
    world.commit(state, Proposal(predicates=(GONE,)))
    sealed = Sealed(KEY, (world.shard(1, (0, 1)),), (span(0, 1, 2, 3),), (letter(2),), (empty(3),), obeys=1)
    done = world.commit(behind, Proposal((sealed,)))
    assert done.conflicts == 1
    assert behind.counters[KEY].rows == 1
    assert behind.counters[KEY].voids == {VoidReason.TAKEN_DOWN: 1}
    assert (behind.counters[KEY].letters, behind.counters[KEY].empties) == (1, 1)
    # A further conflict does not count it again.
    assert fold(world.deltas()).counters[KEY].voids == {VoidReason.TAKEN_DOWN: 1}


def test_letters_and_empties_are_taken_down_too_and_a_replay_of_one_closes_it() -> None:
    world = World()
    state = opened(world)
    world.commit(state, Proposal((Sealed(KEY, covers=(span(0, 1),), letters=(letter(0), letter(1))),)))
    world.commit(state, Proposal(predicates=(GONE, Predicate(PredicateField.URI, "u3"))))
    again = Sealed(KEY, covers=(span(1),), letters=(letter(1),), kind=SealKind.REPLAY)
    world.commit(state, Proposal((again, Sealed(KEY, covers=(span(3),), empties=(empty(3),)))))
    assert state.open_letters("image-rq", span(0, 1)) == ((0, 1),)
    assert state.counters[KEY].empties == 0
    assert state.counters[KEY].voids == {VoidReason.TAKEN_DOWN: 2}


def message_of(*items: dict[str, object]) -> bytes:
    return json.dumps({"items": items}).encode()


@pytest.mark.parametrize(
    ("item", "predicate", "gone"),
    [
        (0, SUBJECT, True),
        (1, SUBJECT, False),
        (1, Predicate(PredicateField.LICENCE, '["a", "b"]'), True),
        (1, Predicate(PredicateField.URI, "b.jpg"), True),
        (0, Predicate(PredicateField.URI, "b.jpg"), False),
    ],
)
def test_a_letter_is_judged_by_its_item_in_its_message(item: int, predicate: Predicate, gone: bool) -> None:
    value = message_of(
        {"uri": "a.jpg", "attributes": {"subject_key": "anna"}},
        {"uri": "b.jpg", "attributes": {"subject_key": "bert", "licence": ["a", "b"]}},
    )
    uri = ("a.jpg", "b.jpg")[item]
    one: Letter = replace(letter(7, item), uri=uri, value=value)
    expected = frozenset({Origin("topic", 0, 7, item)}) if gone else frozenset[Origin]()
    assert taken_down_outcomes([one], [], {predicate}) == expected
