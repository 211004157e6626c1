from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from operators.errors import NotFoundError, ReferenceMalformedError
from operators.records import EmptyReason, Origin, VoidReason
from pipeline.flow.blame import Blame
from pipeline.flow.calls import CallFailure, Prepare, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.failures import FailureSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitReason
from pipeline.records import Empty, Letter, Sealed, SourcePartition
from pipeline.simulate.media import FOREVER, WINDOW_BYTES, Media
from pipeline.simulate.shop import ALPHA, BETA, LOG, SETTINGS, Shop

OTHER = SourcePartition("s", 1)
GONE = NotFoundError("404").failure()
MALFORMED = ReferenceMalformedError("uri: missing").failure()


def one_worker_shop(lane_settings: LaneSettings = SETTINGS) -> Shop:
    shop = Shop(lane_settings)
    shop.hire()
    return shop


def test_a_message_becomes_rows_in_every_product():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((1, 3),)))
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (1, 3)
    shop.at_rest()


def test_a_message_in_flight_is_not_admitted_again():
    shop = one_worker_shop()
    shop.admit(0, Media())
    shop.admit(0, Media())
    shop.run()
    assert shop.outcome(ALPHA, 0) == 1


def test_only_the_products_that_owe_an_outcome_get_one():
    shop = one_worker_shop()
    shop.admit(0, Media(), products=[BETA])
    shop.admit(1, Media(), products=[])
    shop.admit(2, Media(), products=["of-another-lane"])
    shop.run()
    assert {(product, origin.offset) for product, origin in shop.outcomes()} == {(BETA, 0)}


def test_a_mixed_message_ends_whole_with_an_outcome_for_every_item():
    shop = one_worker_shop()
    shop.admit(0, Media(), VoidReason.REMOVAL, MALFORMED, Media(ended=EmptyReason.NO_TOKENS), Media(ended=GONE))
    shop.run()
    for product in (ALPHA, BETA):
        assert shop.outcome(product, 0, 0) == 1
        assert shop.outcome(product, 0, 2) == "reference.malformed"
        assert isinstance(shop.outcome(product, 0, 3), Empty)
        assert shop.outcome(product, 0, 4) == "fetch.not_found"
        (sealed,) = [one for one in shop.sealed if one.product == product]
        assert sealed.voids == {VoidReason.REMOVAL: 1}
    shop.at_rest()


def test_a_message_without_a_reference_needs_no_worker():
    shop = Shop(replace(SETTINGS, failures=FailureSettings(window_s=0.0)))
    shop.admit(0, VoidReason.TOMBSTONE)
    shop.admit(1, MALFORMED, VoidReason.TEST_EVENT)
    shop.lane.hole(LOG, 2, 40, [ALPHA, BETA])
    assert not shop.lane.quiet
    shop.act()
    shop.commit()
    assert shop.lane.quiet
    assert {(s.product, s.covers[0].ranges) for s in shop.sealed} == {(ALPHA, ((0, 40),)), (BETA, ((0, 40),))}
    assert shop.outcome(ALPHA, 1) == "reference.malformed"
    assert sum(sum(sealed.voids.values()) for sealed in shop.sealed) == 2 * (1 + 1 + 38)


def test_letters_carry_the_message_and_how_often_it_was_tried():
    shop = one_worker_shop()
    shop.admit(0, Media(flaky=FOREVER))
    shop.run(rounds=20_000)
    (letter,) = shop.outcomes()[ALPHA, Origin("s", 0, 0, 0)]
    assert isinstance(letter, Letter)
    assert (letter.failure.code, letter.failure.stage, letter.attempts) == ("fetch.failed", "fetch", 6)
    assert (letter.key, letter.value, letter.topic, letter.uri) == (b"k", b"v", "t", "m1")


def test_a_transient_failure_is_tried_again_and_ends_in_rows():
    shop = one_worker_shop()
    shop.admit(0, Media(flaky=3))
    shop.admit(1, Media())
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(ALPHA, 1)) == (1, 1)
    shop.at_rest()


def test_segments_with_cursors_end_whole_and_windows_are_numbered_through():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((2, 0), (0, 3), (1, 0))), Media(segments=((1, 1), (0, 0))))
    shop.run()
    assert (shop.outcome(ALPHA, 0, 0), shop.outcome(BETA, 0, 0)) == (3, 3)
    assert (shop.outcome(ALPHA, 0, 1), shop.outcome(BETA, 0, 1)) == (1, 1)
    shop.at_rest()


def test_the_ranges_of_a_long_item_go_to_several_workers_and_end_as_one_item():
    shop = Shop()
    for _ in range(3):
        shop.hire()
    shop.admit(0, Media(segments=((2, 1), (1, 0), (1, 2), (3, 1)), forks=(2, 3)))
    seen: set[str] = set()
    for _ in range(50):
        shop.act()
        seen |= {action.worker for action in shop.pending.values() if isinstance(action, Prepare)}
        if not shop.pending:
            break
        shop.answer(min(shop.pending))
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (7, 4)
    assert len(seen) > 1
    shop.at_rest()


