"""Long media in a lane: what a death costs, what short items wait for, what is left open."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ContentChangedError
from operators.records import ContentFacts
from pipeline.flow.blame import DEATHS_TO_BE_GUILTY, Blame
from pipeline.flow.calls import CallFailure, Lease, Prepare, PreparedItem, Tokenize
from pipeline.flow.outages import place_of
from pipeline.flow.prepare_stage import MOST_OPEN, PREPARE
from pipeline.flow.tokenize_stage import BATCHES_AHEAD
from pipeline.simulate.media import Media
from pipeline.simulate.shop import ALPHA, BETA, LOG, SETTINGS, Shop

TWO_SLOTS = replace(SETTINGS, worker_slots=2, prepare_batch=1)


def prepares(shop: Shop) -> list[Prepare]:
    return [action for action in shop.pending.values() if isinstance(action, Prepare)]


def leases(shop: Shop) -> list[Lease]:
    return [lease for action in prepares(shop) for lease in action.leases]


def until_segment(shop: Shop, segment: int) -> Prepare:
    """Answer everything until this segment is with a worker."""
    while True:
        shop.act()
        for action in prepares(shop):
            if any(lease.cursor == segment for lease in action.leases):
                return action
        for call in list(shop.pending):
            if call in shop.pending:
                shop.answer(call)


def test_a_worker_that_dies_in_the_ninth_of_ten_segments_takes_only_that_one_with_it() -> None:
    shop = Shop(TWO_SLOTS)
    shop.hire()
    shop.admit(0, Media(segments=((1, 1),) * 10))
    died = until_segment(shop, 8)
    assert shop.answer(died.call, CallFailure.WORKER_DIED) is Blame.ALONE_AGAIN
    shop.act()
    (again,) = leases(shop)
    assert (again.cursor, again.attempt, again.deaths) == (8, died.leases[0].attempt, 1)
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (10, 10)
    shop.at_rest()


def test_the_other_ranges_go_on_while_one_is_tried_again() -> None:
    shop = Shop(TWO_SLOTS)
    for _ in range(3):
        shop.hire()
    shop.admit(0, Media(segments=((1, 1),) * 12, forks=(4, 8)))
    died = until_segment(shop, 5)
    others = {lease.cursor for lease in leases(shop)} - {5}
    shop.answer(died.call, CallFailure.WORKER_DIED)
    shop.act()
    assert others <= {lease.cursor for lease in leases(shop)} | {lease.cursor for lease in died.leases}
    assert {lease.attempt for lease in leases(shop)} == {died.leases[0].attempt}
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (12, 12)
    shop.at_rest()


def test_deaths_in_different_segments_condemn_nobody_and_three_in_one_do() -> None:
    shop = Shop(TWO_SLOTS)
    shop.hire()
    shop.admit(0, Media(segments=((1, 1),) * 8))
    for segment in range(1, 7):
        assert shop.answer(until_segment(shop, segment).call, CallFailure.WORKER_DIED) is Blame.ALONE_AGAIN
    blames = [shop.answer(until_segment(shop, 7).call, CallFailure.WORKER_DIED) for _ in range(DEATHS_TO_BE_GUILTY)]
    assert blames == [Blame.ALONE_AGAIN] * (DEATHS_TO_BE_GUILTY - 1) + [Blame.GUILTY]
    shop.run()
    assert shop.outcome(ALPHA, 0) == "worker.killed"
    shop.at_rest()


def test_a_store_in_trouble_costs_a_segment_and_changed_content_the_whole_item() -> None:
    shop = Shop(TWO_SLOTS)
    shop.hire()
    (uri,) = shop.admit(0, Media(segments=((1, 1),) * 4))
    before = until_segment(shop, 2).leases[0]
    shop.bench.down.add(place_of(uri))
    for call in list(shop.pending):
        shop.answer(call)
    shop.bench.down.clear()
    shop.now_s += 120.0
    again = until_segment(shop, 2)
    assert again.leases[0].attempt == before.attempt
    del shop.pending[again.call]
    changed = PreparedItem(ended=ContentChangedError("another one").failure(), transient=True)
    shop.lane.prepared(again.call, [changed], {}, shop.now_s)
    shop.now_s += 120.0
    shop.act()
    (anew,) = leases(shop)
    assert (anew.cursor, anew.attempt > before.attempt) == (None, True)
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (4, 4)
    shop.at_rest()


def test_a_worker_has_one_call_of_what_is_long_and_the_other_slot_is_for_what_is_short() -> None:
    shop = Shop(TWO_SLOTS)
    shop.hire(PREPARE)
    shop.hire(ALPHA, BETA)
    shop.admit(0, Media(segments=((1, 1),) * 8, forks=(2, 4, 6)))
    for call in [action.call for action in shop.act()]:
        shop.answer(call)
    for offset in range(1, 6):
        shop.admit(offset, Media())
    kinds: list[list[bool]] = []
    for _ in range(12):
        shop.act()
        kinds.append(sorted(lease.cursor is None for lease in leases(shop)))
        for call in list(shop.pending):
            shop.answer(call)
    assert max(kind.count(False) for kind in kinds) == 1
    assert [False, True] in kinds
    shop.run()
    assert [shop.outcome(ALPHA, offset) for offset in range(6)] == [8, 1, 1, 1, 1, 1]
    shop.at_rest()


@given(st.integers(1, 3))
def test_what_is_short_is_tokenized_before_its_worker_goes_on_with_what_is_long_and_both_go_on(workers: int) -> None:
    shop = Shop(TWO_SLOTS)
    for _ in range(workers):
        shop.hire()
    shop.admit(0, Media(segments=((1, 1),) * 40, forks=(20,)))
    shop.run(until=lambda: any(action.is_long for action in prepares(shop)) or len(shop.lane.prepare.ready) > 0)
    for offset in range(1, 41):
        shop.admit(offset, Media())
    sent: list[bool] = []
    for _ in range(60):
        for action in shop.act():
            if isinstance(action, Prepare | Tokenize):
                sent.append(action.is_long)
                before = [one for one in prepares(shop) if one.call < action.call and one.worker == action.worker]
                assert not action.is_long or all(one.is_long for one in before)
        shop.answer(min(shop.pending))
    assert sent.count(True) >= len(sent) / 4
    assert sent.count(False) >= len(sent) / 4
    shop.run()
    assert [shop.outcome(ALPHA, offset) for offset in range(41)] == [40] + [1] * 40
    shop.at_rest()


def test_what_is_long_is_prepared_only_as_far_as_the_tokenizers_keep_up() -> None:
    shop = Shop(replace(TWO_SLOTS, tokenize_windows=1))
    shop.hire(PREPARE)
    shop.hire(ALPHA, BETA)
    shop.admit(0, Media(segments=((1, 1),) * 12))
    for _ in range(20):
        shop.act()
        for call in [action.call for action in prepares(shop)]:
            shop.answer(call)
    assert len(shop.lane.tokenize.batchers[ALPHA]) == BATCHES_AHEAD
    assert shop.lane.core.windows.used_bytes < shop.lane.core.windows.limit_bytes // 2
    shop.admit(1, Media())
    shop.act()
    assert [lease.reference.origin.offset for lease in leases(shop)] == [1]
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(ALPHA, 1)) == (12, 1)
    shop.at_rest()


def test_a_worker_with_many_ranges_open_begins_nothing_else() -> None:
    shop = Shop(TWO_SLOTS)
    shop.hire()
    for offset in range(10):
        shop.admit(offset, Media(segments=((1, 1),) * 3))
    most = 0
    for _ in range(60):
        shop.act()
        held = shop.lane.prepare.ready.bound("worker-1") + sum(lease.cursor is not None for lease in leases(shop))
        most = max(most, held)
        for call in list(shop.pending):
            shop.answer(call)
    assert most <= MOST_OPEN + TWO_SLOTS.worker_slots - 1
    shop.run()
    assert all(shop.outcome(ALPHA, offset) == 3 for offset in range(10))
    shop.at_rest()


@given(st.integers(1, 8), st.integers(0, 30))
def test_films_that_were_revoked_leave_nothing_open_and_no_credit_taken(films: int, steps: int) -> None:
    shop = Shop(TWO_SLOTS)
    for _ in range(2):
        shop.hire()
    for offset in range(films):
        shop.admit(offset, Media(segments=((1, 1),) * 6, forks=(3,)))
    opened: set[tuple[str, str, int]] = set()
    closed: set[tuple[str, str, int]] = set()

    def answer(action: Prepare) -> None:
        """What a decoder does: the place is open after a segment that has another, and no longer when it is taken."""
        opened.difference_update((action.worker, lease.reference.uri, lease.cursor or 0) for lease in action.leases)
        answered = shop.bench.prepare(action)
        assert not isinstance(answered, CallFailure)
        items, blocks = answered
        opened.update(
            (action.worker, lease.reference.uri, item.cursor)
            for lease, item in zip(action.leases, items, strict=True)
            if item.cursor is not None
        )
        shop.lane.prepared(action.call, items, blocks, shop.now_s)

    for _ in range(steps):
        shop.act()
        if not shop.pending:
            break
        call = min(shop.pending)
        if isinstance(action := shop.pending[call], Prepare):
            del shop.pending[call]
            answer(action)
        else:
            shop.answer(call)
    shop.lane.revoke([LOG])
    for _ in range(10):
        shop.act()
        shop.now_s += 1.0
        for call, action in list(shop.pending.items()):
            if isinstance(action, Prepare):
                del shop.pending[call]
                answer(action)
            else:
                shop.answer(call)
    for left in shop.lane.take_abandoned():
        assert left.facts == ContentFacts("1", left.facts.sha256, 1)
        closed.add((left.worker, left.facts.sha256, left.cursor))
    assert opened == closed
    assert (shop.lane.core.windows.used_bytes, shop.lane.core.tokens.used_bytes) == (0, 0)
    assert not shop.lane.works
    assert not len(shop.lane.core.ledger)