def test_a_further_segment_goes_to_the_worker_that_has_the_file_open():
    shop = Shop(replace(SETTINGS, worker_slots=8))
    for _ in range(3):
        shop.hire()
    shop.admit(0, Media(segments=((1, 1),) * 5))
    workers: list[str] = []
    while len(workers) < 5:
        shop.act()
        (call, prepare), *_ = [(c, a) for c, a in shop.pending.items() if isinstance(a, Prepare)]
        workers.append(prepare.worker)
        shop.answer(call)
    assert len(set(workers)) == 1
    shop.run()
    shop.at_rest()


def test_a_further_segment_says_whether_it_waits_for_its_worker_or_for_room():
    shop = Shop(replace(SETTINGS, window_bytes=3 * WINDOW_BYTES))
    shop.hire()
    shop.admit(0, Media(segments=((3, 3), (1, 1))))
    shop.act()
    shop.answer(min(shop.pending))
    shop.act()
    assert shop.lane.core.waits[PREPARE] is WaitReason.NO_BYTES
    shop.run()
    shop.at_rest()


def test_a_range_that_breaks_takes_the_whole_item_with_it():
    shop = Shop()
    for _ in range(2):
        shop.hire()
    shop.admit(0, Media(segments=((1, 1), (1, 1), (1, 1), (1, 1)), forks=(2,), breaks=3))
    shop.run()
    for product in (ALPHA, BETA):
        assert shop.outcome(product, 0) == "decode.truncated"
    shop.at_rest()


def test_a_view_without_windows_is_empty_in_its_product_only():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((2, 0), (1, 0))))
    shop.run()
    assert shop.outcome(ALPHA, 0) == 3
    assert isinstance(shop.outcome(BETA, 0), Empty)
    shop.at_rest()


@pytest.mark.parametrize(("window_tokens_bytes", "calls"), [({}, 6), ({ALPHA: 100}, 2)])
def test_the_first_calls_keep_to_the_budget_too_where_warm_workers_saw_how_large_tokens_are(
    window_tokens_bytes: dict[str, int], calls: int
):
    shop = Shop(replace(SETTINGS, batch_wait_s=0.0, prepare_batch=1, worker_slots=1, token_bytes=250))
    shop.hire(PREPARE)
    for number in range(6):
        shop.lane.worker_ready(f"tokenizer-{number}", (ALPHA,), window_tokens_bytes=window_tokens_bytes)
    for offset in range(6):
        shop.admit(offset, Media(segments=((1, 0),)))
        shop.act()
        shop.answer(next(call for call, action in shop.pending.items() if isinstance(action, Prepare)))
    shop.act()
    assert sum(isinstance(action, Tokenize) for action in shop.pending.values()) == calls


def test_segments_may_overtake_each_other():
    shop = Shop(replace(SETTINGS, batch_wait_s=0.0, worker_slots=2))
    for _ in range(8):
        shop.hire()
    shop.admit(0, Media(segments=((2, 1), (2, 1), (2, 1))))
    for _ in range(20):
        shop.act()
        prepares = [call for call, action in shop.pending.items() if isinstance(action, Prepare)]
        if not prepares:
            break
        shop.answer(prepares[0])
    tokenizes = [call for call, action in shop.pending.items() if isinstance(action, Tokenize)]
    assert len(tokenizes) >= 3
    for call in reversed(tokenizes):
        shop.answer(call)
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (6, 3)
    shop.at_rest()


def test_a_death_halves_the_batch_and_three_alone_make_a_letter_while_neighbours_get_rows():
    shop = one_worker_shop()
    for offset in range(4):
        shop.admit(offset, Media(kills=frozenset({PREPARE})) if offset == 2 else Media())
    shop.act()
    (first,) = shop.pending
    assert shop.answer(first) is Blame.HALVED
    blames: list[Blame | None] = []
    for _ in range(30):
        shop.act()
        while shop.pending:
            blames.append(shop.answer(min(shop.pending)))
        shop.now_s += 1
        shop.commit()
    assert Counter(blame for blame in blames if blame not in {None, Blame.NOBODY}) == {
        Blame.HALVED: 1,
        Blame.ALONE_AGAIN: 2,
        Blame.GUILTY: 1,
    }
    assert [shop.outcome(ALPHA, offset) for offset in range(4)] == [1, 1, "worker.killed", 1]
    assert shop.outcome(BETA, 2) == "worker.killed"
    shop.at_rest()


def test_deaths_are_counted_across_a_worker_that_leaves_blameless():
    shop = one_worker_shop()
    shop.admit(0, Media())
    seen: list[Blame | None] = []
    for how in (CallFailure.WORKER_DIED, CallFailure.WORKER_LEFT, CallFailure.WORKER_DIED, CallFailure.WORKER_DIED):
        shop.act()
        (call,) = shop.pending
        seen.append(shop.answer(call, how))
    assert seen == [Blame.ALONE_AGAIN, Blame.NOBODY, Blame.ALONE_AGAIN, Blame.GUILTY]


@pytest.mark.parametrize(("trait", "code"), [("kills", "worker.killed"), ("raises", "tokenize.failed")])
def test_a_bad_item_is_a_letter_in_the_product_whose_tokenizer_it_breaks_and_nowhere_else(trait: str, code: str):
    shop = one_worker_shop()
    for offset in range(6):
        shop.admit(offset, Media(**{trait: frozenset({BETA})}, segments=((1, 2),)) if offset == 3 else Media())
    shop.run()
    assert [shop.outcome(ALPHA, offset) for offset in range(6)] == [1] * 6
    assert [shop.outcome(BETA, offset) for offset in range(6)] == [1, 1, 1, code, 1, 1]
    shop.at_rest()


def test_a_prepare_that_raises_isolates_one_item():
    shop = one_worker_shop()
    for offset in range(4):
        shop.admit(offset, Media(raises=frozenset({PREPARE})) if offset == 1 else Media())
    shop.run()
    assert [shop.outcome(ALPHA, offset) for offset in range(4)] == [1, "tokenize.failed", 1, 1]
    shop.at_rest()


def test_windows_that_are_lost_are_prepared_again():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((1, 1), (1, 1))))
    shop.admit(1, Media())
    lost = 0
    for _ in range(40):
        shop.act()
        for call, action in list(shop.pending.items()):
            if isinstance(action, Tokenize) and lost < 3:
                lost += 1
                assert shop.answer(call, CallFailure.VALUE_LOST) is Blame.NOBODY
            else:
                shop.answer(call)
        shop.commit()
        shop.now_s += 1
    assert lost == 3
    assert [shop.outcome(product, offset) for product in (ALPHA, BETA) for offset in (0, 1)] == [2, 1, 2, 1]
    shop.at_rest()


def test_a_lost_packer_has_exactly_the_unsealed_done_again():
    shop = one_worker_shop()
    for offset in range(12):
        shop.admit(offset, Media())
    prepared = Counter[int]()
    unsealed, before = set[int](), Counter[int]()
    while not shop.lane.quiet:
        for action in shop.act():
            if isinstance(action, Prepare):
                prepared.update(lease.reference.origin.offset for lease in action.leases)
        for call in list(shop.pending):
            shop.answer(call)
        if unsealed or len(prepared) < 12:
            shop.commit()
        else:
            unsealed = {entry.message.origin.offset for entry in shop.lane.core.ledger.bound_to("packer-0")}
            assert 0 < len(unsealed) < 12
            before = Counter(prepared)
            shop.lose_packer("packer-0")
        shop.now_s += 0.3
    assert set((prepared - before).elements()) == unsealed
    assert all(shop.outcome(ALPHA, offset) == 1 for offset in range(12))
    shop.at_rest()


def test_what_the_lake_did_not_take_is_made_again_although_the_packer_has_sealed_it():
    shop = one_worker_shop()
    for offset in range(3):
        shop.admit(offset, Media(), VoidReason.REMOVAL)
    refused: set[str] = set()
    while not shop.lane.quiet:
        shop.act()
        for call in list(shop.pending):
            shop.answer(call)
        for sealed in shop.lane.take_sealed():
            if sealed.product in refused:
                shop.sealed.append(sealed)
                shop.lane.settled(sealed.product, sealed.covers)
            else:
                refused.add(sealed.product)
                shop.lane.redo(sealed.product, sealed.covers)
        shop.now_s += 0.3
        assert shop.now_s < 100
    assert refused == {ALPHA, BETA}
    assert [shop.outcome(BETA, offset) for offset in range(3)] == [1, 1, 1]
    shop.at_rest()


def test_what_is_revoked_is_dropped_and_forgotten_by_the_packers():
    shop = one_worker_shop()
    for offset in range(6):
        shop.admit(offset, Media())
        shop.admit(offset, Media(), log=OTHER)
    shop.admit(6, VoidReason.TOMBSTONE, log=OTHER)
    shop.run(until=lambda: sum(packer.spooled_rows for packer in shop.packers.values()) > 3)
    shop.lane.revoke([OTHER])
    had = len(shop.sealed)
    shop.run()
    after = {origin.partition for sealed in shop.sealed[had:] for origin in [_some_origin(shop, sealed)]}
    assert after <= {0}
    assert all(shop.outcome(BETA, offset) == 1 for offset in range(6))
    shop.at_rest()


def _some_origin(shop: Shop, sealed: Sealed) -> Origin:
    (log,) = {span.log for span in sealed.covers}
    return Origin(log.source_id, log.partition, 0, 0)
